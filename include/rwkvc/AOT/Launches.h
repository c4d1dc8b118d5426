//===- Launches.h - Functions as lists of launches --------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// On a device a function is a list of kernels to launch, in order. Phases carry
// it as the function's attribute `rwkvc.launches`.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_LAUNCHES_H
#define RWKVC_AOT_LAUNCHES_H

#include "mlir/IR/Operation.h"
#include <string>

namespace rwkvc::aot {

/// Of a function: its launches.
inline constexpr llvm::StringLiteral kLaunchesAttr = "rwkvc.launches";

/// What a kernel is given: an address or a number.
struct LaunchArgument {
  /// As rwkvrt_argument_kind.
  enum Kind { Weights, Workspace, Input, Output, Number };
  Kind kind = Number;
  int64_t index = 0; ///< of the input or output
  int64_t value = 0; ///< bytes from its beginning, or the number
};

/// One run of a kernel.
struct Launch {
  std::string kernel;
  int64_t numGroups = 1;
  bool isForLogits = false; ///< only they depend on it
  llvm::SmallVector<LaunchArgument> arguments;
};

/// The attribute form, and back. Reading reports a missing or malformed
/// attribute at \p entry.
void setLaunches(mlir::Operation *entry, llvm::ArrayRef<Launch> launches);
mlir::FailureOr<llvm::SmallVector<Launch>> readLaunches(mlir::Operation *entry);

} // namespace rwkvc::aot

#endif // RWKVC_AOT_LAUNCHES_H
