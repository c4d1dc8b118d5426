// A module with the file's own function and both derived forms, for two texts and blocks of four tokens: one artefact,
// whose functions agree, and which has each weight and each kernel once.
//
// RUN: rm -rf %t && mkdir -p %t
// RUN: rwkvc -q %s --from=after-raise -o %t/m.so
// RUN: rwkv-run %t/m.so --info | FileCheck %s --check-prefix=INFO
// INFO:      weights    1024 bytes
// INFO-NEXT: functions  3
// INFO-NEXT:   the file's own signature; workspace {{[0-9]+}} bytes
// INFO-NEXT:   step: one token of each of 2 texts; workspace {{[0-9]+}} bytes
// INFO-NEXT:   prefill: blocks of 4 tokens of each of 2 texts, logits of the last one; workspace {{[0-9]+}} bytes
// INFO:        max_in -> max_out: float32 [1, 8], starts at -1e+30
// INFO:      sequence   4 states, 256 bytes
// INFO-NEXT:   shift.0: float32 [2, 8]
// INFO-NEXT:   wkv.0.num: float32 [2, 8]
// RUN: rwkv-run %t/m.so --check-forms 1,2,3,4,5,17,100 | FileCheck %s --check-prefix=AGREE
// AGREE: the file's own signature: relative error of logits {{.*}} over {{[0-9]+}} tokens
// AGREE: comparisons: PASS
//
// RUN: rwkvc -q %s --from=after-raise --emit=before-llvm -o - | FileCheck %s --check-prefix=KERNELS
// KERNELS-LABEL: func.func @step
// KERNELS:         call @[[PRODUCT:kernel_[0-9]+]]({{.*}}) : (memref<2x8xf32>, memref<1x8x16xf32>, memref<2x1x16xf32>)
// KERNELS-LABEL: func.func @prefill
// KERNELS:         call @[[PRODUCT]](
//
// RUN: rwkvc -q %s --from=after-raise --emit=exe -o %t/program
// RUN: %t/program --check-forms 40 | FileCheck %s --check-prefix=AGREE
// RUN: rwkvc -q %s --from=after-raise --forms=prefill -o %t/prefill.so
// RUN: rwkv-run %t/prefill.so --check-forms 3,9 | FileCheck %s --check-prefix=ALONE
// ALONE: the file's own signature: not compiled, not compared
// ALONE: comparisons: PASS
// RUN: rwkvc -q %s --from=after-raise --forms=original,step -o %t/step.so
// RUN: rwkv-run %t/step.so --info | FileCheck %s --check-prefix=STEP
// STEP:     functions  2
// STEP-NOT: prefill
//
// RUN: not rwkvc %s --from=after-wkv -o %t/late.so 2>&1 | FileCheck %s --check-prefix=LATE
// LATE: error: {{.*}}attribute 'rwkvc.interface' is missing
// RUN: not ls %t/late.so

#id = affine_map<(b, t, c) -> (b, t, c)>
#id2 = affine_map<(b, c) -> (b, c)>

module attributes {wkv.token_input = 0 : i64, wkv.logits_output = 0 : i64} {
func.func @main(%tokens: tensor<1x1xi64> {onnx.name = "token", wkv.index_limit = 16 : i64},
    %s0: tensor<1x8xf32> {onnx.name = "shift_in", wkv.state = 1 : i64},
    %s1: tensor<1x8xf32> {onnx.name = "num_in", wkv.state = 2 : i64},
    %s2: tensor<1x8xf32> {onnx.name = "den_in", wkv.state = 3 : i64},
    %s3: tensor<1x8xf32> {onnx.name = "max_in", wkv.state = 4 : i64, wkv.initial = -1.0e+30 : f64})
    -> (tensor<1x16xf32> {onnx.name = "logits"},
    tensor<1x8xf32> {onnx.name = "shift_out"},
    tensor<1x8xf32> {onnx.name = "num_out"},
    tensor<1x8xf32> {onnx.name = "den_out"},
    tensor<1x8xf32> {onnx.name = "max_out"}) {
  %emb = arith.constant dense<[[2.04, -2.56, 0.42, -0.57, -0.45, -0.22, -2.02, -0.23],
    [-0.87, 3.32, 0.23, -0.35, -0.28, -0.67, -1.06, -0.39],
    [0.48, -0.24, 0.96, -0.20, 0.02, 1.55, 0.55, -0.51],
    [-0.18, 0.54, 1.94, -0.27, -0.24, 1.00, -0.89, -0.29],
    [0.88, 0.58, 0.09, 0.67, -2.83, 1.02, -0.96, -1.67],
    [0.28, 0.70, -0.44, -1.08, 0.03, -0.05, 1.41, 0.75],
    [0.19, 1.11, -0.21, -0.93, 0.58, 0.58, -0.21, -0.78],
    [0.23, -2.49, 0.69, 0.49, -1.64, 0.06, -0.96, 0.76],
    [-2.03, -0.91, 0.71, 1.16, -2.16, -0.50, 0.33, -0.61],
    [1.59, -1.19, 0.35, -1.05, 1.41, -0.02, -0.37, -1.72],
    [1.68, 0.75, 0.75, 1.14, 0.35, -0.64, -0.80, -0.80],
    [1.37, -1.46, -0.60, -0.32, 0.22, 0.58, -1.25, -1.73],
    [-0.00, 1.21, 0.76, 0.22, -0.32, 0.29, -0.24, 0.82],
    [-0.79, 0.13, -0.11, 0.54, 0.22, 2.55, 1.50, 1.50],
    [-2.04, -0.34, -0.61, 0.53, -2.28, 1.17, 1.07, -1.30],
    [-0.98, -0.80, 0.04, 0.64, 2.05, -0.20, 0.77, 0.16]]> : tensor<16x8xf32>
  %head = arith.constant dense<[[1.76, 0.74, 1.37, -1.08, -0.19, -0.81, 1.50, 0.66, -0.31, -0.45, 0.48, -0.70, -0.93, 0.48, 2.46, -0.25],
    [-0.56, -1.17, -1.34, 0.52, 0.85, 0.01, 0.33, 0.12, 0.14, -1.53, -0.46, 0.11, -0.78, -0.48, -0.82, -0.33],
    [0.85, -0.41, -0.15, 0.81, 0.64, 1.70, -2.09, 0.86, -0.48, 0.13, 0.84, 1.08, 1.04, 0.16, 1.61, -0.28],
    [-0.14, 0.80, -0.55, 2.16, 1.02, 2.18, -0.03, -0.38, 0.17, 0.73, -0.59, 0.38, -0.02, 1.62, -0.66, 1.05],
    [-0.64, -0.96, -0.71, -1.19, 0.15, 1.03, 0.16, 0.62, 1.63, 0.27, 0.20, -0.28, -1.61, 0.76, -1.76, 0.65],
    [-0.01, 1.13, -0.07, -0.82, 0.36, -0.56, -0.18, 0.04, -0.13, -0.19, -0.83, -0.19, -2.14, -0.16, -1.20, 1.12],
    [1.27, -1.95, 0.14, -0.13, -1.05, 0.53, -0.46, -1.77, -0.27, -0.15, 0.11, -1.23, 0.62, 0.74, -1.15, -0.66],
    [-0.08, -0.57, 1.74, 0.21, -1.01, -0.79, -0.06, 2.30, -0.18, 0.13, 0.51, -0.04, 2.28, -0.53, 0.74, 0.16]]> : tensor<8x16xf32>
  %decay = arith.constant dense<[-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8]> : tensor<8xf32>
  %bonus = arith.constant dense<[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]> : tensor<8xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x1x8xf32>
  %x = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel", "parallel"]}
      outs(%e : tensor<1x1x8xf32>) {
  ^bb0(%unused: f32):
    %b = linalg.index 0 : index
    %t = linalg.index 1 : index
    %c = linalg.index 2 : index
    %id = tensor.extract %tokens[%b, %t] : tensor<1x1xi64>
    %row = arith.index_cast %id : i64 to index
    %v = tensor.extract %emb[%row, %c] : tensor<16x8xf32>
    linalg.yield %v : f32
  } -> tensor<1x1x8xf32>
  %shifted, %n0 = wkv.token_shift %x state(%s0) : (tensor<1x1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>)
  %k = linalg.add ins(%x, %shifted : tensor<1x1x8xf32>, tensor<1x1x8xf32>) outs(%e : tensor<1x1x8xf32>) -> tensor<1x1x8xf32>
  %y, %n1, %n2, %n3 = wkv.wkv4 key(%k) value(%x) decay(%decay) bonus(%bonus) init(%e) state(%s1, %s2, %s3)
      : (tensor<1x1x8xf32>, tensor<1x1x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<1x1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>) -> (tensor<1x1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>)
  %er = tensor.empty() : tensor<1x8xf32>
  %c0 = arith.constant 0 : index
  %row = linalg.generic {indexing_maps = [#id2], iterator_types = ["parallel", "parallel"]} outs(%er : tensor<1x8xf32>) {
  ^bb0(%unused: f32):
    %b = linalg.index 0 : index
    %c = linalg.index 1 : index
    %v = tensor.extract %y[%b, %c0, %c] : tensor<1x1x8xf32>
    linalg.yield %v : f32
  } -> tensor<1x8xf32>
  %el = tensor.empty() : tensor<1x16xf32>
  %fl = linalg.fill ins(%zero : f32) outs(%el : tensor<1x16xf32>) -> tensor<1x16xf32>
  %logits = linalg.matmul ins(%row, %head : tensor<1x8xf32>, tensor<8x16xf32>) outs(%fl : tensor<1x16xf32>) -> tensor<1x16xf32>
  return %logits, %n0, %n1, %n2, %n3 : tensor<1x16xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>, tensor<1x8xf32>
}

func.func @step(%tokens: tensor<2xi64> {onnx.name = "tokens", wkv.tokens, wkv.index_limit = 16 : i64},
    %s0: tensor<2x8xf32> {onnx.name = "shift.0", wkv.state = 1 : i64},
    %s1: tensor<2x8xf32> {onnx.name = "wkv.0.num", wkv.state = 2 : i64},
    %s2: tensor<2x8xf32> {onnx.name = "wkv.0.den", wkv.state = 3 : i64},
    %s3: tensor<2x8xf32> {onnx.name = "wkv.0.max", wkv.state = 4 : i64, wkv.initial = -1.0e+30 : f64})
    -> (tensor<2x16xf32> {onnx.name = "logits", wkv.logits},
    tensor<2x8xf32> {onnx.name = "shift.0"},
    tensor<2x8xf32> {onnx.name = "wkv.0.num"},
    tensor<2x8xf32> {onnx.name = "wkv.0.den"},
    tensor<2x8xf32> {onnx.name = "wkv.0.max"}) attributes {wkv.form = "step"} {
  %emb = arith.constant dense<[[2.04, -2.56, 0.42, -0.57, -0.45, -0.22, -2.02, -0.23],
    [-0.87, 3.32, 0.23, -0.35, -0.28, -0.67, -1.06, -0.39],
    [0.48, -0.24, 0.96, -0.20, 0.02, 1.55, 0.55, -0.51],
    [-0.18, 0.54, 1.94, -0.27, -0.24, 1.00, -0.89, -0.29],
    [0.88, 0.58, 0.09, 0.67, -2.83, 1.02, -0.96, -1.67],
    [0.28, 0.70, -0.44, -1.08, 0.03, -0.05, 1.41, 0.75],
    [0.19, 1.11, -0.21, -0.93, 0.58, 0.58, -0.21, -0.78],
    [0.23, -2.49, 0.69, 0.49, -1.64, 0.06, -0.96, 0.76],
    [-2.03, -0.91, 0.71, 1.16, -2.16, -0.50, 0.33, -0.61],
    [1.59, -1.19, 0.35, -1.05, 1.41, -0.02, -0.37, -1.72],
    [1.68, 0.75, 0.75, 1.14, 0.35, -0.64, -0.80, -0.80],
    [1.37, -1.46, -0.60, -0.32, 0.22, 0.58, -1.25, -1.73],
    [-0.00, 1.21, 0.76, 0.22, -0.32, 0.29, -0.24, 0.82],
    [-0.79, 0.13, -0.11, 0.54, 0.22, 2.55, 1.50, 1.50],
    [-2.04, -0.34, -0.61, 0.53, -2.28, 1.17, 1.07, -1.30],
    [-0.98, -0.80, 0.04, 0.64, 2.05, -0.20, 0.77, 0.16]]> : tensor<16x8xf32>
  %head = arith.constant dense<[[1.76, 0.74, 1.37, -1.08, -0.19, -0.81, 1.50, 0.66, -0.31, -0.45, 0.48, -0.70, -0.93, 0.48, 2.46, -0.25],
    [-0.56, -1.17, -1.34, 0.52, 0.85, 0.01, 0.33, 0.12, 0.14, -1.53, -0.46, 0.11, -0.78, -0.48, -0.82, -0.33],
    [0.85, -0.41, -0.15, 0.81, 0.64, 1.70, -2.09, 0.86, -0.48, 0.13, 0.84, 1.08, 1.04, 0.16, 1.61, -0.28],
    [-0.14, 0.80, -0.55, 2.16, 1.02, 2.18, -0.03, -0.38, 0.17, 0.73, -0.59, 0.38, -0.02, 1.62, -0.66, 1.05],
    [-0.64, -0.96, -0.71, -1.19, 0.15, 1.03, 0.16, 0.62, 1.63, 0.27, 0.20, -0.28, -1.61, 0.76, -1.76, 0.65],
    [-0.01, 1.13, -0.07, -0.82, 0.36, -0.56, -0.18, 0.04, -0.13, -0.19, -0.83, -0.19, -2.14, -0.16, -1.20, 1.12],
    [1.27, -1.95, 0.14, -0.13, -1.05, 0.53, -0.46, -1.77, -0.27, -0.15, 0.11, -1.23, 0.62, 0.74, -1.15, -0.66],
    [-0.08, -0.57, 1.74, 0.21, -1.01, -0.79, -0.06, 2.30, -0.18, 0.13, 0.51, -0.04, 2.28, -0.53, 0.74, 0.16]]> : tensor<8x16xf32>
  %decay = arith.constant dense<[-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8]> : tensor<8xf32>
  %bonus = arith.constant dense<[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]> : tensor<8xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x1x8xf32>
  %x = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel", "parallel"]}
      outs(%e : tensor<2x1x8xf32>) {
  ^bb0(%unused: f32):
    %b = linalg.index 0 : index
    %t = linalg.index 1 : index
    %c = linalg.index 2 : index
    %id = tensor.extract %tokens[%b] : tensor<2xi64>
    %row = arith.index_cast %id : i64 to index
    %v = tensor.extract %emb[%row, %c] : tensor<16x8xf32>
    linalg.yield %v : f32
  } -> tensor<2x1x8xf32>
  %shifted, %n0 = wkv.token_shift %x state(%s0) : (tensor<2x1x8xf32>, tensor<2x8xf32>) -> (tensor<2x1x8xf32>, tensor<2x8xf32>)
  %k = linalg.add ins(%x, %shifted : tensor<2x1x8xf32>, tensor<2x1x8xf32>) outs(%e : tensor<2x1x8xf32>) -> tensor<2x1x8xf32>
  %y, %n1, %n2, %n3 = wkv.wkv4 key(%k) value(%x) decay(%decay) bonus(%bonus) init(%e) state(%s1, %s2, %s3)
      : (tensor<2x1x8xf32>, tensor<2x1x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<2x1x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) -> (tensor<2x1x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
  %er = tensor.empty() : tensor<2x8xf32>
  %c0 = arith.constant 0 : index
  %row = linalg.generic {indexing_maps = [#id2], iterator_types = ["parallel", "parallel"]} outs(%er : tensor<2x8xf32>) {
  ^bb0(%unused: f32):
    %b = linalg.index 0 : index
    %c = linalg.index 1 : index
    %v = tensor.extract %y[%b, %c0, %c] : tensor<2x1x8xf32>
    linalg.yield %v : f32
  } -> tensor<2x8xf32>
  %el = tensor.empty() : tensor<2x16xf32>
  %fl = linalg.fill ins(%zero : f32) outs(%el : tensor<2x16xf32>) -> tensor<2x16xf32>
  %logits = linalg.matmul ins(%row, %head : tensor<2x8xf32>, tensor<8x16xf32>) outs(%fl : tensor<2x16xf32>) -> tensor<2x16xf32>
  return %logits, %n0, %n1, %n2, %n3 : tensor<2x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

func.func @prefill(%tokens: tensor<2x4xi64> {onnx.name = "tokens", wkv.tokens, wkv.index_limit = 16 : i64},
    %length: tensor<i64> {onnx.name = "length", wkv.length},
    %s0: tensor<2x8xf32> {onnx.name = "shift.0", wkv.state = 1 : i64},
    %s1: tensor<2x8xf32> {onnx.name = "wkv.0.num", wkv.state = 2 : i64},
    %s2: tensor<2x8xf32> {onnx.name = "wkv.0.den", wkv.state = 3 : i64},
    %s3: tensor<2x8xf32> {onnx.name = "wkv.0.max", wkv.state = 4 : i64, wkv.initial = -1.0e+30 : f64})
    -> (tensor<2x16xf32> {onnx.name = "logits", wkv.logits},
    tensor<2x8xf32> {onnx.name = "shift.0"},
    tensor<2x8xf32> {onnx.name = "wkv.0.num"},
    tensor<2x8xf32> {onnx.name = "wkv.0.den"},
    tensor<2x8xf32> {onnx.name = "wkv.0.max"}) attributes {wkv.form = "prefill"} {
  %emb = arith.constant dense<[[2.04, -2.56, 0.42, -0.57, -0.45, -0.22, -2.02, -0.23],
    [-0.87, 3.32, 0.23, -0.35, -0.28, -0.67, -1.06, -0.39],
    [0.48, -0.24, 0.96, -0.20, 0.02, 1.55, 0.55, -0.51],
    [-0.18, 0.54, 1.94, -0.27, -0.24, 1.00, -0.89, -0.29],
    [0.88, 0.58, 0.09, 0.67, -2.83, 1.02, -0.96, -1.67],
    [0.28, 0.70, -0.44, -1.08, 0.03, -0.05, 1.41, 0.75],
    [0.19, 1.11, -0.21, -0.93, 0.58, 0.58, -0.21, -0.78],
    [0.23, -2.49, 0.69, 0.49, -1.64, 0.06, -0.96, 0.76],
    [-2.03, -0.91, 0.71, 1.16, -2.16, -0.50, 0.33, -0.61],
    [1.59, -1.19, 0.35, -1.05, 1.41, -0.02, -0.37, -1.72],
    [1.68, 0.75, 0.75, 1.14, 0.35, -0.64, -0.80, -0.80],
    [1.37, -1.46, -0.60, -0.32, 0.22, 0.58, -1.25, -1.73],
    [-0.00, 1.21, 0.76, 0.22, -0.32, 0.29, -0.24, 0.82],
    [-0.79, 0.13, -0.11, 0.54, 0.22, 2.55, 1.50, 1.50],
    [-2.04, -0.34, -0.61, 0.53, -2.28, 1.17, 1.07, -1.30],
    [-0.98, -0.80, 0.04, 0.64, 2.05, -0.20, 0.77, 0.16]]> : tensor<16x8xf32>
  %head = arith.constant dense<[[1.76, 0.74, 1.37, -1.08, -0.19, -0.81, 1.50, 0.66, -0.31, -0.45, 0.48, -0.70, -0.93, 0.48, 2.46, -0.25],
    [-0.56, -1.17, -1.34, 0.52, 0.85, 0.01, 0.33, 0.12, 0.14, -1.53, -0.46, 0.11, -0.78, -0.48, -0.82, -0.33],
    [0.85, -0.41, -0.15, 0.81, 0.64, 1.70, -2.09, 0.86, -0.48, 0.13, 0.84, 1.08, 1.04, 0.16, 1.61, -0.28],
    [-0.14, 0.80, -0.55, 2.16, 1.02, 2.18, -0.03, -0.38, 0.17, 0.73, -0.59, 0.38, -0.02, 1.62, -0.66, 1.05],
    [-0.64, -0.96, -0.71, -1.19, 0.15, 1.03, 0.16, 0.62, 1.63, 0.27, 0.20, -0.28, -1.61, 0.76, -1.76, 0.65],
    [-0.01, 1.13, -0.07, -0.82, 0.36, -0.56, -0.18, 0.04, -0.13, -0.19, -0.83, -0.19, -2.14, -0.16, -1.20, 1.12],
    [1.27, -1.95, 0.14, -0.13, -1.05, 0.53, -0.46, -1.77, -0.27, -0.15, 0.11, -1.23, 0.62, 0.74, -1.15, -0.66],
    [-0.08, -0.57, 1.74, 0.21, -1.01, -0.79, -0.06, 2.30, -0.18, 0.13, 0.51, -0.04, 2.28, -0.53, 0.74, 0.16]]> : tensor<8x16xf32>
  %decay = arith.constant dense<[-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7, -0.8]> : tensor<8xf32>
  %bonus = arith.constant dense<[0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]> : tensor<8xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x4x8xf32>
  %x = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel", "parallel"]}
      outs(%e : tensor<2x4x8xf32>) {
  ^bb0(%unused: f32):
    %b = linalg.index 0 : index
    %t = linalg.index 1 : index
    %c = linalg.index 2 : index
    %id = tensor.extract %tokens[%b, %t] : tensor<2x4xi64>
    %row = arith.index_cast %id : i64 to index
    %v = tensor.extract %emb[%row, %c] : tensor<16x8xf32>
    linalg.yield %v : f32
  } -> tensor<2x4x8xf32>
  %shifted, %n0 = wkv.token_shift %x state(%s0) length(%length) : (tensor<2x4x8xf32>, tensor<2x8xf32>, tensor<i64>) -> (tensor<2x4x8xf32>, tensor<2x8xf32>)
  %k = linalg.add ins(%x, %shifted : tensor<2x4x8xf32>, tensor<2x4x8xf32>) outs(%e : tensor<2x4x8xf32>) -> tensor<2x4x8xf32>
  %y, %n1, %n2, %n3 = wkv.wkv4 key(%k) value(%x) decay(%decay) bonus(%bonus) length(%length) init(%e) state(%s1, %s2, %s3)
      : (tensor<2x4x8xf32>, tensor<2x4x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<i64>, tensor<2x4x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>) -> (tensor<2x4x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>)
  %er = tensor.empty() : tensor<2x8xf32>
  %one = arith.constant 1 : i64
  %n = tensor.extract %length[] : tensor<i64>
  %m = arith.subi %n, %one : i64
  %last = arith.index_cast %m : i64 to index
  %row = linalg.generic {indexing_maps = [#id2], iterator_types = ["parallel", "parallel"]} outs(%er : tensor<2x8xf32>) {
  ^bb0(%unused: f32):
    %b = linalg.index 0 : index
    %c = linalg.index 1 : index
    %v = tensor.extract %y[%b, %last, %c] : tensor<2x4x8xf32>
    linalg.yield %v : f32
  } -> tensor<2x8xf32>
  %el = tensor.empty() : tensor<2x16xf32>
  %fl = linalg.fill ins(%zero : f32) outs(%el : tensor<2x16xf32>) -> tensor<2x16xf32>
  %logits = linalg.matmul ins(%row, %head : tensor<2x8xf32>, tensor<8x16xf32>) outs(%fl : tensor<2x16xf32>) -> tensor<2x16xf32>
  return %logits, %n0, %n1, %n2, %n3 : tensor<2x16xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>, tensor<2x8xf32>
}

}
