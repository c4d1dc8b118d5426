//===- Cuda.h - What only CUDA's driver API has -----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_CUDA_CUDA_H
#define RWKVC_LIB_RUNTIME_GPU_CUDA_CUDA_H

/// result, name in the library, arguments
#define RWKVRT_CUDA_FUNCTIONS(F)                                               \
  F(int, cuDevicePrimaryCtxRetain, (void **, int))                             \
  F(int, cuDevicePrimaryCtxRelease_v2, (int))                                  \
  F(int, cuCtxPushCurrent_v2, (void *))                                        \
  F(int, cuCtxPopCurrent_v2, (void **))                                        \
  F(int, cuGetErrorName, (int, const char **))                                 \
  F(int, cuGetErrorString, (int, const char **))                               \
  F(int, cuDeviceGetAttribute, (int *, int, int))

#endif // RWKVC_LIB_RUNTIME_GPU_CUDA_CUDA_H
