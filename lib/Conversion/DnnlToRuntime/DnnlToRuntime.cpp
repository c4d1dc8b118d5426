//===- DnnlToRuntime.cpp - dnnl to calls of the runtime -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Conversion/DnnlToRuntime/DnnlToRuntime.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/SymbolTable.h"
#include "rwkvc-rt/dnnl.h"
#include "rwkvc/Conversion/Passes.h"
#include "rwkvc/Dialect/Dnnl/IR/Dnnl.h"

namespace rwkvc {
#define GEN_PASS_DEF_CONVERTDNNLTORUNTIMEPASS
#include "rwkvc/Conversion/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;

static_assert(dnnl::MatmulOp::kMaxRank == RWKVRT_DNNL_MAX_RANK);
static_assert(dnnl::MatmulOp::kMaxPostOps == RWKVRT_DNNL_MAX_POST_OPS);
static_assert(int(dnnl::PostOp::Relu) == RWKVRT_DNNL_RELU &&
              int(dnnl::PostOp::Square) == RWKVRT_DNNL_SQUARE &&
              int(dnnl::PostOp::Logistic) == RWKVRT_DNNL_LOGISTIC &&
              int(dnnl::PostOp::Tanh) == RWKVRT_DNNL_TANH &&
              int(dnnl::PostOp::Swish) == RWKVRT_DNNL_SWISH &&
              int(dnnl::PostOp::Add) == RWKVRT_DNNL_ADD &&
              int(dnnl::PostOp::Mul) == RWKVRT_DNNL_MUL);

static constexpr StringLiteral kRelease = "rwkvrt_dnnl_release";

/// Declares the C function \p name of the runtime once.
static FailureOr<func::FuncOp> declare(ModuleOp module, StringRef name,
                                       FunctionType type) {
  if (Operation *found = module.lookupSymbol(name)) {
    auto function = dyn_cast<func::FuncOp>(found);
    if (function && function.getFunctionType() == type)
      return function;
    return found->emitError("the name '")
           << name << "' belongs to the runtime, where it has the type " << type
           << "; rename this symbol";
  }
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto function = func::FuncOp::create(builder, module.getLoc(), name, type);
  function.setPrivate();
  return function;
}

namespace {

/// Whether oneDNN takes the strides: a dense order of dimensions without
/// overlap, whose fastest is one of the last two.
bool hasUsableStrides(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return false;
  int64_t rank = type.getRank();
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < rank; ++i) {
    if (ShapedType::isDynamic(strides[i]) || strides[i] < 1)
      return false;
    if (type.getDimSize(i) != 1)
      order.push_back(i);
  }
  llvm::stable_sort(
      order, [&](int64_t a, int64_t b) { return strides[a] < strides[b]; });
  int64_t reached = 1;
  for (int64_t i : order) {
    if (strides[i] < reached)
      return false;
    reached = strides[i] * type.getDimSize(i);
  }
  return strides[rank - 1] == 1 || strides[rank - 2] == 1;
}

/// Whether elements lie in row-major order without gaps.
bool isDense(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset, size = 1;
  if (failed(type.getStridesAndOffset(strides, offset)))
    return false;
  for (int64_t i = type.getRank() - 1; i >= 0; --i) {
    if (type.getDimSize(i) != 1 && strides[i] != size)
      return false;
    size *= type.getDimSize(i);
  }
  return true;
}

/// A name for \p loc that its author knows: the ONNX node, else the line.
void printPlace(Location loc, raw_ostream &os) {
  if (auto name = dyn_cast<NameLoc>(loc)) {
    os << name.getName().getValue();
  } else if (auto file = dyn_cast<FileLineColLoc>(loc)) {
    os << file.getFilename().getValue() << ":" << file.getLine() << ":"
       << file.getColumn();
  } else if (auto fused = dyn_cast<FusedLoc>(loc);
             fused && !fused.getLocations().empty()) {
    printPlace(fused.getLocations().front(), os);
  } else if (auto call = dyn_cast<CallSiteLoc>(loc)) {
    printPlace(call.getCallee(), os);
  } else {
    os << "a matrix product";
  }
}

struct Lowering {
  explicit Lowering(ModuleOp module, func::FuncOp callee)
      : symbols(module), callee(callee),
        globals(module.getLoc(), OpBuilder::atBlockBegin(module.getBody())) {}

  LLVM::GlobalOp addGlobal(Type type, bool constant, StringRef name,
                           Attribute value) {
    auto global = LLVM::GlobalOp::create(globals, type, constant,
                                         LLVM::Linkage::Internal, name, value);
    symbols.insert(global); // gives it a name of its own
    return global;
  }

  /// Builds the initial value of \p global.
  void initialise(LLVM::GlobalOp global,
                  function_ref<Value(ImplicitLocOpBuilder &)> build) {
    Block &block = global.getInitializerRegion().emplaceBlock();
    ImplicitLocOpBuilder b(global.getLoc(), OpBuilder::atBlockBegin(&block));
    LLVM::ReturnOp::create(b, build(b));
  }

  LLVM::GlobalOp makeSlot() {
    auto pointer = LLVM::LLVMPointerType::get(globals.getContext());
    LLVM::GlobalOp slot =
        addGlobal(pointer, false, "rwkvrt_dnnl_slot", Attribute());
    initialise(slot, [&](ImplicitLocOpBuilder &b) -> Value {
      return LLVM::ZeroOp::create(b, pointer);
    });
    slots.push_back(slot);
    return slot;
  }

  LLVM::GlobalOp makeDescription(dnnl::MatmulOp op, bool constantB);
  void lower(dnnl::MatmulOp op);
  LogicalResult releaseSlotsAtExit(ModuleOp module);

  SymbolTable symbols;
  func::FuncOp callee;
  ImplicitLocOpBuilder globals;
  SmallVector<LLVM::GlobalOp> slots;
  int64_t copies = 0;
};

} // namespace

/// The post-ops of \p op as the runtime has them.
static SmallVector<int32_t> encodePostOps(dnnl::MatmulOp op) {
  SmallVector<int32_t> codes;
  auto others = op.getOthers().begin();
  for (dnnl::PostOp postOp : op.getPostOpList()) {
    int32_t code = static_cast<int32_t>(postOp);
    if (dnnl::isBinary(postOp) &&
        cast<MemRefType>((*others++).getType()).getRank() == 1)
      code += RWKVRT_DNNL_ROW;
    codes.push_back(code);
  }
  return codes;
}

/// Element types of the run ABI.
static int32_t dtype(Type type) {
  return type.isF32() ? RWKVRT_F32 : type.isBF16() ? RWKVRT_BF16 : RWKVRT_F16;
}

LLVM::GlobalOp Lowering::makeDescription(dnnl::MatmulOp op, bool constantB) {
  MLIRContext *context = globals.getContext();
  std::string where;
  llvm::raw_string_ostream os(where);
  printPlace(op.getLoc(), os);
  where.push_back('\0');
  auto text = LLVM::LLVMArrayType::get(globals.getI8Type(), where.size());
  LLVM::GlobalOp name =
      addGlobal(text, true, "rwkvrt_dnnl_where", globals.getStringAttr(where));

  // The fields of rwkvrt_dnnl_matrix and rwkvrt_dnnl_matmul_desc.
  Type i32 = globals.getI32Type(), i64 = globals.getI64Type();
  auto list = LLVM::LLVMArrayType::get(i64, RWKVRT_DNNL_MAX_RANK);
  auto pointer = LLVM::LLVMPointerType::get(context);
  auto matrix =
      LLVM::LLVMStructType::getLiteral(context, {i32, i32, list, list});
  auto type = LLVM::LLVMStructType::getLiteral(
      context, {i32, i32, i32, i32, pointer, matrix, matrix, matrix,
                LLVM::LLVMArrayType::get(i32, RWKVRT_DNNL_MAX_POST_OPS)});
  LLVM::GlobalOp global =
      addGlobal(type, true, "rwkvrt_dnnl_desc", Attribute());
  initialise(global, [&](ImplicitLocOpBuilder &b) -> Value {
    Value value = LLVM::UndefOp::create(b, type);
    auto set = [&](Value field, ArrayRef<int64_t> position) {
      value = LLVM::InsertValueOp::create(b, value, field, position);
    };
    auto number = [&](int32_t n) -> Value {
      return LLVM::ConstantOp::create(b, i32, b.getI32IntegerAttr(n));
    };
    auto numbers = [&](ArrayRef<int64_t> values) -> Value {
      SmallVector<int64_t> padded(values);
      padded.resize(RWKVRT_DNNL_MAX_RANK);
      return LLVM::ConstantOp::create(b, list, b.getI64TensorAttr(padded));
    };
    int64_t rank = cast<MemRefType>(op.getC().getType()).getRank();
    set(number(sizeof(rwkvrt_dnnl_matmul_desc)), 0);
    set(number(rank), 1);
    set(number((op.getAccumulate() ? RWKVRT_DNNL_ACCUMULATE : 0) |
               (constantB ? RWKVRT_DNNL_CONSTANT_B : 0)),
        2);
    SmallVector<int32_t> postOps = encodePostOps(op);
    set(number(postOps.size()), 3);
    set(LLVM::AddressOfOp::create(b, name), 4);
    bool swapped[] = {op.getTransposeA(), op.getTransposeB(), false};
    for (auto [i, operand] : llvm::enumerate(op->getOperands().take_front(3))) {
      auto buffer = cast<MemRefType>(operand.getType());
      SmallVector<int64_t> dims(buffer.getShape());
      SmallVector<int64_t> strides = buffer.getStridesAndOffset().first;
      if (swapped[i]) {
        std::swap(dims[rank - 1], dims[rank - 2]);
        std::swap(strides[rank - 1], strides[rank - 2]);
      }
      int64_t at = 5 + i;
      set(number(dtype(buffer.getElementType())), {at, 0});
      set(number(0), {at, 1});
      set(numbers(dims), {at, 2});
      set(numbers(strides), {at, 3});
    }
    postOps.resize(RWKVRT_DNNL_MAX_POST_OPS);
    for (auto [i, code] : llvm::enumerate(postOps))
      set(number(code), {8, static_cast<int64_t>(i)});
    return value;
  });
  return global;
}

/// The address of the first element of \p buffer.
static Value pointerTo(ImplicitLocOpBuilder &b, Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t offset = type.getStridesAndOffset().second;
  int64_t size = type.getElementTypeBitWidth() / 8;
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, buffer);
  if (offset != 0) {
    Value elements =
        ShapedType::isDynamic(offset)
            ? memref::ExtractStridedMetadataOp::create(b, buffer).getOffset()
            : arith::ConstantIndexOp::create(b, offset).getResult();
    Value bytes = arith::MulIOp::create(
        b, elements, arith::ConstantIndexOp::create(b, size));
    address = arith::AddIOp::create(b, address, bytes);
  }
  Value number = arith::IndexCastOp::create(b, b.getI64Type(), address);
  return LLVM::IntToPtrOp::create(b, LLVM::LLVMPointerType::get(b.getContext()),
                                  number);
}

void Lowering::lower(dnnl::MatmulOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  bool constantB = op.hasConstantB();
  // Operands that oneDNN cannot read where they are.
  Value destination = op.getC();
  SmallVector<Value> temporaries;
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = cast<MemRefType>(operand.get().getType());
    bool isOther = operand.getOperandNumber() > 2;
    if (isOther ? isDense(type) : hasUsableStrides(type))
      continue;
    auto dense = MemRefType::get(type.getShape(), type.getElementType());
    Value copy =
        memref::AllocOp::create(b, dense, b.getI64IntegerAttr(64)).getResult();
    if (!op.isDpsInit(&operand) || op.getAccumulate())
      memref::CopyOp::create(b, operand.get(), copy);
    constantB &= operand.get() != op.getB();
    operand.set(copy);
    temporaries.push_back(copy);
    ++copies;
  }

  LLVM::GlobalOp slot = makeSlot();
  LLVM::GlobalOp description = makeDescription(op, constantB);
  SmallVector<Value> arguments{LLVM::AddressOfOp::create(b, slot),
                               LLVM::AddressOfOp::create(b, description)};
  for (Value buffer : op->getOperands())
    arguments.push_back(pointerTo(b, buffer));
  auto pointer = LLVM::LLVMPointerType::get(b.getContext());
  while (arguments.size() < callee.getNumArguments())
    arguments.push_back(LLVM::ZeroOp::create(b, pointer));
  func::CallOp::create(b, callee, arguments);

  if (op.getC() != destination)
    memref::CopyOp::create(b, op.getC(), destination);
  for (Value copy : temporaries)
    memref::DeallocOp::create(b, copy);
  op.erase();
}

/// Without this, each loading and unloading of a model would leak primitives
/// and rearranged weights.
LogicalResult Lowering::releaseSlotsAtExit(ModuleOp module) {
  MLIRContext *context = module.getContext();
  ImplicitLocOpBuilder b(module.getLoc(),
                         OpBuilder::atBlockEnd(module.getBody()));
  auto pointer = LLVM::LLVMPointerType::get(context);
  auto none = LLVM::LLVMVoidType::get(context);
  Operation *found = module.lookupSymbol(kRelease);
  auto release = dyn_cast_if_present<LLVM::LLVMFuncOp>(found);
  if (found && !release)
    return found->emitError("the name '")
           << kRelease << "' belongs to the runtime; rename this symbol";
  if (!release)
    release = LLVM::LLVMFuncOp::create(
        b, kRelease, LLVM::LLVMFunctionType::get(none, pointer));
  auto exit = LLVM::LLVMFuncOp::create(b, "rwkvrt_dnnl_exit",
                                       LLVM::LLVMFunctionType::get(none, {}),
                                       LLVM::Linkage::Internal);
  symbols.insert(exit);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(exit.addEntryBlock(b));
    for (LLVM::GlobalOp slot : slots) {
      Value address = LLVM::AddressOfOp::create(b, slot);
      LLVM::CallOp::create(b, release, address);
    }
    LLVM::ReturnOp::create(b, ValueRange{});
  }
  b.setInsertionPointAfter(exit);
  LLVM::GlobalDtorsOp::create(b, b.getArrayAttr(FlatSymbolRefAttr::get(exit)),
                              b.getI32ArrayAttr(65535),
                              b.getArrayAttr(LLVM::ZeroAttr::get(context)));
  return success();
}

namespace {
struct ConvertDnnlToRuntimePass
    : rwkvc::impl::ConvertDnnlToRuntimePassBase<ConvertDnnlToRuntimePass> {
  using ConvertDnnlToRuntimePassBase::ConvertDnnlToRuntimePassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<dnnl::MatmulOp> ops;
    bool valid = true;
    module.walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (op != module && op->hasTrait<OpTrait::SymbolTable>())
        return WalkResult::skip(); // has symbols of its own
      if (auto matmul = dyn_cast<dnnl::MatmulOp>(op)) {
        valid &= succeeded(check(matmul));
        ops.push_back(matmul);
      }
      return WalkResult::advance();
    });
    if (!valid)
      return signalPassFailure();
    if (ops.empty())
      return;

    Builder builder(&getContext());
    SmallVector<Type> inputs(5 + dnnl::MatmulOp::kMaxOthers,
                             LLVM::LLVMPointerType::get(&getContext()));
    FailureOr<func::FuncOp> callee =
        declare(module, kDnnlMatmul,
                builder.getFunctionType(inputs, builder.getI32Type()));
    if (failed(callee))
      return signalPassFailure();
    Lowering lowering(module, *callee);
    for (dnnl::MatmulOp op : ops)
      lowering.lower(op);
    numCalls += ops.size();
    numCopies += lowering.copies;
    if (failed(lowering.releaseSlotsAtExit(module)))
      signalPassFailure();
  }

  static LogicalResult check(dnnl::MatmulOp op) {
    for (Value operand : op->getOperands()) {
      auto type = dyn_cast<MemRefType>(operand.getType());
      if (!type)
        return op.emitOpError("must be bufferized before its conversion to a "
                              "runtime call");
      if (!type.hasStaticShape())
        return op.emitOpError("needs static shapes for a runtime call, got ")
               << type;
      if (type.getMemorySpace())
        return op.emitOpError("needs operands in the default memory space for "
                              "a runtime call, got ")
               << type;
    }
    return success();
  }
};
} // namespace
