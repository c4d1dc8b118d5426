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

/// Elements first .. first + count - 1 of \p source, in row-major order, each
/// multiplied by \p factor.
struct ElementRun {
  mlir::Value source;
  int64_t first = 0, count = 0;
  double factor = 1.0;

  bool operator==(const ElementRun &other) const {
    return source == other.source && first == other.first &&
           count == other.count && factor == other.factor;
  }
};

/// The elements of \p value, a tensor of static shape, in row-major order:
/// through reshapes, slices, insertions, concatenations, and linalg ops that
/// only permute, repeat, convert or scale floats by a constant, back to where
/// they are computed.
llvm::SmallVector<ElementRun> findRuns(mlir::Value value);

/// Whether \p op only moves elements, converts their float type or scales them
/// by a constant: findRuns looks through it.
bool isMovement(mlir::Operation *op);

/// The only operand whose elements \p op moves, or null.
mlir::Value getMovedValue(mlir::Operation *op);

/// Whether a value that was multiplied by \p a and then by \p b is the same, up
/// to the rounding of two constants in float32.
bool areInverse(double a, double b);

/// The value that all elements of \p runs have, if they are constants.
std::optional<double> getUniformConstant(llvm::ArrayRef<ElementRun> runs);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_TENSORMOVEMENT_H
