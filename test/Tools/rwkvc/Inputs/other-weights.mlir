// Changes the weights of a model for devices alone: only there is memory of a thread's own.
module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%model: !transform.any_op) {
    %found = transform.structured.match ops{["memref.alloc"]} in %model : (!transform.any_op) -> !transform.any_op
    %modules = transform.get_parent_op %found {op_name = "builtin.module", deduplicate}
        : (!transform.any_op) -> !transform.any_op
    %size = transform.param.constant 64 : i64 -> !transform.param<i64>
    transform.annotate %modules "rwkvc.weights_size" = %size : !transform.any_op, !transform.param<i64>
    transform.yield
  }
}
