//===- TensorMovement.h - Where elements of a tensor come from --*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// ElementOrigins.h answers the same question for ONNX operators; this is about
// tensor and linalg, after conversion.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_TENSORMOVEMENT_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_TENSORMOVEMENT_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/SmallVector.h"
#include <optional>

namespace rwkvc::wkv {

/// Elements first .. first + count - 1 of \p source, in row-major order.
struct ElementRun {
  mlir::Value source;
  int64_t first = 0, count = 0;

  bool operator==(const ElementRun &other) const {
    return source == other.source && first == other.first &&
           count == other.count;
  }
};

/// The elements of \p value, a tensor of static shape, in row-major order:
/// through reshapes, slices, insertions, concatenations, and linalg ops that
/// only permute, repeat or convert floats, back to where they are computed.
llvm::SmallVector<ElementRun> findRuns(mlir::Value value);

/// Whether \p op only moves elements or converts their float type:
/// findRuns looks through it.
bool isMovement(mlir::Operation *op);

/// The value that all elements of \p runs have, if they are constants.
std::optional<double> getUniformConstant(llvm::ArrayRef<ElementRun> runs);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_TENSORMOVEMENT_H
