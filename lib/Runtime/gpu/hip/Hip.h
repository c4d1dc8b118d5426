//===- Hip.h - Properties of devices ----------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_HIP_HIP_H
#define RWKVC_LIB_RUNTIME_GPU_HIP_HIP_H

#include <cstddef>

namespace rwkvrt::gpu {

/// hipDeviceProp_t, of which only gcnArchName is of interest. It lies elsewhere
/// in ROCm 6 and later, whose function is hipGetDevicePropertiesR0600, than
/// before.
struct HipProperties {
  alignas(8) char bytes[4096] = {};
  static constexpr size_t oldArchitecture = 396, newArchitecture = 1160;
};

} // namespace rwkvrt::gpu

#endif // RWKVC_LIB_RUNTIME_GPU_HIP_HIP_H
