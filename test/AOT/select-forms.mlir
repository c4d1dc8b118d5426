// RUN: rwkv-opt %s -rwkvc-select-forms | FileCheck %s --check-prefix=ALL
// RUN: rwkv-opt %s -rwkvc-select-forms=forms=original | FileCheck %s --check-prefix=ORIGINAL --implicit-check-not=func.func
// RUN: rwkv-opt %s -rwkvc-select-forms=forms=step,original | FileCheck %s --check-prefix=BOTH --implicit-check-not=func.func
// RUN: rwkv-opt %s -rwkvc-select-forms=forms=step | FileCheck %s --check-prefix=STEP --implicit-check-not=func.func
// RUN: not rwkv-opt %s -rwkvc-select-forms=forms=prefill 2>&1 | FileCheck %s --check-prefix=NONE

// ALL: func.func @main
// ALL: func.func @step
// ALL: func.func @unpack
// ALL: func.func @pack
// ORIGINAL: func.func @main
// ORIGINAL: func.func private @helper
// BOTH: func.func @main
// BOTH: func.func @step
// BOTH: func.func private @helper
// BOTH: func.func @unpack
// BOTH: func.func @pack
// STEP: func.func @step
// STEP: func.func private @helper
// NONE: error: the model has none of the functions that were asked for: prefill
func.func @main() {
  return
}
func.func @step() attributes {wkv.form = "step"} {
  return
}
func.func private @helper() {
  return
}
// There only beside both the file's own function and a form.
func.func @unpack() attributes {wkv.form = "unpack"} {
  return
}
func.func @pack() attributes {wkv.form = "pack"} {
  return
}
