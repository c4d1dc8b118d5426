//===- MatrixRecurrence.h - Recurrences over matrices -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_MATRIXRECURRENCE_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_MATRIXRECURRENCE_H

#include "RaiseRecurrence.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/WKV/Transforms/SumOfProducts.h"

namespace rwkvc::wkv {

/// An axis of the state matrix: its digits by their stride in the state.
using Axis =
    llvm::SmallVector<int64_t, 2>; // strides, outermost (largest) first

/// The name of the digit that counts tokens, which moves no state element.
inline constexpr int64_t kTokenName = 0;

/// A normal form whose digits are named by the state element stride they move:
/// the common coordinates of the state, its update and its read.
struct StateCoordinates {
  std::map<int64_t, int64_t> sizes; // stride -> number of values
  int64_t tokens = 1;

  int64_t size(int64_t name) const {
    return name == kTokenName ? tokens : sizes.at(name);
  }
  int64_t count(llvm::ArrayRef<int64_t> axis) const {
    int64_t n = 1;
    for (int64_t stride : axis)
      n *= size(stride);
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
  /// The law that computes \p update, one token's.
  explicit MatrixRecurrence(ScaledValue update)
      : update(update.value), updateScale(update.scale) {}
  /// The law of state \p index of \p scan, over all of its tokens.
  MatrixRecurrence(onnx::ScanOp scan, unsigned index);

  /// Matches the update law; fills decay, outer product and removal. A state's
  /// scale is looked up in \p scales.
  bool matchUpdate(SumOfProductsAnalysis &analysis,
                   const llvm::DenseMap<mlir::Value, double> &scales);
  /// Matches \p read as the output of the law.
  bool matchRead(mlir::Value read, SumOfProductsAnalysis &analysis);
  /// Builds the op and returns the values that replace update and read.
  std::pair<mlir::Value, mlir::Value> build(mlir::OpBuilder &builder,
                                            mlir::Location loc);
  /// Whether op and original agree in float64 on random values.
  bool check(mlir::Value newUpdate, mlir::Value newRead);
  /// The same, of the first \p numSteps tokens; none if it cannot be told which
  /// of the results are theirs.
  std::optional<bool> checkSteps(mlir::Value newUpdate, mlir::Value newRead,
                                 int64_t numSteps);

  bool hasRemoval() const { return removal.has_value(); }
  bool hasBonus() const { return bonus.has_value(); }
  mlir::Value getState() const { return state; }
  /// What one token computes; in a Scan's body for one that runs over several.
  mlir::Value getUpdate() const { return update; }
  /// The value of the graph that is the state after all tokens.
  mlir::Value getFinalState() const {
    return scan ? mlir::Value(scan->getResult(scanState)) : update;
  }
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
  /// The wider of the types that the state is kept and computed in.
  mlir::Type getElementType() const;
  mlir::Value transpose(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                        llvm::ArrayRef<int64_t> perm);
  /// From axes in the order \p from to the shape and order of \p to.
  mlir::Value restore(mlir::ImplicitLocOpBuilder &b, mlir::Value value,
                      llvm::ArrayRef<int64_t> from,
                      llvm::ArrayRef<int64_t> order, mlir::Value to);

  bool isOutside(const Group &group) const;
  bool dependsOnToken(const Group &group) const;

  mlir::Value state, update, read;
  // The update over the file's state; the update before this token over what is
  // read of the state; the update over the state of the op.
  double updateScale = 1.0, stateScale = 1.0, opScale = 1.0;
  onnx::ScanOp scan;      // null where there is one token
  unsigned scanState = 0; // number of its state
  int64_t offset = 0;     // of the state within its tensor
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
