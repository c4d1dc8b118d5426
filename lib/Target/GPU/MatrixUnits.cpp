//===- MatrixUnits.cpp - Products by matrix units -------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixUnits.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

/// Most rows and columns of a workgroup's tile, and fewest terms of a sum.
static constexpr int64_t kMaxRows = 64, kMaxColumns = 32, kMinTerms = 16;
/// Small matrices of a subgroup each way.
static constexpr int64_t kMaxOfSubgroup = 2;
/// Numbers of both sides in shared memory: 28 KB.
static constexpr int64_t kMaxNumbers = 7168;
/// Behind a row in shared memory, so that the 32 numbers that are read at once
/// are in different banks: 8 of each of 4 rows, or 16 of each of 2 that have
/// one between them.
static constexpr int64_t kPadding = 8;

/// Whether \p units take all of any value of \p factor .
static bool isExact(Value factor, const MatrixUnits &units) {
  if (units.precision >= kFloatPrecision)
    return true;
  Operation *def = factor.getDefiningOp();
  if (!def)
    return false;
  Type from =
      def->getNumOperands() == 1 ? def->getOperand(0).getType() : Type();
  if (isa<arith::ExtFOp>(def))
    return cast<FloatType>(from).getFPMantissaWidth() <= units.precision;
  return isa<arith::SIToFPOp, arith::UIToFPOp>(def) &&
         from.getIntOrFloatBitWidth() <= units.precision;
}

static int64_t countFactorParts(Value factor, const MatrixUnits &units) {
  return isExact(factor, units) ? 1 : 2;
}

/// The pairs of a row's and a column's factor whose products the body of \p op
/// adds to its output, and does nothing else; none if it does.
static SmallVector<std::pair<Value, Value>>
findProducts(linalg::GenericOp op, const Dependences &deps) {
  SmallVector<std::pair<Value, Value>> products;
  Value rest = op.getBody()->getTerminator()->getOperand(0);
  while (rest != op.getRegionOutputArgs().front()) {
    auto sum = rest.getDefiningOp<arith::AddFOp>();
    if (!sum || !sum.getType().isF32())
      return {};
    Value term = sum.getRhs();
    rest = sum.getLhs();
    auto isTerm = [&](Value value) {
      auto product = value.getDefiningOp<arith::MulFOp>();
      return product && deps.get(product.getLhs()) != Both &&
             deps.get(product.getRhs()) != Both;
    };
    if (!isTerm(term))
      std::swap(term, rest);
    if (!isTerm(term))
      return {};
    auto product = term.getDefiningOp<arith::MulFOp>();
    Value row = product.getLhs(), column = product.getRhs();
    if (deps.get(row) != Rows)
      std::swap(row, column);
    if (deps.get(row) != Rows || deps.get(column) != Columns)
      return {};
    products.emplace_back(row, column);
  }
  std::reverse(products.begin(), products.end());
  return products;
}

bool rwkvc::gpu::chooseUnitTiles(linalg::GenericOp op, const Dependences &deps,
                                 const MatrixUnits &units, int64_t numThreads,
                                 ProductTiles &tiles) {
  ProductSide &rows = tiles.rows, &columns = tiles.columns;
  if (rows.size < kUnitSide || columns.size < kUnitSide ||
      tiles.numTerms < kMinTerms || findProducts(op, deps).empty())
    return false;
  ProductTiles chosen = tiles;
  int64_t numSubgroups = numThreads / units.subgroupSize;
  auto setSize = [](ProductSide &side, int64_t most) {
    side.ofThread = std::min<int64_t>(llvm::PowerOf2Ceil(side.size), most);
  };
  setSize(chosen.rows, kMaxRows);
  setSize(chosen.columns, kMaxColumns);
  UnitTiles shares;
  shares.units = &units;
  auto countSubgroups = [&] {
    return chosen.rows.inTile() / (shares.rows * kUnitSide) *
           (chosen.columns.inTile() / (shares.columns * kUnitSide));
  };
  auto setUnits = [](const ProductSide &side) {
    return std::min(side.inTile() / kUnitSide, kMaxOfSubgroup);
  };
  shares.rows = setUnits(chosen.rows);
  shares.columns = setUnits(chosen.columns);
  while (countSubgroups() > numSubgroups &&
         chosen.rows.ofThread > shares.rows * kUnitSide)
    chosen.rows.ofThread /= 2;
  if (numSubgroups == 0 || countSubgroups() > numSubgroups)
    return false;
  int64_t numbers = 0;
  for (const ProductSide *side : {&chosen.rows, &chosen.columns})
    for (Value factor : side->factors)
      numbers += (side->inTile() + kPadding) * countFactorParts(factor, units);
  if (!chooseTerms(chosen, numbers, kMaxNumbers, numThreads) ||
      chosen.atOnce < kUnitTerms)
    return false;
  // All subgroups have work.
  while (numSubgroups / countSubgroups() > chosen.atOnce / kUnitTerms) {
    if (shares.rows == 1 && shares.columns == 1)
      return false;
    (shares.rows > 1 ? shares.rows : shares.columns) /= 2;
  }
  shares.ways = numSubgroups / countSubgroups();
  chosen.units = shares;
  tiles = std::move(chosen);
  return true;
}

namespace {

/// Lets each subgroup compute neighbouring small matrices of the tile, or of a
/// part of its terms.
class UnitEmitter : public ProductEmitter {
public:
  UnitEmitter(linalg::GenericOp genericOp, const ProductTiles &itsTiles,
              Threads &itsThreads)
      : ProductEmitter(genericOp, itsTiles, itsThreads), shares(*tiles.units),
        units(*shares.units), products(findProducts(op, deps)) {}

private:
  /// Small matrices of factors and their parts.
  using Factors = llvm::DenseMap<std::pair<Value, int64_t>, Value>;

  int64_t getPadding(const ProductSide &side) const override {
    return kPadding;
  }
  int64_t countParts(Value factor) const override {
    return countFactorParts(factor, units);
  }
  bool takesTermsBehind() const override { return true; }
  SmallVector<Value> split(Value factor, Value value) override;
  SmallVector<Value> startSums() override;
  SmallVector<Value> multiply(ValueRange sums, int64_t count) override;
  void beforeLastTerms() override;
  void computeTile() override;

  mlir::gpu::MMAMatrixType getType(StringRef operand) {
    return mlir::gpu::MMAMatrixType::get(
        {operand == "BOp" ? kUnitTerms : kUnitSide,
         operand == "AOp" ? kUnitTerms : kUnitSide},
        b.getF32Type(), operand);
  }
  /// Of what this subgroup is in the workgroup.
  AffineExpr getSubgroup() {
    return b.getAffineDimExpr(0).floorDiv(units.subgroupSize);
  }
  int64_t countSubgroupsOfColumns() const {
    return tiles.columns.inTile() / (shares.columns * kUnitSide);
  }
  int64_t countSubgroupsOfTile() const {
    return tiles.rows.inTile() / (shares.rows * kUnitSide) *
           countSubgroupsOfColumns();
  }
  /// This subgroup's first row, column and part of the sums.
  AffineExpr getRow() {
    return (getSubgroup() % countSubgroupsOfTile())
               .floorDiv(countSubgroupsOfColumns()) *
           (shares.rows * kUnitSide);
  }
  AffineExpr getColumn() {
    return getSubgroup() % countSubgroupsOfColumns() *
           (shares.columns * kUnitSide);
  }
  AffineExpr getWay() { return getSubgroup().floorDiv(countSubgroupsOfTile()); }
  AffineExpr getFirst(const Place &place) {
    return place.side == &tiles.rows ? getRow() : getColumn();
  }
  Factors loadFactors(const Place &place, int64_t i, int64_t step);
  Value addProducts(Factors &row, Factors &column, Value sum);
  Value add(Value lhs, Value rhs);
  Value storeSums(ValueRange sums);
  void forEachUnit(function_ref<void(AffineExpr place)> callback);

  /// An element of the output that this thread adds to.
  struct Output {
    Value row, column; ///< of the tile
    Value value;       ///< before
  };

  UnitTiles shares;
  const MatrixUnits &units;
  SmallVector<std::pair<Value, Value>> products;
  SmallVector<Output> outputs;
  /// Parts of the sums in shared memory at the end, and numbers of a row there
  /// and of a part.
  int64_t numSlots = 1, rowStride = 0, slotSize = 0;
};

} // namespace

/// A number that has more bits than units take becomes the nearest one that has
/// not and the rest of it, without what is less than the number's own
/// precision.
SmallVector<Value> UnitEmitter::split(Value factor, Value value) {
  if (isExact(factor, units))
    return {value};
  unsigned missing = kFloatPrecision - units.precision;
  Type bits = b.getI32Type(), number = b.getF32Type();
  auto integer = [&](int32_t i) {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(i));
  };
  auto cut = [&](Value integerBits) -> Value {
    Value kept =
        arith::AndIOp::create(b, integerBits, integer(-(1 << missing)));
    return arith::BitcastOp::create(b, number, kept);
  };
  Value rounded = arith::AddIOp::create(
      b, arith::BitcastOp::create(b, bits, value), integer(1 << (missing - 1)));
  Value high = cut(rounded);
  Value rest = arith::SubFOp::create(b, value, high);
  return {high, cut(arith::BitcastOp::create(b, bits, rest))};
}

SmallVector<Value> UnitEmitter::startSums() {
  Value zero = arith::ConstantOp::create(b, b.getF32FloatAttr(0));
  Value sum =
      mlir::gpu::SubgroupMmaConstantMatrixOp::create(b, getType("COp"), zero);
  return SmallVector<Value>(shares.rows * shares.columns, sum);
}

/// Reads small matrix number \p i of this subgroup's of a side, for its terms
/// of step \p step : for each factor and each of its parts.
UnitEmitter::Factors UnitEmitter::loadFactors(const Place &place, int64_t i,
                                              int64_t step) {
  Factors factors;
  bool isRows = place.side == &tiles.rows;
  for (auto [factor, memory, offset] :
       llvm::zip_equal(place.side->factors, place.memories, place.offsets))
    for (int64_t part = 0; part < countParts(factor); ++part) {
      AffineExpr term =
          (getWay() + step * shares.ways) * kUnitTerms + part * tiles.atOnce;
      Value index =
          apply(term * place.stride + getFirst(place) + i * kUnitSide + offset,
                {threads.index});
      factors[{factor, part}] = mlir::gpu::SubgroupMmaLoadMatrixOp::create(
          b, getType(isRows ? "AOp" : "BOp"), memory, index,
          b.getIndexAttr(place.stride), isRows ? b.getUnitAttr() : UnitAttr());
    }
  return factors;
}

/// Adds the products of \p row and \p column to \p sum .
Value UnitEmitter::addProducts(Factors &row, Factors &column, Value sum) {
  for (auto [ofRow, ofColumn] : products) {
    // The small ones first; that of two rests has no effect.
    SmallVector<std::pair<int64_t, int64_t>> parts;
    if (countParts(ofRow) > 1)
      parts.emplace_back(1, 0);
    if (countParts(ofColumn) > 1)
      parts.emplace_back(0, 1);
    parts.emplace_back(0, 0);
    for (auto [i, j] : parts)
      sum = mlir::gpu::SubgroupMmaComputeOp::create(
          b, sum.getType(), row[{ofRow, i}], column[{ofColumn, j}], sum,
          /*a_transpose=*/b.getUnitAttr(), /*b_transpose=*/UnitAttr());
  }
  return sum;
}

Value UnitEmitter::add(Value lhs, Value rhs) {
  return mlir::gpu::SubgroupMmaElementwiseOp::create(
      b, lhs.getType(), ValueRange{lhs, rhs},
      mlir::gpu::MMAElementwiseOp::ADDF);
}

/// Units may cut off what does not fit a sum. Then these are sums of their own,
/// which are added to the others as floats are: those of a column, and then of
/// the next, since all at once would take more registers.
SmallVector<Value> UnitEmitter::multiply(ValueRange sums, int64_t count) {
  int64_t numSteps = llvm::divideCeil(count, kUnitTerms * shares.ways);
  SmallVector<SmallVector<Factors>> rows(numSteps);
  for (auto [step, ofStep] : llvm::enumerate(rows))
    for (int64_t i = 0; i < shares.rows; ++i)
      ofStep.push_back(loadFactors(places[0], i, step));
  SmallVector<Value> results(sums);
  for (int64_t j = 0; j < shares.columns; ++j) {
    SmallVector<Value> own;
    if (units.roundSums) {
      for (int64_t i = 0; i < shares.rows; ++i)
        own.push_back(results[i * shares.columns + j]);
    } else {
      own = startSums();
      own.truncate(shares.rows);
    }
    for (auto [step, ofStep] : llvm::enumerate(rows)) {
      Factors column = loadFactors(places[1], j, step);
      for (auto [sum, row] : llvm::zip_equal(own, ofStep))
        sum = addProducts(row, column, sum);
    }
    for (auto [i, sum] : llvm::enumerate(own)) {
      Value &result = results[i * shares.columns + j];
      result = units.roundSums ? sum : add(result, sum);
    }
  }
  return results;
}

/// Calls \p callback with where a matrix of this subgroup is in shared memory.
void UnitEmitter::forEachUnit(function_ref<void(AffineExpr)> callback) {
  for (int64_t i = 0; i < shares.rows; ++i)
    for (int64_t j = 0; j < shares.columns; ++j)
      callback((getRow() + i * kUnitSide) * rowStride + getColumn() +
               j * kUnitSide + getWay() % numSlots * slotSize);
}

/// Writes the sums to shared memory, in slots: subgroups that have parts of one
/// sum add theirs to it one after the other.
Value UnitEmitter::storeSums(ValueRange sums) {
  Value memory = reserve(b.getF32Type(), 0);
  auto stride = b.getIndexAttr(rowStride);
  for (int64_t turn = 0; turn < shares.ways; turn += numSlots) {
    OpBuilder::InsertionGuard guard(b);
    if (turn > 0)
      mlir::gpu::BarrierOp::create(b);
    if (numSlots < shares.ways) {
      Value isTurn = arith::CmpIOp::create(
          b, arith::CmpIPredicate::eq,
          apply(getWay().floorDiv(numSlots), {threads.index}),
          constant(turn / numSlots));
      auto branch = scf::IfOp::create(b, isTurn, /*withElseRegion=*/false);
      b.setInsertionPointToStart(branch.thenBlock());
    }
    SmallVector<Value> left(llvm::reverse(SmallVector<Value>(sums)));
    forEachUnit([&](AffineExpr place) {
      Value index = apply(place, {threads.index});
      Value sum = left.pop_back_val();
      if (turn > 0) {
        Value other = mlir::gpu::SubgroupMmaLoadMatrixOp::create(
            b, sum.getType(), memory, index, stride, UnitAttr());
        sum = add(other, sum);
      }
      mlir::gpu::SubgroupMmaStoreMatrixOp::create(b, sum, memory, index, stride,
                                                  UnitAttr());
    });
  }
  return memory;
}

/// Reads this thread's elements of the output: neighbouring threads have
/// neighbouring columns. Sooner, they would take registers of the loop.
void UnitEmitter::beforeLastTerms() {
  AffineExpr d0 = b.getAffineDimExpr(0);
  int64_t inRow = tiles.columns.inTile();
  for (int64_t done = 0; done < tiles.rows.inTile() * inRow;
       done += threads.count) {
    Value row = apply((d0 + done).floorDiv(inRow), {threads.index});
    Value column = apply((d0 + done) % inRow, {threads.index});
    outputs.push_back({row, column, loadOutput(row, column)});
  }
}

void UnitEmitter::computeTile() {
  int64_t inRow = tiles.columns.inTile();
  rowStride = inRow + kPadding;
  slotSize = tiles.rows.inTile() * rowStride;
  // As many as fit where factors were.
  auto memoryType =
      cast<MemRefType>(reserve(b.getF32Type(), slotSize).getType());
  numSlots = shares.ways;
  while (numSlots * slotSize > memoryType.getNumElements())
    numSlots /= 2;
  Value memory = storeSums(computeSums());
  mlir::gpu::BarrierOp::create(b);
  AffineExpr d0 = b.getAffineDimExpr(0), d1 = b.getAffineDimExpr(1);
  for (const Output &output : outputs) {
    Value sum;
    for (int64_t slot = 0; slot < numSlots; ++slot) {
      Value part =
          memref::LoadOp::create(b, memory,
                                 apply(d0 * rowStride + d1 + slot * slotSize,
                                       {output.row, output.column}));
      sum = sum ? arith::AddFOp::create(b, sum, part).getResult() : part;
    }
    storeOutput(arith::AddFOp::create(b, output.value, sum), output.row,
                output.column);
  }
  mlir::gpu::BarrierOp::create(b);
}

void rwkvc::gpu::emitUnitTiles(linalg::GenericOp op, const ProductTiles &tiles,
                               Threads &threads, Value tile) {
  UnitEmitter(op, tiles, threads).emit(tile);
}
