//===- LowerMatrixUnits.cpp - Small matrices as LLVM knows them -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixUnits.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Target/GPU/Passes.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

using MatrixType = mlir::gpu::MMAMatrixType;
using LoadOp = mlir::gpu::SubgroupMmaLoadMatrixOp;
using StoreOp = mlir::gpu::SubgroupMmaStoreMatrixOp;
using ComputeOp = mlir::gpu::SubgroupMmaComputeOp;
using SplatOp = mlir::gpu::SubgroupMmaConstantMatrixOp;
using ElementwiseOp = mlir::gpu::SubgroupMmaElementwiseOp;

template <typename OpType> static bool isTransposed(OpType op) {
  return op.getTransposeAttr() != nullptr;
}

namespace {

/// Lowers what a kernel does with matrices. What a thread has of a matrix gets
/// a type of LLVM's first.
class Lowering {
public:
  Lowering(func::FuncOp func, const MatrixUnits &itsUnits)
      : kernel(func), units(itsUnits) {}
  virtual ~Lowering() = default;

  LogicalResult run();

protected:
  virtual Type convert(MatrixType type) = 0;
  virtual Value lower(ImplicitLocOpBuilder &b, LoadOp load,
                      MatrixType type) = 0;
  virtual void lower(ImplicitLocOpBuilder &b, StoreOp store) = 0;
  /// Null, once that is reported, if there is no such form.
  virtual Value lower(ImplicitLocOpBuilder &b, ComputeOp compute) = 0;
  virtual Value lower(ImplicitLocOpBuilder &b, SplatOp splat) = 0;
  virtual Value add(ImplicitLocOpBuilder &b, Value lhs, Value rhs) = 0;

  /// Numbers that a thread has of a matrix of sums, and of another one.
  int64_t countSums() const {
    return kUnitSide * kUnitSide / units.subgroupSize;
  }
  int64_t countFactors() const {
    return kUnitSide * kUnitTerms / units.subgroupSize;
  }

  /// This thread's number in its workgroup, in its subgroup, and the first
  /// one's of that.
  struct Lane {
    Value thread, inSubgroup, first;
  };
  Lane getLane(ImplicitLocOpBuilder &b) const;
  static Value getIndex(ImplicitLocOpBuilder &b, Value first, Value row,
                        Value column, const APInt &stride, bool isTransposed);

  func::FuncOp kernel;
  const MatrixUnits &units;

private:
  static LogicalResult check(Operation *op);
  LogicalResult lower(Operation *op, MatrixType type);
};

/// To intrinsics that alone know what a thread has: NVIDIA's (`wmma`).
class OpaqueLowering : public Lowering {
public:
  using Lowering::Lowering;

private:
  Type convert(MatrixType type) override {
    Builder b(type.getContext());
    bool isSum = type.getOperand() == "COp";
    Type number = isSum ? Type(b.getF32Type()) : Type(b.getI32Type());
    return LLVM::LLVMStructType::getLiteral(
        b.getContext(),
        SmallVector<Type>(isSum ? countSums() : countFactors(), number));
  }
  Value lower(ImplicitLocOpBuilder &b, LoadOp load, MatrixType type) override;
  void lower(ImplicitLocOpBuilder &b, StoreOp store) override;
  Value lower(ImplicitLocOpBuilder &b, ComputeOp compute) override;
  Value lower(ImplicitLocOpBuilder &b, SplatOp splat) override {
    return join(b, SmallVector<Value>(countSums(), splat.getValue()));
  }
  Value add(ImplicitLocOpBuilder &b, Value lhs, Value rhs) override {
    SmallVector<Value> sums;
    for (auto [some, other] : llvm::zip_equal(split(b, lhs), split(b, rhs)))
      sums.push_back(LLVM::FAddOp::create(b, some, other));
    return join(b, sums);
  }

  static SmallVector<Value> split(ImplicitLocOpBuilder &b, Value matrix);
  static Value join(ImplicitLocOpBuilder &b, ArrayRef<Value> numbers);
  static Value getAddress(ImplicitLocOpBuilder &b, Value memory, Value index);
  static Value getStride(ImplicitLocOpBuilder &b, const APInt &stride) {
    return LLVM::ConstantOp::create(b, b.getI32Type(),
                                    b.getI32IntegerAttr(stride.getZExtValue()));
  }
};

/// What a thread has is a vector of numbers, whose places are known.
class VectorLowering : public Lowering {
public:
  using Lowering::Lowering;

protected:
  /// Row and column of number \p i of those that this thread has of a matrix.
  virtual std::pair<Value, Value>
  getPlace(ImplicitLocOpBuilder &b, StringRef operand, int64_t i) const = 0;

  Type convert(MatrixType type) override {
    bool isSum = type.getOperand() == "COp";
    return VectorType::get({isSum ? countSums() : countFactors()},
                           Float32Type::get(type.getContext()));
  }
  Value lower(ImplicitLocOpBuilder &b, LoadOp load, MatrixType type) override;
  void lower(ImplicitLocOpBuilder &b, StoreOp store) override;
  Value lower(ImplicitLocOpBuilder &b, SplatOp splat) override {
    return vector::BroadcastOp::create(b, splat->getResult(0).getType(),
                                       splat.getValue());
  }
  Value add(ImplicitLocOpBuilder &b, Value lhs, Value rhs) override {
    return arith::AddFOp::create(b, lhs, rhs);
  }
};

/// To loops, for devices without such units: a thread computes eight neighbours
/// of a row. Factors are read where they are multiplied; memory must still have
/// them then. As units do, it takes no more of a float than TF32 has.
class LoopLowering : public VectorLowering {
public:
  using VectorLowering::VectorLowering;

private:
  using VectorLowering::lower;
  Type convert(MatrixType type) override {
    // Others have no values, but places in memory.
    return type.getOperand() == "COp" ? VectorLowering::convert(type)
                                      : Float32Type::get(type.getContext());
  }
  Value lower(ImplicitLocOpBuilder &b, LoadOp load, MatrixType type) override {
    // The product finds it here.
    return type.getOperand() == "COp" ? VectorLowering::lower(b, load, type)
                                      : load->getResult(0);
  }
  Value lower(ImplicitLocOpBuilder &b, ComputeOp compute) override;
  std::pair<Value, Value> getPlace(ImplicitLocOpBuilder &b, StringRef operand,
                                   int64_t i) const override;
};

/// To an intrinsic that takes numbers of each thread (`mfma`). Groups of 16
/// threads have a column of the left matrix each, and the same row of the right
/// one, as many as the groups are; and neighbouring rows of the sums, where
/// neighbouring threads have neighbouring columns. A thread's numbers of
/// factors are neighbouring terms, for one intrinsic each.
class FragmentLowering : public VectorLowering {
public:
  using VectorLowering::VectorLowering;

protected:
  /// Adds the products of all terms.
  virtual Value multiply(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                         Value sum);

private:
  using VectorLowering::lower;
  Value lower(ImplicitLocOpBuilder &b, ComputeOp compute) override {
    return multiply(b, compute->getOperand(0), compute->getOperand(1),
                    compute->getOperand(2));
  }
  std::pair<Value, Value> getPlace(ImplicitLocOpBuilder &b, StringRef operand,
                                   int64_t i) const override;
};

/// The same, with what the intrinsic does in software: each thread reads what
/// others have of the factors from memory of the workgroup. All of its threads
/// must be there.
class ImitatedLowering : public FragmentLowering {
public:
  /// \p itsMemory has the factors' numbers of all \p count threads.
  ImitatedLowering(func::FuncOp func, const MatrixUnits &itsUnits,
                   Value itsMemory, int64_t count)
      : FragmentLowering(func, itsUnits), memory(itsMemory), numThreads(count) {
  }

private:
  Value multiply(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                 Value sum) override;

  Value memory;
  int64_t numThreads;
};

} // namespace

static Value constant(ImplicitLocOpBuilder &b, int64_t value) {
  return arith::ConstantIndexOp::create(b, value);
}

static Value addTo(ImplicitLocOpBuilder &b, Value value, int64_t number) {
  return arith::AddIOp::create(b, value, constant(b, number));
}

Lowering::Lane Lowering::getLane(ImplicitLocOpBuilder &b) const {
  Lane lane;
  lane.thread = mlir::gpu::ThreadIdOp::create(b, mlir::gpu::Dimension::x);
  lane.inSubgroup =
      arith::RemUIOp::create(b, lane.thread, constant(b, units.subgroupSize));
  lane.first = arith::SubIOp::create(b, lane.thread, lane.inSubgroup);
  return lane;
}

/// Where the number at \p row and \p column of the matrix at \p first is.
Value Lowering::getIndex(ImplicitLocOpBuilder &b, Value first, Value row,
                         Value column, const APInt &stride, bool isTransposed) {
  if (isTransposed)
    std::swap(row, column);
  Value ofRow =
      arith::MulIOp::create(b, row, constant(b, stride.getSExtValue()));
  return arith::AddIOp::create(b, first,
                               arith::AddIOp::create(b, ofRow, column));
}

/// Matrices are those of the units, and addresses numbers.
LogicalResult Lowering::check(Operation *op) {
  SmallVector<Type> types(op->getOperandTypes());
  llvm::append_range(types, op->getResultTypes());
  for (Type type : types) {
    auto matrix = dyn_cast<MatrixType>(type);
    if (!matrix)
      continue;
    StringRef operand = matrix.getOperand();
    int64_t shape[] = {operand == "BOp" ? kUnitTerms : kUnitSide,
                       operand == "AOp" ? kUnitTerms : kUnitSide};
    if (!matrix.getElementType().isF32() ||
        matrix.getShape() != ArrayRef(shape))
      return op->emitOpError("has a matrix of type ")
             << type << "; devices know 16x8, 8x16 and 16x16 f32";
  }
  auto load = dyn_cast<LoadOp>(op);
  auto store = dyn_cast<StoreOp>(op);
  if ((load && load.getIndices().size() != 1) ||
      (store && store.getIndices().size() != 1))
    return op->emitOpError("takes its matrix from memory of several "
                           "dimensions; devices know one");
  if (auto elementwise = dyn_cast<ElementwiseOp>(op);
      elementwise &&
      elementwise.getOpType() != mlir::gpu::MMAElementwiseOp::ADDF)
    return op->emitOpError("is known for devices as a sum only");
  return success();
}

LogicalResult Lowering::run() {
  SmallVector<std::pair<Operation *, MatrixType>> ops;
  auto result = kernel->walk([&](Operation *op) {
    if (failed(check(op)))
      return WalkResult::interrupt();
    if (isa<LoadOp, StoreOp, ComputeOp, SplatOp, ElementwiseOp>(op))
      ops.emplace_back(op, op->getNumResults()
                               ? cast<MatrixType>(op->getResult(0).getType())
                               : MatrixType());
    return WalkResult::advance();
  });
  if (result.wasInterrupted())
    return failure();
  AttrTypeReplacer replacer;
  replacer.addReplacement(
      [this](MatrixType type) -> Type { return convert(type); });
  replacer.recursivelyReplaceElementsIn(kernel, /*replaceAttrs=*/false,
                                        /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
  for (auto [op, type] : ops)
    if (failed(lower(op, type)))
      return failure();
  // Each is defined before it is used.
  for (auto [op, type] : llvm::reverse(ops))
    op->erase();
  return success();
}

LogicalResult Lowering::lower(Operation *op, MatrixType type) {
  ImplicitLocOpBuilder b(op->getLoc(), op);
  if (auto store = dyn_cast<StoreOp>(op)) {
    lower(b, store);
    return success();
  }
  Value value;
  if (auto load = dyn_cast<LoadOp>(op))
    value = lower(b, load, type);
  else if (auto compute = dyn_cast<ComputeOp>(op))
    value = lower(b, compute);
  else if (auto splat = dyn_cast<SplatOp>(op))
    value = lower(b, splat);
  else
    value = add(b, op->getOperand(0), op->getOperand(1));
  if (!value)
    return failure();
  if (value != op->getResult(0))
    op->getResult(0).replaceAllUsesWith(value);
  return success();
}

SmallVector<Value> OpaqueLowering::split(ImplicitLocOpBuilder &b,
                                         Value matrix) {
  auto type = cast<LLVM::LLVMStructType>(matrix.getType());
  SmallVector<Value> numbers;
  for (int64_t i = 0, e = type.getBody().size(); i < e; ++i)
    numbers.push_back(LLVM::ExtractValueOp::create(b, matrix, i));
  return numbers;
}

Value OpaqueLowering::join(ImplicitLocOpBuilder &b, ArrayRef<Value> numbers) {
  Value matrix = LLVM::PoisonOp::create(
      b,
      LLVM::LLVMStructType::getLiteral(
          b.getContext(), SmallVector<Type>(ValueRange(numbers).getTypes())));
  for (auto [i, number] : llvm::enumerate(numbers))
    matrix =
        LLVM::InsertValueOp::create(b, matrix, number, static_cast<int64_t>(i));
  return matrix;
}

/// The address of a number in the workgroup's memory. The memory's own is known
/// once the lowerings that follow have met it: as what it becomes there.
Value OpaqueLowering::getAddress(ImplicitLocOpBuilder &b, Value memory,
                                 Value index) {
  auto type = cast<MemRefType>(memory.getType());
  LLVMTypeConverter converter(b.getContext());
  Type lowered = converter.convertType(MemRefType::get(
      type.getShape(), type.getElementType(), MemRefLayoutAttrInterface(),
      b.getI64IntegerAttr(kSharedSpace)));
  Value descriptor =
      UnrealizedConversionCastOp::create(b, lowered, memory).getResult(0);
  Value first = LLVM::ExtractValueOp::create(b, descriptor, 1);
  Value number = arith::IndexCastUIOp::create(b, b.getI64Type(), index);
  return LLVM::GEPOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), kSharedSpace),
      type.getElementType(), first, number, LLVM::GEPNoWrapFlags::inbounds);
}

Value OpaqueLowering::lower(ImplicitLocOpBuilder &b, LoadOp load,
                            MatrixType type) {
  char operand = llvm::toLower(type.getOperand().front());
  std::string name = (units.intrinsic + ".load." + Twine(operand) +
                      (isTransposed(load) ? ".col" : ".row") + ".stride." +
                      (operand == 'c' ? "f32" : "tf32"))
                         .str();
  return LLVM::CallIntrinsicOp::create(
             b, convert(type), b.getStringAttr(name),
             ValueRange{
                 getAddress(b, load.getSrcMemref(), load.getIndices().front()),
                 getStride(b, load.getLeadDimension())})
      .getResult(0);
}

void OpaqueLowering::lower(ImplicitLocOpBuilder &b, StoreOp store) {
  std::string name =
      (units.intrinsic + ".store.d." +
       Twine(isTransposed(store) ? "col" : "row") + ".stride.f32")
          .str();
  SmallVector<Value> arguments{
      getAddress(b, store.getDstMemref(), store.getIndices().front())};
  llvm::append_range(arguments, split(b, store->getOperand(0)));
  arguments.push_back(getStride(b, store.getLeadDimension()));
  LLVM::CallIntrinsicOp::create(b, Type(), b.getStringAttr(name), arguments);
}

Value OpaqueLowering::lower(ImplicitLocOpBuilder &b, ComputeOp compute) {
  std::string name = (units.intrinsic + ".mma." +
                      Twine(compute.getATransposeAttr() ? "col" : "row") + "." +
                      (compute.getBTransposeAttr() ? "col" : "row") + ".tf32")
                         .str();
  SmallVector<Value> arguments;
  for (Value matrix : compute->getOperands())
    llvm::append_range(arguments, split(b, matrix));
  return LLVM::CallIntrinsicOp::create(b, compute->getOperand(2).getType(),
                                       b.getStringAttr(name), arguments)
      .getResult(0);
}

Value VectorLowering::lower(ImplicitLocOpBuilder &b, LoadOp load,
                            MatrixType type) {
  auto vectorType = cast<VectorType>(convert(type));
  SmallVector<Value> numbers;
  for (int64_t i = 0; i < vectorType.getNumElements(); ++i) {
    auto [row, column] = getPlace(b, type.getOperand(), i);
    numbers.push_back(memref::LoadOp::create(
        b, load.getSrcMemref(),
        getIndex(b, load.getIndices().front(), row, column,
                 load.getLeadDimension(), isTransposed(load))));
  }
  return vector::FromElementsOp::create(b, vectorType, numbers);
}

void VectorLowering::lower(ImplicitLocOpBuilder &b, StoreOp store) {
  for (int64_t i = 0; i < countSums(); ++i) {
    auto [row, column] = getPlace(b, "COp", i);
    memref::StoreOp::create(
        b, vector::ExtractOp::create(b, store->getOperand(0), i).getResult(),
        store.getDstMemref(),
        getIndex(b, store.getIndices().front(), row, column,
                 store.getLeadDimension(), isTransposed(store)));
  }
}

std::pair<Value, Value> LoopLowering::getPlace(ImplicitLocOpBuilder &b,
                                               StringRef operand,
                                               int64_t i) const {
  Value lane = getLane(b).inSubgroup;
  Value inRow = constant(b, kUnitSide / countSums());
  Value first = arith::MulIOp::create(b, arith::RemUIOp::create(b, lane, inRow),
                                      constant(b, countSums()));
  return {arith::DivUIOp::create(b, lane, inRow), addTo(b, first, i)};
}

Value LoopLowering::lower(ImplicitLocOpBuilder &b, ComputeOp compute) {
  std::array<LoadOp, 2> loads;
  for (auto [i, load] : llvm::enumerate(loads)) {
    load = compute->getOperand(i).getDefiningOp<LoadOp>();
    if (!load) {
      compute.emitOpError("takes a matrix that is not read from memory just "
                          "before; devices without matrix units need that");
      return nullptr;
    }
  }
  Value row = getPlace(b, "COp", 0).first;
  SmallVector<Value> columns;
  for (int64_t i = 0; i < countSums(); ++i)
    columns.push_back(getPlace(b, "COp", i).second);
  auto mask = -static_cast<int32_t>(1U << (kFloatPrecision - units.precision));
  SmallVector<Value> sums;
  for (int64_t i = 0; i < countSums(); ++i)
    sums.push_back(
        vector::ExtractOp::create(b, compute->getOperand(2), i).getResult());
  auto loop = scf::ForOp::create(b, constant(b, 0), constant(b, kUnitTerms),
                                 constant(b, 1), sums);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    auto read = [&](LoadOp load, Value atRow, Value atColumn) -> Value {
      Value number = memref::LoadOp::create(
          b, load.getSrcMemref(),
          getIndex(b, load.getIndices().front(), atRow, atColumn,
                   load.getLeadDimension(), isTransposed(load)));
      Value bits = arith::BitcastOp::create(b, b.getI32Type(), number);
      bits = arith::AndIOp::create(
          b, bits, arith::ConstantOp::create(b, b.getI32IntegerAttr(mask)));
      return arith::BitcastOp::create(b, number.getType(), bits);
    };
    Value term = loop.getInductionVar();
    Value lhs = read(loads[0], row, term);
    SmallVector<Value> results;
    for (auto [i, sum] : llvm::enumerate(loop.getRegionIterArgs())) {
      Value rhs = read(loads[1], term, columns[i]);
      results.push_back(
          arith::AddFOp::create(b, sum, arith::MulFOp::create(b, lhs, rhs)));
    }
    scf::YieldOp::create(b, results);
  }
  return vector::FromElementsOp::create(
      b, cast<VectorType>(compute->getOperand(2).getType()), loop.getResults());
}

std::pair<Value, Value> FragmentLowering::getPlace(ImplicitLocOpBuilder &b,
                                                   StringRef operand,
                                                   int64_t i) const {
  Value lane = getLane(b).inSubgroup, side = constant(b, kUnitSide);
  Value inGroup = arith::RemUIOp::create(b, lane, side);
  int64_t ofThread = operand == "COp" ? countSums() : countFactors();
  Value first = arith::MulIOp::create(b, arith::DivUIOp::create(b, lane, side),
                                      constant(b, ofThread));
  Value own = addTo(b, first, i);
  if (operand == "AOp")
    return {inGroup, own};
  return {own, inGroup};
}

Value FragmentLowering::multiply(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                                 Value sum) {
  // Neither factor is taken from another thread.
  Value none = LLVM::ConstantOp::create(b, b.getI32IntegerAttr(0));
  for (int64_t i = 0; i < countFactors(); ++i) {
    Value arguments[] = {vector::ExtractOp::create(b, lhs, i),
                         vector::ExtractOp::create(b, rhs, i),
                         sum,
                         none,
                         none,
                         none};
    sum = LLVM::CallIntrinsicOp::create(
              b, sum.getType(), b.getStringAttr(units.intrinsic), arguments)
              .getResult(0);
  }
  return sum;
}

Value ImitatedLowering::multiply(ImplicitLocOpBuilder &b, Value lhs, Value rhs,
                                 Value sum) {
  Lane lane = getLane(b);
  Value side = constant(b, kUnitSide);
  // Number `part` of thread `thread`, first of the left factors and then of the
  // right ones.
  auto getNumber = [&](int64_t part, Value thread) {
    return addTo(b, thread, part * numThreads);
  };
  int64_t numParts = countFactors();
  for (auto [first, factor] : {std::pair(int64_t(0), lhs), {numParts, rhs}})
    for (int64_t i = 0; i < numParts; ++i)
      memref::StoreOp::create(
          b, vector::ExtractOp::create(b, factor, i).getResult(), memory,
          getNumber(first + i, lane.thread));
  mlir::gpu::BarrierOp::create(b);
  SmallVector<Value> sums;
  for (int64_t i = 0; i < countSums(); ++i)
    sums.push_back(vector::ExtractOp::create(b, sum, i).getResult());
  Value column = arith::RemUIOp::create(b, lane.inSubgroup, side);
  Value firstRow =
      arith::MulIOp::create(b, arith::DivUIOp::create(b, lane.inSubgroup, side),
                            constant(b, countSums()));
  // Each intrinsic takes a term of each group of threads. From a loop over the
  // groups, Intel's OpenCL for processors makes code that yields other sums.
  for (int64_t part = 0; part < numParts; ++part)
    for (int64_t group = 0; group < units.subgroupSize; group += kUnitSide) {
      auto read = [&](int64_t ofPart, Value inGroup) -> Value {
        Value thread = arith::AddIOp::create(b, lane.first, inGroup);
        return memref::LoadOp::create(
            b, memory, getNumber(ofPart, addTo(b, thread, group)));
      };
      Value right = read(numParts + part, column);
      for (auto [i, result] : llvm::enumerate(sums)) {
        Value left = read(part, addTo(b, firstRow, i));
        result = arith::AddFOp::create(b, result,
                                       arith::MulFOp::create(b, left, right));
      }
    }
  mlir::gpu::BarrierOp::create(b);
  return vector::FromElementsOp::create(b, cast<VectorType>(sum.getType()),
                                        sums);
}

/// Imitates units whose intrinsic takes numbers of each thread.
static LogicalResult imitate(func::FuncOp kernel, const MatrixUnits &units) {
  if (!kernel.walk([](ComputeOp) { return WalkResult::interrupt(); })
           .wasInterrupted())
    return ImitatedLowering(kernel, units, nullptr, 0).run();
  auto numThreads = kernel->getAttrOfType<IntegerAttr>(kThreadsAttr);
  if (!numThreads)
    return kernel.emitOpError("multiplies small matrices, and has no known "
                              "number of threads to imitate that");
  int64_t numNumbers =
      2 * kUnitSide * kUnitTerms / units.subgroupSize * numThreads.getInt();
  OpBuilder outer(kernel);
  auto type = MemRefType::get({numNumbers}, outer.getF32Type(),
                              MemRefLayoutAttrInterface(),
                              outer.getI64IntegerAttr(kSharedSpace));
  std::string name = (kernel.getName() + "_fragments").str();
  memref::GlobalOp::create(outer, kernel.getLoc(), name,
                           outer.getStringAttr("private"), type,
                           outer.getUnitAttr(), /*constant=*/false,
                           /*alignment=*/IntegerAttr());
  auto inner = ImplicitLocOpBuilder::atBlockBegin(kernel.getLoc(),
                                                  &kernel.getBody().front());
  Value memory = memref::GetGlobalOp::create(inner, type, name);
  auto sharedBytes = kernel->getAttrOfType<IntegerAttr>(kSharedBytesAttr);
  kernel->setAttr(
      kSharedBytesAttr,
      outer.getI64IntegerAttr(sharedBytes.getInt() + aot::getNumBytes(type)));
  return ImitatedLowering(kernel, units, memory, numThreads.getInt()).run();
}

LogicalResult rwkvc::gpu::lowerMatrixUnits(func::FuncOp kernel,
                                           const MatrixUnits &units,
                                           bool areThere) {
  if (units.areOpaque)
    return areThere ? OpaqueLowering(kernel, units).run()
                    : LoopLowering(kernel, units).run();
  return areThere ? FragmentLowering(kernel, units).run()
                  : imitate(kernel, units);
}
