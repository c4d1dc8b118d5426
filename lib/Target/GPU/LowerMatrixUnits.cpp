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

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

using MatrixType = mlir::gpu::MMAMatrixType;
using LoadOp = mlir::gpu::SubgroupMmaLoadMatrixOp;
using StoreOp = mlir::gpu::SubgroupMmaStoreMatrixOp;
using ComputeOp = mlir::gpu::SubgroupMmaComputeOp;
using SplatOp = mlir::gpu::SubgroupMmaConstantMatrixOp;
using ElementwiseOp = mlir::gpu::SubgroupMmaElementwiseOp;

/// Numbers that a thread has of a matrix of sums, and of another one.
static constexpr int64_t kSumsOfThread = kUnitSide * kUnitSide / kWarpSize;
static constexpr int64_t kFactorsOfThread = kUnitSide * kUnitTerms / kWarpSize;
/// The bits of a float that TF32 has.
static constexpr int32_t kTF32Bits = -(1 << 13);

template <typename OpType> static bool isTransposed(OpType op) {
  return op.getTransposeAttr() != nullptr;
}

namespace {

/// Lowers what a kernel does with matrices. What a thread has of a matrix gets
/// a type of LLVM's first.
class Lowering {
public:
  explicit Lowering(Operation *func) : kernel(func) {}
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

private:
  static LogicalResult check(Operation *op);
  LogicalResult lower(Operation *op, MatrixType type);

  Operation *kernel;
};

/// To the intrinsics of NVIDIA's warps (`wmma`). What a thread has is theirs to
/// know.
class IntrinsicLowering : public Lowering {
public:
  using Lowering::Lowering;

private:
  Type convert(MatrixType type) override {
    Builder b(type.getContext());
    bool isSum = type.getOperand() == "COp";
    Type number = isSum ? Type(b.getF32Type()) : Type(b.getI32Type());
    return LLVM::LLVMStructType::getLiteral(
        b.getContext(),
        SmallVector<Type>(isSum ? kSumsOfThread : kFactorsOfThread, number));
  }
  Value lower(ImplicitLocOpBuilder &b, LoadOp load, MatrixType type) override;
  void lower(ImplicitLocOpBuilder &b, StoreOp store) override;
  Value lower(ImplicitLocOpBuilder &b, ComputeOp compute) override;
  Value lower(ImplicitLocOpBuilder &b, SplatOp splat) override {
    return join(b, SmallVector<Value>(kSumsOfThread, splat.getValue()));
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

/// To loops, for devices without such units: a thread computes eight neighbours
/// of a row. Factors are read where they are multiplied; memory must still have
/// them then. As units do, it takes no more of a float than TF32 has.
class LoopLowering : public Lowering {
public:
  using Lowering::Lowering;

private:
  Type convert(MatrixType type) override {
    Type number = Float32Type::get(type.getContext());
    // Others have no values, but places in memory.
    return type.getOperand() == "COp" ? VectorType::get({kSumsOfThread}, number)
                                      : number;
  }
  Value lower(ImplicitLocOpBuilder &b, LoadOp load, MatrixType type) override;
  void lower(ImplicitLocOpBuilder &b, StoreOp store) override;
  Value lower(ImplicitLocOpBuilder &b, ComputeOp compute) override;
  Value lower(ImplicitLocOpBuilder &b, SplatOp splat) override {
    return vector::BroadcastOp::create(
        b, VectorType::get({kSumsOfThread}, b.getF32Type()), splat.getValue());
  }
  Value add(ImplicitLocOpBuilder &b, Value lhs, Value rhs) override {
    return arith::AddFOp::create(b, lhs, rhs);
  }

  /// This thread's row of a matrix, and its first column.
  static std::pair<Value, Value> getPlace(ImplicitLocOpBuilder &b);
  static Value getIndex(ImplicitLocOpBuilder &b, Value first, Value row,
                        Value column, const APInt &stride, bool isTransposed);
};

} // namespace

/// Matrices are those of TF32 units, and addresses numbers.
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

SmallVector<Value> IntrinsicLowering::split(ImplicitLocOpBuilder &b,
                                            Value matrix) {
  auto type = cast<LLVM::LLVMStructType>(matrix.getType());
  SmallVector<Value> numbers;
  for (int64_t i = 0, e = type.getBody().size(); i < e; ++i)
    numbers.push_back(LLVM::ExtractValueOp::create(b, matrix, i));
  return numbers;
}

Value IntrinsicLowering::join(ImplicitLocOpBuilder &b,
                              ArrayRef<Value> numbers) {
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
Value IntrinsicLowering::getAddress(ImplicitLocOpBuilder &b, Value memory,
                                    Value index) {
  auto type = cast<MemRefType>(memory.getType());
  LLVMTypeConverter converter(b.getContext());
  constexpr unsigned space = 3; // as LowerKernels.cpp has it
  Type lowered = converter.convertType(
      MemRefType::get(type.getShape(), type.getElementType(),
                      MemRefLayoutAttrInterface(), b.getI64IntegerAttr(space)));
  Value descriptor =
      UnrealizedConversionCastOp::create(b, lowered, memory).getResult(0);
  Value first = LLVM::ExtractValueOp::create(b, descriptor, 1);
  Value number = arith::IndexCastUIOp::create(b, b.getI64Type(), index);
  return LLVM::GEPOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), space),
      type.getElementType(), first, number, LLVM::GEPNoWrapFlags::inbounds);
}

Value IntrinsicLowering::lower(ImplicitLocOpBuilder &b, LoadOp load,
                               MatrixType type) {
  char operand = llvm::toLower(type.getOperand().front());
  std::string name = ("llvm.nvvm.wmma.m16n16k8.load." + Twine(operand) +
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

void IntrinsicLowering::lower(ImplicitLocOpBuilder &b, StoreOp store) {
  std::string name =
      ("llvm.nvvm.wmma.m16n16k8.store.d." +
       Twine(isTransposed(store) ? "col" : "row") + ".stride.f32")
          .str();
  SmallVector<Value> arguments{
      getAddress(b, store.getDstMemref(), store.getIndices().front())};
  llvm::append_range(arguments, split(b, store->getOperand(0)));
  arguments.push_back(getStride(b, store.getLeadDimension()));
  LLVM::CallIntrinsicOp::create(b, Type(), b.getStringAttr(name), arguments);
}

Value IntrinsicLowering::lower(ImplicitLocOpBuilder &b, ComputeOp compute) {
  std::string name = ("llvm.nvvm.wmma.m16n16k8.mma." +
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

std::pair<Value, Value> LoopLowering::getPlace(ImplicitLocOpBuilder &b) {
  auto constant = [&](int64_t value) {
    return arith::ConstantIndexOp::create(b, value);
  };
  Value thread = mlir::gpu::ThreadIdOp::create(b, mlir::gpu::Dimension::x);
  Value lane = arith::RemUIOp::create(b, thread, constant(kWarpSize));
  Value inRow = constant(kUnitSide / kSumsOfThread);
  Value column = arith::MulIOp::create(
      b, arith::RemUIOp::create(b, lane, inRow), constant(kSumsOfThread));
  return {arith::DivUIOp::create(b, lane, inRow), column};
}

Value LoopLowering::getIndex(ImplicitLocOpBuilder &b, Value first, Value row,
                             Value column, const APInt &stride,
                             bool isTransposed) {
  if (isTransposed)
    std::swap(row, column);
  Value ofRow = arith::MulIOp::create(
      b, row, arith::ConstantIndexOp::create(b, stride.getSExtValue()));
  return arith::AddIOp::create(b, first,
                               arith::AddIOp::create(b, ofRow, column));
}

Value LoopLowering::lower(ImplicitLocOpBuilder &b, LoadOp load,
                          MatrixType type) {
  // The product finds it here.
  if (type.getOperand() != "COp")
    return load->getResult(0);
  auto [row, first] = getPlace(b);
  SmallVector<Value> numbers;
  for (int64_t i = 0; i < kSumsOfThread; ++i) {
    Value column =
        arith::AddIOp::create(b, first, arith::ConstantIndexOp::create(b, i));
    numbers.push_back(memref::LoadOp::create(
        b, load.getSrcMemref(),
        getIndex(b, load.getIndices().front(), row, column,
                 load.getLeadDimension(), isTransposed(load))));
  }
  return vector::FromElementsOp::create(b, cast<VectorType>(convert(type)),
                                        numbers);
}

void LoopLowering::lower(ImplicitLocOpBuilder &b, StoreOp store) {
  auto [row, first] = getPlace(b);
  for (int64_t i = 0; i < kSumsOfThread; ++i) {
    Value column =
        arith::AddIOp::create(b, first, arith::ConstantIndexOp::create(b, i));
    memref::StoreOp::create(
        b, vector::ExtractOp::create(b, store->getOperand(0), i).getResult(),
        store.getDstMemref(),
        getIndex(b, store.getIndices().front(), row, column,
                 store.getLeadDimension(), isTransposed(store)));
  }
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
  auto [row, first] = getPlace(b);
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, value);
  };
  SmallVector<Value> sums;
  for (int64_t i = 0; i < kSumsOfThread; ++i)
    sums.push_back(
        vector::ExtractOp::create(b, compute->getOperand(2), i).getResult());
  auto loop = scf::ForOp::create(b, constant(0), constant(kUnitTerms),
                                 constant(1), sums);
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
          b, bits,
          arith::ConstantOp::create(b, b.getI32IntegerAttr(kTF32Bits)));
      return arith::BitcastOp::create(b, number.getType(), bits);
    };
    Value term = loop.getInductionVar();
    Value lhs = read(loads[0], row, term);
    SmallVector<Value> results;
    for (auto [i, sum] : llvm::enumerate(loop.getRegionIterArgs())) {
      Value column = arith::AddIOp::create(b, first, constant(i));
      Value rhs = read(loads[1], term, column);
      results.push_back(
          arith::AddFOp::create(b, sum, arith::MulFOp::create(b, lhs, rhs)));
    }
    scf::YieldOp::create(b, results);
  }
  return vector::FromElementsOp::create(
      b, cast<VectorType>(compute->getOperand(2).getType()), loop.getResults());
}

LogicalResult rwkvc::gpu::lowerMatrixUnits(Operation *kernel, bool areThere) {
  if (areThere)
    return IntrinsicLowering(kernel).run();
  return LoopLowering(kernel).run();
}
