//===- DnnlOps.td - The dnnl dialect --------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_DNNL_IR_DNNLOPS_TD
#define RWKVC_DIALECT_DNNL_IR_DNNLOPS_TD

include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Dnnl_Dialect : Dialect {
  let name = "dnnl";
  let cppNamespace = "::rwkvc::dnnl";
  let useDefaultAttributePrinterParser = 1;
  let summary = "Calls of the oneDNN library";
  let description = [{
    Destination-passing ops that each become one call of the runtime library
    `librwkvc-rt-dnnl`. They exist between the pass that decides what oneDNN
    shall compute and the pass that writes the call; see
    docs/Dialects/RationaleDnnl.md.
  }];
}

def Dnnl_Float : AnyTypeOf<[F32, BF16, F16]>;
def Dnnl_Operand : AnyTypeOf<[RankedTensorOf<[Dnnl_Float]>,
                              MemRefOf<[Dnnl_Float]>]>;

def Dnnl_PostOpRelu : I32EnumAttrCase<"Relu", 1, "relu">;
def Dnnl_PostOpSquare : I32EnumAttrCase<"Square", 2, "square">;
def Dnnl_PostOpLogistic : I32EnumAttrCase<"Logistic", 3, "logistic">;
def Dnnl_PostOpTanh : I32EnumAttrCase<"Tanh", 4, "tanh">;
def Dnnl_PostOpSwish : I32EnumAttrCase<"Swish", 5, "swish">;
def Dnnl_PostOpAdd : I32EnumAttrCase<"Add", 6, "add">;
def Dnnl_PostOpMul : I32EnumAttrCase<"Mul", 7, "mul">;
def Dnnl_PostOp : I32EnumAttr<"PostOp", "what is applied to each element of a product",
    [Dnnl_PostOpRelu, Dnnl_PostOpSquare, Dnnl_PostOpLogistic, Dnnl_PostOpTanh,
     Dnnl_PostOpSwish, Dnnl_PostOpAdd, Dnnl_PostOpMul]> {
  let cppNamespace = "::rwkvc::dnnl";
  let genSpecializedAttr = 0;
}
def Dnnl_PostOpAttr : EnumAttr<Dnnl_Dialect, Dnnl_PostOp, "post_op">;
def Dnnl_PostOpsAttr
    : TypedArrayAttrBase<Dnnl_PostOpAttr, "functions in order of application">;

def Dnnl_MatmulOp
    : Op<Dnnl_Dialect, "matmul",
         [DestinationStyleOpInterface,
          DeclareOpInterfaceMethods<MemoryEffectsOpInterface>,
          DeclareOpInterfaceMethods<BufferizableOpInterface,
              ["bufferizesToMemoryRead", "bufferizesToMemoryWrite",
               "getAliasingValues", "bufferize"]>]> {
  let summary = "Matrix product, in batches or alone";
  let description = [{
    c = op(a) op(b), or c = c + op(a) op(b) with `accumulate`, where op swaps the
    last two dimensions if `transpose_a`, `transpose_b` say so. Sums are kept in
    float32 whatever the element types and rounded once to the type of `c`.

    With `post`, each element of the sum then runs through the functions listed, before
    it is rounded: `relu` max(x, 0), `square` x x, `logistic` 1 / (1 + exp(-x)), `tanh`,
    `swish` x logistic(x), and `add` and `mul` with a tensor of the shape of `c` or with
    a row, the same for all rows of `c`. A NaN may become 0 in `relu`.

    `constant_b` promises that `b` holds the same values, at the same address,
    whenever this op runs: the runtime then rearranges it once for the kernel and
    keeps the copy.

    Rules:
    C1 the operands are all tensors or all memrefs; there is a result, with the
    type of `c`, if they are tensors.
    C2 `a` and `b` have one element type; `c` has it too or is f32.
    C3 all have the same rank, from 2 to 6.
    C4 leading (batch) dimensions are equal.
    C5 op(a) is M x K, op(b) is K x N and `c` is M x N.
    C6 no dimension is 0.
    C7 `post` has 1 to 8 functions, and `others` are as many as of them take an
    operand: at most 2.
    C8 each of `others` is of f32 and has the shape of `c` or is a row of N elements; a
    row only beside a `c` of rank 2.

    ```mlir
    %r = dnnl.matmul transpose_b constant_b
           ins(%x, %w : tensor<512x1024xf32>, tensor<4096x1024xf32>)
           outs(%c : tensor<512x4096xf32>) -> tensor<512x4096xf32>
    %s = dnnl.matmul ins(%x, %w : tensor<512x1024xf32>, tensor<1024x4096xf32>)
           outs(%c : tensor<512x4096xf32>)
           post(add %bias : tensor<4096xf32>, relu, square) -> tensor<512x4096xf32>
    ```
  }];
  let arguments = (ins Dnnl_Operand:$a, Dnnl_Operand:$b, Dnnl_Operand:$c,
                       Variadic<Dnnl_Operand>:$others,
                       UnitAttr:$transpose_a, UnitAttr:$transpose_b,
                       UnitAttr:$accumulate, UnitAttr:$constant_b,
                       OptionalAttr<Dnnl_PostOpsAttr>:$post_ops);
  let results = (outs Optional<RankedTensorOf<[Dnnl_Float]>>:$product);
  let assemblyFormat = [{
    oilist(`transpose_a` $transpose_a | `transpose_b` $transpose_b |
           `accumulate` $accumulate | `constant_b` $constant_b)
    `ins` `(` $a `,` $b `:` type($a) `,` type($b) `)`
    `outs` `(` $c `:` type($c) `)`
    (`post` `(` custom<PostOps>($post_ops, $others, type($others))^ `)`)?
    attr-dict (`->` type($product)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Largest rank of an operand.
    static constexpr int64_t kMaxRank = 6;

    /// Most functions in `post`, and most of them with an operand.
    static constexpr int64_t kMaxPostOps = 8;
    static constexpr int64_t kMaxOthers = 2;

    /// The functions applied to the sums, in order.
    ::llvm::SmallVector<PostOp> getPostOpList();

    /// Whether `constant_b` is promised and can hold: memory that is allocated
    /// in each run, say for a copy of a constant, has no lasting address.
    bool hasConstantB();

    ::mlir::MutableOperandRange getDpsInitsMutable() { return getCMutable(); }
  }];
}

#endif // RWKVC_DIALECT_DNNL_IR_DNNLOPS_TD
