//===- RandomLeaves.h - Comparison on random values -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A rewrite that recognises by meaning checks itself: both sides are evaluated
// on random values of what enters them, and compared.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_ONNX_TRANSFORMS_RANDOMLEAVES_H
#define RWKVC_DIALECT_ONNX_TRANSFORMS_RANDOMLEAVES_H

#include "rwkvc/Dialect/ONNX/Transforms/Evaluator.h"
#include <random>

namespace rwkvc::onnx {

/// Random values for the tensors that enter a region under test. Deterministic.
class RandomLeaves {
public:
  /// Gives \p value uniform numbers in [-1, 1), once; constants keep their own.
  void add(mlir::Value value);
  void set(mlir::Value value, llvm::ArrayRef<double> data);
  /// The next random number.
  double next();
  const llvm::DenseMap<mlir::Value, onnx::HostTensor> &get() const {
    return tensors;
  }

private:
  llvm::DenseMap<mlir::Value, onnx::HostTensor> tensors;
  // The same numbers in every run: a compiler's result must not vary.
  // NOLINTNEXTLINE(bugprone-random-generator-seed)
  std::mt19937_64 engine{20230522};
};

/// Whether two results agree to float64 rounding, and neither is NaN.
bool agree(llvm::ArrayRef<double> x, llvm::ArrayRef<double> y);

} // namespace rwkvc::onnx

#endif // RWKVC_DIALECT_ONNX_TRANSFORMS_RANDOMLEAVES_H
