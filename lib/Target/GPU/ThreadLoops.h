//===- ThreadLoops.h - Parallel loops over threads --------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_GPU_THREADLOOPS_H
#define RWKVC_LIB_TARGET_GPU_THREADLOOPS_H

#include "ThreadShares.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

namespace rwkvc::gpu {

/// Whether each iteration of \p loop is one thread's: its mapping is to
/// `gpu.thread`.
bool isThreadLoop(mlir::scf::ForallOp loop);

/// Lets each thread run iterations of its own of the thread loop \p loop ,
/// before which the code is made: those of workgroup \p group , or all of them
/// in turn if that is null. What is in an iteration, no other thread takes part
/// in; buffers in it become the thread's own memory. Erases \p loop.
void emitThreadLoop(mlir::scf::ForallOp loop, Threads &threads,
                    mlir::Value group);

} // namespace rwkvc::gpu

#endif // RWKVC_LIB_TARGET_GPU_THREADLOOPS_H
