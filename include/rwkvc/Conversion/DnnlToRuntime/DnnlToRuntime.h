//===- DnnlToRuntime.h - dnnl to calls of the runtime -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_DNNLTORUNTIME_DNNLTORUNTIME_H
#define RWKVC_CONVERSION_DNNLTORUNTIME_DNNLTORUNTIME_H

#include "llvm/ADT/StringRef.h"

namespace rwkvc {

/// Functions of rwkvc-rt/dnnl.h that generated code calls. A module that has
/// the first must be linked with librwkvc-rt-dnnl, and its entry function ends
/// with the second and returns what that returns (i32, 0 = success).
inline constexpr llvm::StringLiteral kDnnlMatmul = "rwkvrt_dnnl_matmul";
inline constexpr llvm::StringLiteral kDnnlTakeStatus =
    "rwkvrt_dnnl_take_status";

} // namespace rwkvc

#endif // RWKVC_CONVERSION_DNNLTORUNTIME_DNNLTORUNTIME_H
