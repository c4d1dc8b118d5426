// RUN: rwkv-opt %s -rwkvc-quantize-weights="format=%S/Inputs/recipe.json min-elements=1 report=%t.json" 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=ERR < %t.err
// RUN: FileCheck %s --check-prefix=REPORT < %t.json
// RUN: not rwkv-opt %s -rwkvc-quantize-weights="format=int8 min-elements=1 report=%t.none/a.json" 2>&1 | FileCheck %s --check-prefix=NOWRITE

// RUN: split-file %S/Inputs/bad-recipes.txt %t.bad
// RUN: not rwkv-opt %s -rwkvc-quantize-weights="format=%t.bad/format.json" 2>&1 | FileCheck %s --check-prefix=FORMAT
// RUN: not rwkv-opt %s -rwkvc-quantize-weights="format=%t.bad/key.json" 2>&1 | FileCheck %s --check-prefix=KEY
// RUN: not rwkv-opt %s -rwkvc-quantize-weights="format=%t.bad/glob.json" 2>&1 | FileCheck %s --check-prefix=GLOB
// RUN: not rwkv-opt %s -rwkvc-quantize-weights="format=%t.bad/list.json" 2>&1 | FileCheck %s --check-prefix=LIST
// RUN: not rwkv-opt %s -rwkvc-quantize-weights="format=%t.bad/without.json" 2>&1 | FileCheck %s --check-prefix=WITHOUT
// RUN: not rwkv-opt %s -rwkvc-quantize-weights="format=%t.bad/absent.json" 2>&1 | FileCheck %s --check-prefix=ABSENT

// FORMAT: format.json': rule 2: 'format': expected one of bf16, fp16, int8, int4, uint8, uint4, or keep, not 'int3'
// KEY: key.json': rule 1: 'matches' is unknown; a rule has match, node, use, max-rank and format
// GLOB: glob.json': rule 1: 'match': 'head[' is no pattern:
// LIST: list.json': expected a list of rules
// WITHOUT: without.json': rule 1: 'format' is missing
// ABSENT: absent.json' cannot be read: No such file
// NOWRITE: error: the report '{{.*}}a.json' cannot be written: No such file

// By the tensor's name; by that of the node that reads it; of two tensors, the format with more bits.
// ERR:      warning: weight 'few' keeps its format and is not int8: its 4 summed rows, or elements of a table's row, are no multiple of 32
// ERR:      warning: rule 1 of the recipe, 'head.weigth', decides for no weight; names near to it: head.weight
// ERR:      warning: rule 7 of the recipe, '*w*', decides for no weight: rules before it match first
// ERR:      warning: rule 8 of the recipe, '/fn/*', decides for no weight; names near to it: /ffn/key/MatMul
// CHECK-LABEL: func.func @products(
// CHECK:       linalg.generic {{.*}} tensor<32x2xf16>)
// CHECK:       linalg.matmul {{.*}} tensor<3x32xf32>, tensor<32x2xf32>)
// CHECK:       linalg.generic {{.*}} tensor<1x32x4xi8>, tensor<1x4xbf16>)
// CHECK:       linalg.generic {{.*}} tensor<32x3xbf16>)
// CHECK:       linalg.matmul {{.*}} tensor<3x4xf32>, tensor<4x2xf32>)
// REPORT:      "tensor": "att.a|att.b"
// REPORT-NEXT: "nodes": [],
// REPORT-NEXT: "shape": [
// REPORT:      "format": "fp16",
// REPORT-NEXT: "bits": 16
// REPORT-NEXT: "relative_error": 0
// REPORT:      "tensor": "head.weight"
// REPORT:      "format": null,
// REPORT-NEXT: "reason": "no rule is for it, or one that keeps it"
// REPORT:      "nodes": [
// REPORT-NEXT:  "/ffn/key/MatMul"
// REPORT:      "format": "int8",
// REPORT-NEXT: "bits": 8.5
func.func @products(%x: tensor<3x32xf32>, %z: tensor<3x4xf32>, %y: tensor<3x2xf32>, %u: tensor<3x4xf32>, %v: tensor<3x3xf32>)
    -> (tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x4xf32>, tensor<3x3xf32>, tensor<3x2xf32>) {
  %a = arith.constant dense_resource<"att.a|att.b@batched"> : tensor<32x2xf32>
  %0 = linalg.matmul ins(%x, %a : tensor<3x32xf32>, tensor<32x2xf32>) outs(%y : tensor<3x2xf32>) -> tensor<3x2xf32>
  %head = arith.constant dense_resource<"head.weight"> : tensor<32x2xf32>
  %1 = linalg.matmul ins(%x, %head : tensor<3x32xf32>, tensor<32x2xf32>) outs(%y : tensor<3x2xf32>) -> tensor<3x2xf32>
  %b = arith.constant dense_resource<"onnx::MatMul_1"> : tensor<32x4xf32>
  %2 = linalg.matmul ins(%x, %b : tensor<3x32xf32>, tensor<32x4xf32>) outs(%u : tensor<3x4xf32>) -> tensor<3x4xf32> loc("/ffn/key/MatMul")
  %c = arith.constant dense_resource<"onnx::MatMul_2"> : tensor<32x3xf32>
  %3 = linalg.matmul ins(%x, %c : tensor<3x32xf32>, tensor<32x3xf32>) outs(%v : tensor<3x3xf32>) -> tensor<3x3xf32>
  %few = arith.constant dense_resource<"few"> : tensor<4x2xf32>
  %4 = linalg.matmul ins(%z, %few : tensor<3x4xf32>, tensor<4x2xf32>) outs(%y : tensor<3x2xf32>) -> tensor<3x2xf32>
  return %0, %1, %2, %3, %4 : tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x4xf32>, tensor<3x3xf32>, tensor<3x2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      "att.a|att.b@batched": "0x040000000000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF",
      "head.weight": "0x040000000000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF",
      "onnx::MatMul_1": "0x040000000000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF",
      "onnx::MatMul_2": "0x040000000000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF000080BF000000BF000000000000003F",
      "few": "0x040000000000C0BF000080BF000000BF000000000000003F0000803F0000C03F0000C0BF"
    }
  }
#-}
