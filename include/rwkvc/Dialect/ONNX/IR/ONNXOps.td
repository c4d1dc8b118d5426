//===- ONNXOps.td - The onnx dialect: import form of a model --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_ONNX_IR_ONNXOPS_TD
#define RWKVC_DIALECT_ONNX_IR_ONNXOPS_TD

include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/CommonAttrConstraints.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let cppNamespace = "::rwkvc::onnx";
  let summary = "ONNX operators as the importer reads them";
  let description = [{
    The import form. Every node of an ONNX graph becomes one op with the operand
    order, attribute names and semantics of the newest operator set; an omitted
    operand is the result of `onnx.NoValue`. Unsigned element types are kept
    (`ui8`). Operators outside the list in `python/rwkvc/onnx_ops.txt`, and all those of
    other domains, are `onnx.Custom`.

    The dialect does not model opsets, functions or symbolic dimensions: the
    importer resolves them.
  }];
}

def ONNX_Tensor : TensorOf<[F32, F16, BF16, F64, I1, I8, I16, I32, I64, UI8,
                            UI16, UI32, UI64]>;
def ONNX_FloatTensor : TensorOf<[F32, F16, BF16, F64]>;
def ONNX_Value : AnyTypeOf<[ONNX_Tensor, NoneType]>;

/// An operator whose value depends on its operands alone.
class ONNX_Op<string mnemonic, list<Trait> traits = [Pure]>
    : Op<ONNX_Dialect, mnemonic, traits> {
  let assemblyFormat = ?;
}

def ONNX_ConstantOp : ONNX_Op<"Constant", [Pure, ConstantLike]> {
  let summary = "A constant tensor or weight";
  let description = [{
    `value` is dense data up to 1 KiB and otherwise a dense resource that refers
    to the bytes of the mapped model or weight file.
  }];
  let arguments = (ins ElementsAttr:$value);
  let results = (outs ONNX_Tensor:$output);
  let hasFolder = 1;
}

def ONNX_NoValueOp : ONNX_Op<"NoValue"> {
  let summary = "Stands for an operand that the node leaves out";
  let results = (outs NoneType:$output);
}

def ONNX_CustomOp : ONNX_Op<"Custom", []> {
  let summary = "An operator without a typed op";
  let description = [{
    Keeps domain, operator name and attributes of a node. Whether it can be
    compiled is decided when it is lowered, so that passes of other libraries
    can give it a meaning first.
  }];
  let arguments = (ins Variadic<ONNX_Value>:$inputs, StrAttr:$domain,
                       StrAttr:$op_type, DictionaryAttr:$attrs);
  let results = (outs Variadic<ONNX_Value>:$outputs);
}

def ONNX_YieldOp : ONNX_Op<"Yield", [Pure, Terminator]> {
  let summary = "Ends the body of Scan, Loop and If";
  let arguments = (ins Variadic<ONNX_Value>:$outputs);
}

include "rwkvc/Dialect/ONNX/IR/ONNXOps.td.inc"

#endif // RWKVC_DIALECT_ONNX_IR_ONNXOPS_TD
