//===- MatrixRecurrence.h - Recurrences over matrices -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_MATRIXRECURRENCE_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_MATRIXRECURRENCE_H

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/WKV/Transforms/SumOfProducts.h"

namespace rwkvc::wkv {

/// An axis of the state matrix: its digits by their stride in the state.
using Axis =
    llvm::SmallVector<int64_t, 2>; // strides, outermost (largest) first

/// A normal form whose digits are named by the state element stride they move:
/// the common coordinates of the state, its update and its read.
struct StateCoordinates {
  std::map<int64_t, int64_t> sizes; // stride -> number of values

  int64_t count(llvm::ArrayRef<int64_t> axis) const {
    int64_t n = 1;
    for (int64_t stride : axis)
      n *= sizes.at(stride);
    return n;
  }
};

/// Factors whose digits are state strides.
struct Group {
  double coefficient = 1.0;
  llvm::SmallVector<Factor, 2> factors; // keys of strides index `digits`
};

class MatrixRecurrence {
public:
  MatrixRecurrence(mlir::Value state, mlir::Value update)
      : state(state), update(update) {}

  /// Matches the update law; fills decay, outer product and removal.
  bool matchUpdate(SumOfProductsAnalysis &analysis);
  /// Matches \p read as the output of the law.
  bool matchRead(mlir::Value read, SumOfProductsAnalysis &analysis);
  /// Builds the op and returns the values that replace update and read.
  std::pair<mlir::Value, mlir::Value> build(mlir::OpBuilder &builder,
                                            mlir::Location loc);
  /// Whether op and original agree in float64 on random values.
  bool check(mlir::Value newUpdate, mlir::Value newRead);

  bool hasRemoval() const { return removal.has_value(); }
  bool hasBonus() const { return bonus.has_value(); }
  mlir::Value getState() const { return state; }
  mlir::Value getUpdate() const { return update; }
  mlir::Value getRead() const { return read; }
  mlir::Operation *getOp() const { return op; }

private:
  bool toCoordinates(SumOfProducts &form, unsigned rootTerm,
                     SumOfProductsAnalysis &analysis,
                     std::map<unsigned, int64_t> &stride);
  static bool dependsOn(const Factor &factor, llvm::ArrayRef<int64_t> axis);
  mlir::Value materialize(mlir::ImplicitLocOpBuilder &b, const Group &group,
                          llvm::ArrayRef<int64_t> first,
                          llvm::ArrayRef<int64_t> second,
                          llvm::ArrayRef<int64_t> shape);
  mlir::Value materializeFactor(mlir::ImplicitLocOpBuilder &b,
                                const Factor &factor,
                                llvm::ArrayRef<int64_t> order);
  mlir::Value materializeConstant(mlir::ImplicitLocOpBuilder &b,
                                  const Factor &factor,
                                  llvm::ArrayRef<int64_t> order);
  mlir::Value transpose(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                        llvm::ArrayRef<int64_t> perm);
  /// From axes in the order \p from to the shape and order of \p to.
  mlir::Value restore(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                      llvm::ArrayRef<int64_t> from,
                      llvm::ArrayRef<int64_t> order, mlir::Value to);

  mlir::Value state, update, read;
  int64_t offset = 0; // of the state within its tensor
  StateCoordinates coordinates;
  llvm::SmallVector<int64_t> updateOrder,
      readOrder; // strides in dimension order
  Axis heads, keys, values;
  llvm::SmallVector<Factor> outer; // k and v of the update, not yet told apart
  double outerCoefficient = 1.0;
  Group decay, key, value, receptance;
  std::optional<Group> bonus;
  struct Removal {
    double coefficient;
    llvm::SmallVector<Factor> factors;
    std::map<int64_t, int64_t> sumOf; // marker of a summed digit -> stride
  };
  std::optional<Removal> removal;
  Group a, b;
  mlir::Operation *op = nullptr;
};

/// Marker of a summed digit that runs along the state axis of \p stride.
inline int64_t summed(int64_t stride) { return -1 - stride; }

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_MATRIXRECURRENCE_H
