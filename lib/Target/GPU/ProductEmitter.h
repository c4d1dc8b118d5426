//===- ProductEmitter.h - Code of a product's tiles -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_TARGET_GPU_PRODUCTEMITTER_H
#define RWKVC_LIB_TARGET_GPU_PRODUCTEMITTER_H

#include "ThreadShares.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace rwkvc::gpu {

/// What a value of a body depends on.
enum Dependence : unsigned { None = 0, Rows = 1, Columns = 2, Both = 3 };

/// Dependences of the values of an op's body.
class Dependences {
public:
  Dependences(mlir::linalg::GenericOp op, const ProductTiles &tiles);

  void add(mlir::Operation *inner);
  unsigned get(mlir::Value value) const { return masks.lookup(value); }
  /// Whether \p value is the same in each iteration.
  bool isOutside(mlir::Value value) const {
    return !masks.contains(value) || outer.contains(value);
  }

private:
  llvm::DenseMap<mlir::Value, unsigned> masks;
  llvm::DenseSet<mlir::Value> outer;
};

/// Makes the code of one product. Terms of the factors of both sides go to
/// memory that the workgroup shares, and the next ones are fetched meanwhile;
/// how they are multiplied, subclasses say.
class ProductEmitter {
public:
  ProductEmitter(mlir::linalg::GenericOp genericOp,
                 const ProductTiles &itsTiles, Threads &itsThreads)
      : op(genericOp), tiles(itsTiles), threads(itsThreads), b(op.getLoc(), op),
        deps(op, tiles), ranges(op.getStaticLoopRanges()), ivs(ranges.size()) {}
  virtual ~ProductEmitter() = default;

  /// Computes tile \p tile , or all of them if that is null.
  void emit(mlir::Value tile);

protected:
  /// A side, and where the workgroup is on it.
  struct Place {
    const ProductSide *side = nullptr;
    mlir::Value first; ///< of the tile
    /// Shared, of the factors.
    llvm::SmallVector<mlir::Value> memories;
    llvm::SmallVector<int64_t> offsets;
    int64_t stride = 0; ///< of a term in shared memory
  };

  /// Unused numbers behind each term of \p side in shared memory.
  virtual int64_t getPadding(const ProductSide &side) const = 0;
  /// Numbers that stand for a value of \p factor in shared memory; those of all
  /// terms follow each other.
  virtual int64_t countParts(mlir::Value factor) const { return 1; }
  /// The numbers that stand for \p value .
  virtual llvm::SmallVector<mlir::Value> split(mlir::Value factor,
                                               mlir::Value value) {
    return {value};
  }
  /// Whether terms behind the last one are multiplied too, and must be zero.
  virtual bool takesTermsBehind() const { return false; }
  /// The sums before any term.
  virtual llvm::SmallVector<mlir::Value> startSums() = 0;
  /// Adds the first \p count terms in shared memory to the sums.
  virtual llvm::SmallVector<mlir::Value> multiply(mlir::ValueRange sums,
                                                  int64_t count) = 0;
  /// Code while the last terms are on their way.
  virtual void beforeLastTerms() {}
  /// Computes the tile at \ref places .
  virtual void computeTile() = 0;

  mlir::Value constant(int64_t value) {
    return mlir::arith::ConstantIndexOp::create(b, value);
  }
  mlir::Value apply(mlir::AffineExpr expr,
                    llvm::ArrayRef<mlir::OpFoldResult> values) {
    return mlir::affine::makeComposedAffineApply(b, b.getLoc(), expr, values);
  }
  llvm::SmallVector<mlir::Value> getIndices(mlir::OpOperand &operand) {
    return rwkvc::gpu::getIndices(b, op, operand, ivs);
  }
  void setElement(const Place &place, mlir::Value element);
  mlir::Value reserve(mlir::Type type, int64_t size);
  llvm::SmallVector<mlir::Value> computeSums();
  mlir::Value loadOutput(mlir::Value row, mlir::Value column);
  void storeOutput(mlir::Value value, mlir::Value row, mlir::Value column);

  mlir::linalg::GenericOp op;
  const ProductTiles &tiles;
  Threads &threads;
  mlir::ImplicitLocOpBuilder b;
  Dependences deps;
  llvm::SmallVector<int64_t> ranges;
  llvm::SmallVector<mlir::Value> ivs; ///< of the op's loops
  std::array<Place, 2> places;        ///< rows, columns

private:
  void setLoops(llvm::ArrayRef<unsigned> loops, mlir::Value number);
  void placeFactors();
  llvm::SmallVector<mlir::Value> fetch(mlir::Value firstTerm);
  void share(mlir::ValueRange fetched, int64_t count);
  void forEachShared(
      const Place &place,
      llvm::function_ref<void(mlir::Value element, mlir::Value term)> callback);
  mlir::Value isThere(const Place &place, mlir::Value element);
};

} // namespace rwkvc::gpu

#endif // RWKVC_LIB_TARGET_GPU_PRODUCTEMITTER_H
