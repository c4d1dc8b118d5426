//===- WKVOps.td - The wkv dialect ----------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_IR_WKVOPS_TD
#define RWKVC_DIALECT_WKV_IR_WKVOPS_TD

include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/TilingInterface.td"
include "rwkvc/Dialect/WKV/IR/WKVInterfaces.td"

def WKV_Dialect : Dialect {
  let name = "wkv";
  let cppNamespace = "::rwkvc::wkv";
  let useDefaultAttributePrinterParser = 1;
  let summary = "What an RWKV model means, whichever exporter wrote it";
  let description = [{
    One op per mathematical law: the WKV recurrences of RWKV v4, v5/v6 and v7,
    token shift, its interpolation, low-rank projections, the decay laws and the
    norms around them.
    Symbols of the descriptions: B sequences, T tokens, D model width, H heads,
    K key and V value elements of a head.

    The dialect does not model projections (they are matrix products), whole
    layers, or versions: a pass asks `RecurrenceOpInterface`.
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
}

def WKV_Float : AnyTypeOf<[F32, F16, BF16, F64]>;
def WKV_Tensor : TensorOf<[WKV_Float]>;
def WKV_State : TensorOf<[F32, F64]>;
def WKV_Length : TensorRankOf<[I64], [0]>;

class WKV_Op<string mnemonic, list<Trait> traits = []>
    : Op<WKV_Dialect, mnemonic, !listconcat([Pure], traits)>;

/// A recurrence writes its output into `init` and the new states into the old
/// ones. Its tiles are ranges of sequences, heads and value elements (or
/// channels), which never interact; tokens and key elements are not split.
///
/// `chunk`, where present, is the form: so many tokens are computed at once, as
/// matrix products, and what is left of T or `length` one after the other. It
/// changes the rounding and nothing else. C0: it is positive, and a multiple of
/// 16 where the state is a matrix.
///
/// `length`, where present, is the number of leading tokens that count, 0 to T:
/// the rows of the output from there on are unspecified, and the new state is the
/// one after `length` tokens.
class WKV_Recurrence<string mnemonic, list<string> overridden = []>
    : WKV_Op<mnemonic,
             [DestinationStyleOpInterface,
              DeclareOpInterfaceMethods<WKV_RecurrenceOpInterface, overridden>,
              DeclareOpInterfaceMethods<TilingInterface,
                  ["getLoopIteratorTypes", "getIterationDomain",
                   "getTiledImplementation", "getResultTilePosition"]>]> {
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The buffers of the output and the states, in the order of the results.
    ::mlir::MutableOperandRange getDpsInitsMutable() {
      unsigned count = (*this)->getNumResults();
      return ::mlir::MutableOperandRange(
          *this, (*this)->getNumOperands() - count, count);
    }
  }];
}

//===----------------------------------------------------------------------===//
// Recurrences
//===----------------------------------------------------------------------===//

def WKV_Wkv4Op : WKV_Recurrence<"wkv4"> {
  let summary = "RWKV v4's recurrence over a vector state";
  let description = [{
    Per channel, with the sums kept as `num * exp(max)` and `den * exp(max)`
    (arXiv 2305.13048, appendix D):

    ```
    q = max(max, bonus + k_t)
    y_t = (e^(max-q) num + e^(bonus+k_t-q) v_t) / (e^(max-q) den + e^(bonus+k_t-q))
    q = max(max + decay, k_t)
    num = e^(max+decay-q) num + e^(k_t-q) v_t;  den = e^(max+decay-q) den + e^(k_t-q);  max = q
    ```

    C1 `key`, `value`, `init` and `y` are [B, T, C]; C2 `decay` (a logarithm, at most 0)
    and `bonus` are [C]; C3 every state tensor is [B, C]. With `length` only so many
    leading tokens count; later rows of y are unspecified.
  }];
  let arguments = (ins WKV_Tensor:$key, WKV_Tensor:$value, WKV_Tensor:$decay,
                       WKV_Tensor:$bonus, Optional<WKV_Length>:$length,
                       WKV_Tensor:$init, WKV_State:$num, WKV_State:$den,
                       WKV_State:$max, OptionalAttr<I64Attr>:$chunk);
  let results = (outs WKV_Tensor:$y, WKV_State:$new_num, WKV_State:$new_den,
                      WKV_State:$new_max);
  let builders = [
    OpBuilder<(ins "::mlir::Type":$y, "::mlir::Type":$newNum,
                   "::mlir::Type":$newDen, "::mlir::Type":$newMax,
                   "::mlir::Value":$key, "::mlir::Value":$value,
                   "::mlir::Value":$decay, "::mlir::Value":$bonus,
                   "::mlir::Value":$init, "::mlir::Value":$num,
                   "::mlir::Value":$den, "::mlir::Value":$max), [{
      build($_builder, $_state, y, newNum, newDen, newMax, key, value, decay,
            bonus, /*length=*/::mlir::Value(), init, num, den, max,
            /*chunk=*/::mlir::IntegerAttr());
    }]>
  ];
  let assemblyFormat = [{
    `key` `(` $key `)` `value` `(` $value `)` `decay` `(` $decay `)`
    `bonus` `(` $bonus `)` (`length` `(` $length^ `)`)? `init` `(` $init `)`
    `state` `(` $num `,` $den `,` $max `)` attr-dict `:` functional-type(operands, results)
  }];
}

def WKV_Wkv6Op : WKV_Recurrence<"wkv6"> {
  let summary = "Diagonal decay with a bonus for the present token (v5, v6)";
  let description = [{
    Per head, the output reads the old state (arXiv 2404.05892, section 4):

    ```
    y_t = r_t^T (S + diag(bonus) k_t v_t^T);   S = diag(decay_t) S + k_t v_t^T
    ```

    C1 `receptance`, `key` are [B, T, H, K], `value`, `init` and `y` [B, T, H, V].
    C2 `decay` is a factor, [B, T, H, K], with B and T both 1 where it does not
    depend on the token (v5). C3 `bonus` is [H, K]. C4 the state is [B, H, K, V].
    With `length` only so many leading tokens count; later rows of y are unspecified.
  }];
  let arguments = (ins WKV_Tensor:$receptance, WKV_Tensor:$key,
                       WKV_Tensor:$value, WKV_Tensor:$decay,
                       WKV_Tensor:$bonus, Optional<WKV_Length>:$length,
                       WKV_Tensor:$init, WKV_State:$state,
                       OptionalAttr<I64Attr>:$chunk);
  let results = (outs WKV_Tensor:$y, WKV_State:$new_state);
  let builders = [
    OpBuilder<(ins "::mlir::Type":$y, "::mlir::Type":$newState,
                   "::mlir::Value":$receptance, "::mlir::Value":$key,
                   "::mlir::Value":$value, "::mlir::Value":$decay,
                   "::mlir::Value":$bonus, "::mlir::Value":$init,
                   "::mlir::Value":$state), [{
      build($_builder, $_state, y, newState, receptance, key, value, decay,
            bonus, /*length=*/::mlir::Value(), init, state,
            /*chunk=*/::mlir::IntegerAttr());
    }]>
  ];
  let assemblyFormat = [{
    `receptance` `(` $receptance `)` `key` `(` $key `)` `value` `(` $value `)`
    `decay` `(` $decay `)` `bonus` `(` $bonus `)`
    (`length` `(` $length^ `)`)? `init` `(` $init `)`
    `state` `(` $state `)` attr-dict `:` functional-type(operands, results)
  }];
}

def WKV_Wkv7Op : WKV_Recurrence<
    "wkv7", ["packStates", "unpackStates", "buildBlockStep"]> {
  let summary = "Generalised delta rule (v7)";
  let description = [{
    Per head, the output reads the new state (arXiv 2503.14456, section 4):

    ```
    S = S diag(decay_t) + (S a_t) b_t^T + v_t k_t^T;   y_t = S r_t
    ```

    where a is the negated removal key and b the removal key times the
    in-context learning rate. C1 `receptance`, `decay` (a factor), `key`, `a`,
    `b` are [B, T, H, K], `value`, `init` and `y` [B, T, H, V]. C2 the state is
    [B, H, V, K]. With `length` only so many leading tokens count; later rows of y
    are unspecified.
  }];
  let arguments = (ins WKV_Tensor:$receptance, WKV_Tensor:$decay,
                       WKV_Tensor:$key, WKV_Tensor:$value, WKV_Tensor:$a,
                       WKV_Tensor:$b, Optional<WKV_Length>:$length,
                       WKV_Tensor:$init, WKV_State:$state,
                       OptionalAttr<I64Attr>:$chunk);
  let results = (outs WKV_Tensor:$y, WKV_State:$new_state);
  let builders = [
    OpBuilder<(ins "::mlir::Type":$y, "::mlir::Type":$newState,
                   "::mlir::Value":$receptance, "::mlir::Value":$decay,
                   "::mlir::Value":$key, "::mlir::Value":$value,
                   "::mlir::Value":$a, "::mlir::Value":$b,
                   "::mlir::Value":$init, "::mlir::Value":$state), [{
      build($_builder, $_state, y, newState, receptance, decay, key, value, a,
            b, /*length=*/::mlir::Value(), init, state,
            /*chunk=*/::mlir::IntegerAttr());
    }]>
  ];
  let assemblyFormat = [{
    `receptance` `(` $receptance `)` `decay` `(` $decay `)` `key` `(` $key `)`
    `value` `(` $value `)` `a` `(` $a `)` `b` `(` $b `)`
    (`length` `(` $length^ `)`)? `init` `(` $init `)`
    `state` `(` $state `)` attr-dict `:` functional-type(operands, results)
  }];
}

//===----------------------------------------------------------------------===//
// Decay and norms
//===----------------------------------------------------------------------===//

def WKV_DecayLawExpExp : I32EnumAttrCase<"ExpExp", 0, "exp_exp">;
def WKV_DecayLawExpSigmoid : I32EnumAttrCase<"ExpSigmoid", 1, "exp_sigmoid">;
def WKV_DecayLaw : I32EnumAttr<"DecayLaw", "how a decay follows from its logit",
                               [WKV_DecayLawExpExp, WKV_DecayLawExpSigmoid]> {
  let cppNamespace = "::rwkvc::wkv";
  let genSpecializedAttr = 0;
}
def WKV_DecayLawAttr : EnumAttr<WKV_Dialect, WKV_DecayLaw, "decay_law">;

def WKV_DecayOp : WKV_Op<"decay", [AllTypesMatch<["logit", "decay"]>]> {
  let summary = "Decay factor from its logit";
  let description = [{
    `exp_exp`: exp(-scale * exp(x)) with x clamped to [lower, upper] (v5, v6; the
    bounds are infinite where the model has none). `exp_sigmoid`:
    exp(-scale * sigmoid(x)) (v7, scale = e^-1/2).
  }];
  let arguments = (ins WKV_Tensor:$logit, WKV_DecayLawAttr:$law,
                       F64Attr:$scale, F64Attr:$lower, F64Attr:$upper);
  let results = (outs WKV_Tensor:$decay);
  let assemblyFormat = "$law $logit attr-dict `:` type($logit)";
}

def WKV_LayerNormOp : WKV_Op<"layer_norm", [AttrSizedOperandSegments,
                                            AllTypesMatch<["x", "y"]>]> {
  let summary = "Normalises the last axis, with an optional affine part";
  let description = [{
    ```
    (x - mean(x)) / (sqrt(mean((x - mean(x))^2) + epsilon) + root_epsilon) * scale + bias
    ```
    over the last axis. On [.., H, N] it is the group norm over H heads.
    `root_epsilon` is 0 but for exporters that add an epsilon to the root as well.

    C1 `scale` and `bias`, where present, have the shape of the last one or more
    axes of `x`: [N] for a layer norm, [H, N] for a group norm.
  }];
  let arguments = (ins WKV_Tensor:$x, Optional<WKV_Tensor>:$scale,
                       Optional<WKV_Tensor>:$bias, F64Attr:$epsilon,
                       DefaultValuedAttr<F64Attr, "0.0">:$root_epsilon);
  let results = (outs WKV_Tensor:$y);
  let builders = [
    OpBuilder<(ins "::mlir::Value":$x, "::mlir::Value":$scale,
                   "::mlir::Value":$bias, "double":$epsilon,
                   CArg<"double", "0.0">:$root_epsilon)>
  ];
  let assemblyFormat = [{
    $x (`scale` `(` $scale^ `:` type($scale) `)`)?
    (`bias` `(` $bias^ `:` type($bias) `)`)? attr-dict `:` type($x)
  }];
  let hasVerifier = 1;
}

def WKV_L2NormBoundMax : I32EnumAttrCase<"Max", 0, "max">;
def WKV_L2NormBoundAdd : I32EnumAttrCase<"Add", 1, "add">;
def WKV_L2NormBoundRoot : I32EnumAttrCase<"Root", 2, "root">;
def WKV_L2NormBound : I32EnumAttr<"L2NormBound", "where epsilon enters a norm",
    [WKV_L2NormBoundMax, WKV_L2NormBoundAdd, WKV_L2NormBoundRoot]> {
  let cppNamespace = "::rwkvc::wkv";
  let genSpecializedAttr = 0;
}
def WKV_L2NormBoundAttr : EnumAttr<WKV_Dialect, WKV_L2NormBound, "l2_bound">;

def WKV_L2NormOp : WKV_Op<"l2_norm", [AllTypesMatch<["x", "y"]>]> {
  let summary = "Divides the last axis by its Euclidean norm";
  let description = [{
    With n the norm of the last axis: `max` x / max(n, epsilon), `add`
    x / (n + epsilon), `root` x / sqrt(n^2 + epsilon).
  }];
  let arguments = (ins WKV_Tensor:$x, WKV_L2NormBoundAttr:$bound,
                       F64Attr:$epsilon);
  let results = (outs WKV_Tensor:$y);
  let assemblyFormat = "$bound $x attr-dict `:` type($x)";
}

//===----------------------------------------------------------------------===//
// Token shift
//===----------------------------------------------------------------------===//

def WKV_TokenShiftOp : WKV_Op<"token_shift"> {
  let summary = "Every token's predecessor, and the row to keep";
  let description = [{
    `shifted`[b, t] = x[b, t-1], with x[b, -1] the row that `state` kept;
    `new_state` = x[b, T-1]; with `length`, 1 to T, only so many leading tokens count
    and it is x[b, length-1]. C1 `x` and `shifted` have one type, [B, T, D]; C2 the
    old and the new state have one type, [B, D], whose elements may be wider or
    narrower than those of `x`.
  }];
  let arguments = (ins WKV_Tensor:$x, WKV_Tensor:$state,
                       Optional<WKV_Length>:$length);
  let results = (outs WKV_Tensor:$shifted, WKV_Tensor:$new_state);
  let builders = [
    OpBuilder<(ins "::mlir::Type":$shifted, "::mlir::Type":$newState,
                   "::mlir::Value":$x, "::mlir::Value":$state), [{
      build($_builder, $_state, shifted, newState, x, state,
            /*length=*/::mlir::Value());
    }]>
  ];
  let assemblyFormat = [{
    $x `state` `(` $state `)` (`length` `(` $length^ `)`)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def WKV_MixOp : WKV_Op<"mix", [AllTypesMatch<["x", "shifted"]>]> {
  let summary = "Interpolates between a token and its predecessor";
  let description = [{
    y = x + (shifted - x) * mu, for one target or for several at once. `mu` weighs
    the predecessor, in the convention of v6 and v7; v4's and v5's mu is 1 less it.

    C1 `y` has the type of `x`, or one more leading axis, over which `x` and
    `shifted` are repeated: the targets. C2 `mu` broadcasts to `y` from the last
    axis on: each of its axes is 1 or that of `y`.

    ```mlir
    %k = wkv.mix %x, %s by %mu : tensor<1x7x64xf32>, tensor<64xf32> -> tensor<1x7x64xf32>
    %5 = wkv.mix %x, %s by %mus : tensor<1x7x64xf32>, tensor<5x1x7x64xf32> -> tensor<5x1x7x64xf32>
    ```
  }];
  let arguments = (ins WKV_Tensor:$x, WKV_Tensor:$shifted, WKV_Tensor:$mu);
  let results = (outs WKV_Tensor:$y);
  let assemblyFormat = [{
    $x `,` $shifted `by` $mu attr-dict `:` type($x) `,` type($mu) `->` type($y)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Low-rank projections
//===----------------------------------------------------------------------===//

def WKV_LoraActivationNone : I32EnumAttrCase<"None", 0, "none">;
def WKV_LoraActivationTanh : I32EnumAttrCase<"Tanh", 1, "tanh">;
def WKV_LoraActivationSigmoid : I32EnumAttrCase<"Sigmoid", 2, "sigmoid">;
def WKV_LoraActivation : I32EnumAttr<"LoraActivation",
    "function between the two products of a low-rank projection",
    [WKV_LoraActivationNone, WKV_LoraActivationTanh,
     WKV_LoraActivationSigmoid]> {
  let cppNamespace = "::rwkvc::wkv";
  let genSpecializedAttr = 0;
}
def WKV_LoraActivationAttr
    : EnumAttr<WKV_Dialect, WKV_LoraActivation, "lora_activation">;

def WKV_LoraOp : WKV_Op<"lora"> {
  let summary = "Projection through a space of low rank";
  let description = [{
    y = activation(x down) up + bias, without the bias where there is none
    (reference sections 4 and 5: decays, in-context learning rates, gates).

    C1 `x` is [.., D] and `y` [.., C]. C2 `down` is [D, R], or [R, D] with
    `transpose_down`. C3 `up` is [R, C], or [C, R] with `transpose_up`. C4 `bias` is
    [C]. C5 the rank R is below D and C.

    ```mlir
    %w = wkv.lora tanh %x, %down, %up bias(%w0 : tensor<64xf32>)
        : tensor<1x1x64xf32>, tensor<64x16xf32>, tensor<16x64xf32> -> tensor<1x1x64xf32>
    ```
  }];
  let arguments = (ins WKV_Tensor:$x, WKV_Tensor:$down, WKV_Tensor:$up,
                       Optional<WKV_Tensor>:$bias,
                       WKV_LoraActivationAttr:$activation,
                       UnitAttr:$transpose_down, UnitAttr:$transpose_up);
  let results = (outs WKV_Tensor:$y);
  let assemblyFormat = [{
    $activation $x `,` $down `,` $up (`bias` `(` $bias^ `:` type($bias) `)`)?
    attr-dict `:` type($x) `,` type($down) `,` type($up) `->` type($y)
  }];
  let hasVerifier = 1;
}

#endif // RWKVC_DIALECT_WKV_IR_WKVOPS_TD
