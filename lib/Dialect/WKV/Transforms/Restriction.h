//===- Restriction.h - One token or text from a fixed number ----*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RESTRICTION_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RESTRICTION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

namespace rwkvc::wkv {

/// How a value depends on the units, of which there are N.
struct Place {
  enum Kind {
    Common, ///< not at all
    Rows,   ///< unit n owns elements (o N + n) inner + i of dimension `dim`
    Last,   ///< it is the last unit's
    State,  ///< it is a state that units hand on
  };
  Kind kind = Common;
  int64_t dim = 0, outer = 1, inner = 1;

  bool operator==(const Place &other) const {
    return kind == other.kind && dim == other.dim && outer == other.outer &&
           inner == other.inner;
  }
  Place at(int64_t newDim) const {
    Place place = *this;
    place.dim = newDim;
    return place;
  }
  int64_t extent() const { return outer * inner; }
};

inline mlir::RankedTensorType tensorType(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType());
}

/// A function over several units, tokens or texts, on its way to one. Each op
/// gets a rule, which finds the axis of the units in the results or says, in a
/// remark, what is in the way.
class Restriction {
public:
  virtual ~Restriction() = default;

  /// The new function, @step of form "step", outside of any module; fails after
  /// a remark.
  mlir::FailureOr<mlir::func::FuncOp> run();

protected:
  /// \p unit is the word for one of them. The last one may be taken out of the
  /// others where \p lastCounts.
  Restriction(mlir::func::FuncOp from, int64_t numUnits, llvm::StringRef unit,
              bool lastCounts)
      : from(from), numUnits(numUnits), unit(unit), lastCounts(lastCounts),
        b(from.getContext()) {}

  // What depends on the unit: the function's boundary, and the ops that know of
  // more than one.
  virtual mlir::LogicalResult addArgument(mlir::BlockArgument argument,
                                          mlir::Block &body) = 0;
  virtual mlir::FailureOr<mlir::Value> takeResult(unsigned number,
                                                  mlir::Value value) = 0;
  virtual mlir::LogicalResult restrictRecurrence(RecurrenceOpInterface op) = 0;
  virtual mlir::LogicalResult restrictShift(TokenShiftOp op) = 0;

  mlir::InFlightDiagnostic refuse(mlir::Location loc) {
    return mlir::emitRemark(loc)
           << "no step " << (lastCounts ? "from " : "for one text from ")
           << numUnits << " " << unit << "s: ";
  }
  mlir::InFlightDiagnostic refuse(mlir::Operation *op) {
    return refuse(op->getLoc()) << op->getName() << " ";
  }
  Place placeOf(mlir::Value value) const { return places.lookup(value); }
  /// \p type with one unit at \p place.
  mlir::RankedTensorType typeAt(mlir::Type type, const Place &place) const {
    auto tensor = mlir::cast<mlir::RankedTensorType>(type);
    if (place.kind != Place::Rows)
      return tensor;
    mlir::SmallVector<int64_t> shape(tensor.getShape());
    shape[place.dim] = place.extent();
    return tensor.clone(shape);
  }
  /// Says that \p value, at \p place, is the counterpart of \p old.
  void set(mlir::Value old, mlir::Value value, const Place &place) {
    mapping.map(old, value);
    places[old] = place;
  }

  // These give counterparts of values; null where there is none.
  mlir::Operation *cloneWith(mlir::Operation *op, mlir::ValueRange operands);
  mlir::Value reduceConstant(mlir::Value value, const Place &place);
  mlir::Value reduce(mlir::Value value, const Place &place);
  mlir::Value get(mlir::Value value, const Place &place);
  mlir::FailureOr<Place> join(mlir::Operation *op);

  // The rules.
  mlir::LogicalResult restrict(mlir::Operation *op);
  mlir::LogicalResult restrictLinalg(mlir::linalg::LinalgOp op);
  mlir::LogicalResult findUnitLoop(mlir::linalg::LinalgOp op,
                                   std::optional<unsigned> &loop, Place &place);
  mlir::LogicalResult restrictReshape(mlir::Operation *op);
  mlir::LogicalResult restrictSlice(mlir::tensor::ExtractSliceOp op);
  mlir::LogicalResult restrictInsert(mlir::tensor::InsertSliceOp op);
  mlir::LogicalResult restrictMix(MixOp op);
  mlir::LogicalResult restrictRowWise(mlir::Operation *op, int64_t numOwnAxes);
  mlir::LogicalResult restrictElementwise(mlir::Operation *op);

  mlir::func::FuncOp from;
  int64_t numUnits;
  llvm::StringRef unit;
  bool lastCounts;
  mlir::OpBuilder b;
  mlir::IRMapping mapping;
  llvm::DenseMap<mlir::Value, Place> places;
};

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_RESTRICTION_H
