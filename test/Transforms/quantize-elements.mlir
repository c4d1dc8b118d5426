// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=int8 min-elements=1" -split-input-file | FileCheck %s

// Elements of other types than f32. A row of subnormal numbers, 127 times 2^-24 and less of both signs, and one of whole
// numbers.
// CHECK-LABEL: func.func @half(
// CHECK-DAG:   arith.constant dense<{{\[\[\[}}-127, 126, -125, 124, {{.*}}, 98, -97, 96]], {{\[\[}}127, 126, {{.*}}, 97, 96]]]> : tensor<2x1x32xi8>
// CHECK-DAG:   arith.constant dense<{{\[\[}}5.960460e-08], [1.000000e+00]]> : tensor<2x1xbf16>
func.func @half(%t: i64) -> tensor<32xf16> {
  %w = arith.constant dense<"0x7F807E007D807C007B807A0079807800778076007580740073807200718070006F806E006D806C006B806A006980680067806600658064006380620061806000F057E057D057C057B057A0579057805770576057505740573057205710570057F056E056D056C056B056A0569056805670566056505640563056205610560056"> : tensor<2x32xf16>
  %row = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%row, 0] [1, 32] [1, 1] : tensor<2x32xf16> to tensor<32xf16>
  return %0 : tensor<32xf16>
}

// -----

// CHECK-LABEL: func.func @bfloat(
// CHECK-DAG:   arith.constant dense<{{\[\[\[}}127, 126, 125, 124, {{.*}}, 98, 97, 96]]]> : tensor<1x1x32xi8>
// CHECK-DAG:   arith.constant dense<1.000000e+00> : tensor<1x1xbf16>
func.func @bfloat(%t: i64) -> tensor<32xbf16> {
  %w = arith.constant dense<"0xFE42FC42FA42F842F642F442F242F042EE42EC42EA42E842E642E442E242E042DE42DC42DA42D842D642D442D242D042CE42CC42CA42C842C642C442C242C042"> : tensor<1x32xbf16>
  %row = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%row, 0] [1, 32] [1, 1] : tensor<1x32xbf16> to tensor<32xbf16>
  return %0 : tensor<32xbf16>
}

// -----

// CHECK-LABEL: func.func @double(
// CHECK-DAG:   arith.constant dense<{{\[\[\[}}127, 126, 125, 124, {{.*}}, 98, 97, 96]]]> : tensor<1x1x32xi8>
// CHECK-DAG:   arith.constant dense<1.000000e+00> : tensor<1x1xbf16>
func.func @double(%t: i64) -> tensor<32xf64> {
  %w = arith.constant dense<"0x0000000000C05F400000000000805F400000000000405F400000000000005F400000000000C05E400000000000805E400000000000405E400000000000005E400000000000C05D400000000000805D400000000000405D400000000000005D400000000000C05C400000000000805C400000000000405C400000000000005C400000000000C05B400000000000805B400000000000405B400000000000005B400000000000C05A400000000000805A400000000000405A400000000000005A400000000000C059400000000000805940000000000040594000000000000059400000000000C05840000000000080584000000000004058400000000000005840"> : tensor<1x32xf64>
  %row = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%row, 0] [1, 32] [1, 1] : tensor<1x32xf64> to tensor<32xf64>
  return %0 : tensor<32xf64>
}

// -----

// What is infinite or no number has no scale.
// CHECK-LABEL: func.func @infinite(
// CHECK-NOT:   xi8>
// CHECK:       tensor.extract_slice
func.func @infinite(%t: i64) -> tensor<32xf16> {
  %w = arith.constant dense<"0xF057E057D057C057B057A0579057805770576057505740573057205710570057F056E056D056C056B056A056905680567056605650564056305620561056007C"> : tensor<1x32xf16>
  %row = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%row, 0] [1, 32] [1, 1] : tensor<1x32xf16> to tensor<32xf16>
  return %0 : tensor<32xf16>
}

// -----

// CHECK-LABEL: func.func @no_number(
// CHECK-NOT:   xi8>
// CHECK:       tensor.extract_slice
func.func @no_number(%t: i64) -> tensor<32xf16> {
  %w = arith.constant dense<"0xF057E057D057C057B057A0579057805770576057505740573057205710570057F056E056D056C056B056A05690568056705660565056405630562056105600FE"> : tensor<1x32xf16>
  %row = arith.index_cast %t : i64 to index
  %0 = tensor.extract_slice %w[%row, 0] [1, 32] [1, 1] : tensor<1x32xf16> to tensor<32xf16>
  return %0 : tensor<32xf16>
}
