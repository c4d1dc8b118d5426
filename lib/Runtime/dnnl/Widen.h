//===- Widen.h - 16-bit matrices to float32 and back ------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For processors on which oneDNN multiplies float32 only.
//
//===----------------------------------------------------------------------===//
#ifndef RWKVC_LIB_RUNTIME_DNNL_WIDEN_H
#define RWKVC_LIB_RUNTIME_DNNL_WIDEN_H

#include "../ElementTypes.h"
#include "rwkvc-rt/dnnl.h"

namespace rwkvrt::onednn {

/// Calls visit(offset in the matrix' memory, index in row-major order) for the
/// start of each row.
template <typename Visit>
void forEachRow(const rwkvrt_dnnl_matrix &matrix, int32_t rank, Visit visit) {
  int64_t at[RWKVRT_DNNL_MAX_RANK] = {}, offset = 0, index = 0;
  for (;;) {
    visit(offset, index);
    index += matrix.dims[rank - 1];
    int32_t axis = rank - 2;
    for (; axis >= 0; --axis) {
      offset += matrix.strides[axis];
      if (++at[axis] < matrix.dims[axis])
        break;
      offset -= matrix.strides[axis] * matrix.dims[axis];
      at[axis] = 0;
    }
    if (axis < 0)
      return;
  }
}

/// Copies a bf16 or f16 matrix to row-major float32.
inline void widen(const rwkvrt_dnnl_matrix &matrix, int32_t rank,
                  const void *from, float *to) {
  auto source = static_cast<const uint16_t *>(from);
  int64_t columns = matrix.dims[rank - 1], step = matrix.strides[rank - 1];
  bool half = matrix.dtype == RWKVRT_F16;
  forEachRow(matrix, rank, [&](int64_t offset, int64_t index) {
    const uint16_t *row = source + offset;
    float *out = to + index;
    if (half)
      for (int64_t i = 0; i < columns; ++i)
        out[i] = halfToFloat(row[i * step]);
    else
      for (int64_t i = 0; i < columns; ++i)
        out[i] = bfloatToFloat(row[i * step]);
  });
}

/// Rounds row-major float32 to a bf16 or f16 matrix.
inline void narrow(const rwkvrt_dnnl_matrix &matrix, int32_t rank,
                   const float *from, void *to) {
  auto destination = static_cast<uint16_t *>(to);
  int64_t columns = matrix.dims[rank - 1], step = matrix.strides[rank - 1];
  bool half = matrix.dtype == RWKVRT_F16;
  forEachRow(matrix, rank, [&](int64_t offset, int64_t index) {
    uint16_t *row = destination + offset;
    const float *in = from + index;
    if (half)
      for (int64_t i = 0; i < columns; ++i)
        row[i * step] = floatToHalf(in[i]);
    else
      for (int64_t i = 0; i < columns; ++i)
        row[i * step] = floatToBfloat(in[i]);
  });
}

} // namespace rwkvrt::onednn

#endif // RWKVC_LIB_RUNTIME_DNNL_WIDEN_H
