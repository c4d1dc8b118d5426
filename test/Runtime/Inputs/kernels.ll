; Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
; SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
;
; Kernels of model.c's code for OpenCL; devices.h launches them.
target triple = "spirv64-unknown-unknown"

declare spir_func i64 @_Z13get_global_idj(i32)
declare spir_func i64 @_Z12get_local_idj(i32)
declare spir_func i64 @_Z12get_group_idj(i32)

; A group for each text, a thread for each element k of its state:
;   s = s / 2 + weights[token], m = max(m, s) for each of `count` tokens,
; and s goes to history [texts, stride, 64].
define internal spir_func void @feed(ptr addrspace(1) %tokens, ptr addrspace(1) %weights, ptr addrspace(1) %s,
    ptr addrspace(1) %m, i64 %stride, i64 %count, ptr addrspace(1) %history) {
entry:
  %text = call spir_func i64 @_Z12get_group_idj(i32 0)
  %k = call spir_func i64 @_Z12get_local_idj(i32 0)
  %row = mul i64 %text, 64
  %element = add i64 %row, %k
  %s.at = getelementptr float, ptr addrspace(1) %s, i64 %element
  %m.at = getelementptr float, ptr addrspace(1) %m, i64 %element
  %s.first = load float, ptr addrspace(1) %s.at
  %m.first = load float, ptr addrspace(1) %m.at
  %start = mul i64 %text, %stride
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %i.next, %loop ]
  %s.old = phi float [ %s.first, %entry ], [ %s.new, %loop ]
  %m.old = phi float [ %m.first, %entry ], [ %m.new, %loop ]
  %position = add i64 %start, %i
  %token.at = getelementptr i64, ptr addrspace(1) %tokens, i64 %position
  %token = load i64, ptr addrspace(1) %token.at
  %token.row = mul i64 %token, 64
  %weight.index = add i64 %token.row, %k
  %weight.at = getelementptr float, ptr addrspace(1) %weights, i64 %weight.index
  %weight = load float, ptr addrspace(1) %weight.at
  %half = fmul float %s.old, 5.000000e-01
  %s.new = fadd float %half, %weight
  %greater = fcmp ogt float %s.new, %m.old
  %m.new = select i1 %greater, float %s.new, float %m.old
  %history.row = mul i64 %position, 64
  %history.index = add i64 %history.row, %k
  %history.at = getelementptr float, ptr addrspace(1) %history, i64 %history.index
  store float %s.new, ptr addrspace(1) %history.at
  %i.next = add i64 %i, 1
  %more = icmp ult i64 %i.next, %count
  br i1 %more, label %loop, label %done
done:
  store float %s.new, ptr addrspace(1) %s.at
  store float %m.new, ptr addrspace(1) %m.at
  ret void
}

define spir_kernel void @advance(ptr addrspace(1) %tokens, ptr addrspace(1) %weights, ptr addrspace(1) %s,
    ptr addrspace(1) %m, i64 %stride, i64 %count, ptr addrspace(1) %history) {
  call spir_func void @feed(ptr addrspace(1) %tokens, ptr addrspace(1) %weights, ptr addrspace(1) %s,
      ptr addrspace(1) %m, i64 %stride, i64 %count, ptr addrspace(1) %history)
  ret void
}

define spir_kernel void @advance_block(ptr addrspace(1) %tokens, ptr addrspace(1) %weights, ptr addrspace(1) %s,
    ptr addrspace(1) %m, i64 %stride, ptr addrspace(1) %length, ptr addrspace(1) %history) {
  %count = load i64, ptr addrspace(1) %length
  call spir_func void @feed(ptr addrspace(1) %tokens, ptr addrspace(1) %weights, ptr addrspace(1) %s,
      ptr addrspace(1) %m, i64 %stride, i64 %count, ptr addrspace(1) %history)
  ret void
}

; logits [rows, 256] = states [rows, 64] * weights, a thread for each.
define spir_kernel void @head(ptr addrspace(1) %weights, ptr addrspace(1) %states, ptr addrspace(1) %logits) {
entry:
  %id = call spir_func i64 @_Z13get_global_idj(i32 0)
  %row = lshr i64 %id, 8
  %token = and i64 %id, 255
  %row.start = mul i64 %row, 64
  %token.start = mul i64 %token, 64
  br label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k.next, %loop ]
  %sum = phi float [ 0.000000e+00, %entry ], [ %sum.next, %loop ]
  %s.index = add i64 %row.start, %k
  %w.index = add i64 %token.start, %k
  %s.at = getelementptr float, ptr addrspace(1) %states, i64 %s.index
  %w.at = getelementptr float, ptr addrspace(1) %weights, i64 %w.index
  %s = load float, ptr addrspace(1) %s.at
  %w = load float, ptr addrspace(1) %w.at
  %product = fmul float %w, %s
  %sum.next = fadd float %sum, %product
  %k.next = add i64 %k, 1
  %more = icmp ult i64 %k.next, 64
  br i1 %more, label %loop, label %done
done:
  %out = getelementptr float, ptr addrspace(1) %logits, i64 %id
  store float %sum.next, ptr addrspace(1) %out
  ret void
}

; The token as an int32.
define spir_kernel void @count(ptr addrspace(1) %token, ptr addrspace(1) %count) {
  %value = load i64, ptr addrspace(1) %token
  %narrow = trunc i64 %value to i32
  store i32 %narrow, ptr addrspace(1) %count
  ret void
}

define spir_kernel void @copy(ptr addrspace(1) %from, ptr addrspace(1) %to) {
  %id = call spir_func i64 @_Z13get_global_idj(i32 0)
  %from.at = getelementptr float, ptr addrspace(1) %from, i64 %id
  %to.at = getelementptr float, ptr addrspace(1) %to, i64 %id
  %value = load float, ptr addrspace(1) %from.at
  store float %value, ptr addrspace(1) %to.at
  ret void
}
