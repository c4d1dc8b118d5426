// Describes functions on devices otherwise than on processors, where they are LLVM's after the last phase.
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%model: !transform.any_op) {
    %functions = transform.structured.match ops{["func.func"]} in %model : (!transform.any_op) -> !transform.any_op
    %interface = transform.param.constant
        {inputs = [], kind = "step", length_input = -1 : i64, logits_output = -1 : i64, outputs = [], states = [],
         texts = 0 : i64, token_input = -1 : i64} -> !transform.any_param
    transform.annotate %functions "rwkvc.interface" = %interface : !transform.any_op, !transform.any_param
    transform.yield
  }
}
