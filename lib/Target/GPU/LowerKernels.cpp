//===- LowerKernels.cpp - Kernels for a kind of device --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixUnits.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/Target/DeviceInfo.h"
#include "rwkvc/Target/GPU/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_LOWERKERNELS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;

/// Of memory that a workgroup shares: what matrix units need.
static constexpr int64_t kAlignment = 32;

namespace {

struct LowerKernelsPass : rwkvc::gpu::impl::LowerKernelsBase<LowerKernelsPass> {
  using LowerKernelsBase::LowerKernelsBase;

  void runOnOperation() override {
    kind = findDeviceKind(target);
    if (!kind) {
      getOperation().emitError() << "target=" << target.getValue()
                                 << ": no kind of device has this name";
      return signalPassFailure();
    }
    units = matrixUnits.empty() ? &getMatrixUnits().front()
                                : findMatrixUnits(matrixUnits);
    if (!units) {
      getOperation().emitError() << "matrix-units=" << matrixUnits.getValue()
                                 << ": expected " << listMatrixUnits();
      return signalPassFailure();
    }
    if (hasMatrixUnits && kind->matrixUnits != units->name) {
      getOperation().emitError()
          << "target=" << target.getValue() << ": no device of this kind has '"
          << units->name << "' as matrix units";
      return signalPassFailure();
    }
    SmallVector<mlir::gpu::GPUModuleOp> modules(
        getOperation().getOps<mlir::gpu::GPUModuleOp>());
    for (mlir::gpu::GPUModuleOp module : modules)
      if (failed(lower(module)))
        return signalPassFailure();
  }

  LogicalResult lower(mlir::gpu::GPUModuleOp gpuModule) {
    OpBuilder b(gpuModule);
    module = ModuleOp::create(b, gpuModule.getLoc(), gpuModule.getName());
    b.setInsertionPointToStart(module.getBody());
    SmallVector<Operation *> ops(
        llvm::make_pointer_range(gpuModule.getBody()->without_terminator()));
    for (Operation *op : ops) {
      auto kernel = dyn_cast<mlir::gpu::GPUFuncOp>(op);
      if (!kernel)
        return op->emitOpError("is no kernel");
      if (failed(lower(kernel, b)))
        return failure();
    }
    gpuModule.erase();
    AttrTypeReplacer replacer;
    if (kind->isPortable) {
      widenBFloats(module);
      replacer.addReplacement([](MemRefType type) -> std::optional<Type> {
        if (!type.getElementType().isBF16())
          return std::nullopt;
        Type bits = IntegerType::get(type.getContext(), 16);
        return MemRefType::get(type.getShape(), bits, type.getLayout(),
                               type.getMemorySpace());
      });
    }
    replacer.addReplacement(
        [this](mlir::gpu::AddressSpaceAttr space) -> std::optional<Attribute> {
          return IntegerAttr::get(IntegerType::get(space.getContext(), 64),
                                  getSpace(space.getValue()));
        });
    replacer.recursivelyReplaceElementsIn(module, /*replaceAttrs=*/true,
                                          /*replaceLocs=*/false,
                                          /*replaceTypes=*/true);
    return success();
  }

  int64_t getSpace(mlir::gpu::AddressSpace space) const {
    switch (space) {
    case mlir::gpu::AddressSpace::Workgroup:
      return kSharedSpace;
    case mlir::gpu::AddressSpace::Private:
      return kind->privateSpace;
    default:
      return 1;
    }
  }

  /// Lets bf16 be read and written as integers of 16 bits, for devices that
  /// know no such type; arith-expand does the rest.
  static void widenBFloats(ModuleOp module) {
    auto bits = IntegerType::get(module.getContext(), 16);
    auto bfloat = BFloat16Type::get(module.getContext());
    module.walk([&](Operation *op) {
      OpBuilder b(op);
      if (auto load = dyn_cast<memref::LoadOp>(op);
          load && load.getType().isBF16()) {
        b.setInsertionPointAfter(op);
        load.getResult().setType(bits);
        auto cast =
            arith::BitcastOp::create(b, op->getLoc(), bfloat, load.getResult());
        load.getResult().replaceAllUsesExcept(cast, cast);
      } else if (auto store = dyn_cast<memref::StoreOp>(op);
                 store && store.getValue().getType().isBF16()) {
        store.getValueMutable().set(
            arith::BitcastOp::create(b, op->getLoc(), bits, store.getValue()));
      }
    });
  }

  LogicalResult lower(mlir::gpu::GPUFuncOp kernel, OpBuilder &b) {
    Location loc = kernel.getLoc();
    Block &body = kernel.getBody().front();
    auto inner = ImplicitLocOpBuilder::atBlockBegin(loc, &body);
    // What a workgroup shares.
    unsigned number = 0;
    int64_t sharedBytes = 0;
    for (BlockArgument shared : kernel.getWorkgroupAttributions()) {
      std::string name =
          (kernel.getName() + "_shared_" + Twine(number++)).str();
      auto type = cast<MemRefType>(shared.getType());
      memref::GlobalOp::create(b, loc, name, b.getStringAttr("private"), type,
                               b.getUnitAttr(), /*constant=*/false,
                               /*alignment=*/b.getI64IntegerAttr(kAlignment));
      sharedBytes += aot::getNumBytes(type);
      shared.replaceAllUsesWith(memref::GetGlobalOp::create(inner, type, name));
    }
    unsigned numArguments = kernel.getNumArguments();
    body.eraseArguments(numArguments, body.getNumArguments() - numArguments);
    // Addresses are those of the first element.
    SmallVector<Type> types;
    for (BlockArgument argument : body.getArguments()) {
      if (auto type = dyn_cast<MemRefType>(argument.getType()))
        dropOffset(argument, type, inner);
      types.push_back(argument.getType());
    }
    auto func = func::FuncOp::create(b, loc, kernel.getName(),
                                     b.getFunctionType(types, {}));
    if (auto size = kernel.getKnownBlockSizeAttr())
      func->setAttr(rwkvc::gpu::kThreadsAttr,
                    b.getI64IntegerAttr(size.asArrayRef().front()));
    func->setAttr(rwkvc::gpu::kSharedBytesAttr,
                  b.getI64IntegerAttr(sharedBytes));
    if (ArrayAttr attributes = kernel.getAllArgAttrs())
      func.setAllArgAttrs(attributes);
    func.getBody().takeBody(kernel.getBody());
    if (failed(rwkvc::gpu::lowerMatrixUnits(func, *units, hasMatrixUnits)))
      return failure();
    SmallVector<Operation *> ops;
    func.walk([&](Operation *op) {
      if (isa<mlir::gpu::GPUDialect>(op->getDialect()))
        ops.push_back(op);
    });
    for (Operation *op : ops)
      if (failed(lowerOp(op)))
        return failure();
    return success();
  }

  /// Lets \p argument have no offset: a static one is added to the address, a
  /// dynamic one is in it.
  static void dropOffset(BlockArgument argument, MemRefType type,
                         ImplicitLocOpBuilder &b) {
    auto [strides, offset] = type.getStridesAndOffset();
    if (offset == 0)
      return;
    argument.setType(
        MemRefType::get(type.getShape(), type.getElementType(),
                        StridedLayoutAttr::get(type.getContext(), 0, strides),
                        type.getMemorySpace()));
    Value shifted;
    if (ShapedType::isDynamic(offset))
      shifted = memref::CastOp::create(b, type, argument);
    else
      shifted = memref::ReinterpretCastOp::create(b, type, argument, offset,
                                                  type.getShape(), strides);
    argument.replaceAllUsesExcept(shifted, shifted.getDefiningOp());
  }

  LogicalResult lowerOp(Operation *op) {
    ImplicitLocOpBuilder b(op->getLoc(), op);
    if (isa<mlir::gpu::ReturnOp>(op)) {
      func::ReturnOp::create(b);
    } else if (isa<mlir::gpu::BarrierOp>(op)) {
      SmallVector<Value> arguments;
      if (kind->barrierArgument)
        arguments.push_back(LLVM::ConstantOp::create(
            b, b.getI32Type(), b.getI32IntegerAttr(*kind->barrierArgument)));
      auto fence = [&](LLVM::AtomicOrdering ordering) {
        if (!kind->fenceScope.empty())
          LLVM::FenceOp::create(b, ordering, kind->fenceScope);
      };
      fence(LLVM::AtomicOrdering::release);
      call(b, kind->barrier, Type(), arguments);
      fence(LLVM::AtomicOrdering::acquire);
    } else if (auto thread = dyn_cast<mlir::gpu::ThreadIdOp>(op);
               thread && thread.getDimension() == mlir::gpu::Dimension::x) {
      thread.replaceAllUsesWith(getId(b, kind->threadId));
    } else if (auto group = dyn_cast<mlir::gpu::BlockIdOp>(op);
               group && group.getDimension() == mlir::gpu::Dimension::x) {
      group.replaceAllUsesWith(getId(b, kind->groupId));
    } else {
      return op->emitOpError("is not known for devices of kind '")
             << kind->name << "'";
    }
    op->erase();
    return success();
  }

  Value getId(ImplicitLocOpBuilder &b, StringRef name) {
    SmallVector<Value> arguments;
    Type type = b.getI32Type();
    if (kind->areFunctions) {
      type = b.getI64Type();
      arguments.push_back(
          LLVM::ConstantOp::create(b, b.getI32Type(), b.getI32IntegerAttr(0)));
    }
    return arith::IndexCastUIOp::create(b, b.getIndexType(),
                                        call(b, name, type, arguments));
  }

  /// Calls an intrinsic or function; \p type null: it gives nothing.
  Value call(ImplicitLocOpBuilder &b, StringRef name, Type type,
             ValueRange arguments) {
    if (!kind->areFunctions) {
      auto intrinsic = LLVM::CallIntrinsicOp::create(
          b, type, b.getStringAttr(name), arguments);
      return type ? intrinsic->getResult(0) : Value();
    }
    auto callee = module.lookupSymbol<LLVM::LLVMFuncOp>(name);
    if (!callee) {
      auto outer = OpBuilder::atBlockBegin(module.getBody());
      auto functionType = LLVM::LLVMFunctionType::get(
          type ? type : LLVM::LLVMVoidType::get(b.getContext()),
          SmallVector<Type>(arguments.getTypes()));
      callee =
          LLVM::LLVMFuncOp::create(outer, module.getLoc(), name, functionType);
      callee.setCConv(LLVM::CConv::SPIR_FUNC);
      if (!type)
        callee.setConvergent(true);
    }
    auto made = LLVM::CallOp::create(b, callee, arguments);
    made.setCConv(callee.getCConv());
    if (!type)
      made.setConvergent(true);
    return type ? made.getResult() : Value();
  }

  const DeviceKind *kind = nullptr;
  const MatrixUnits *units = nullptr;
  ModuleOp module;
};

} // namespace
