//===- DistributeKernels.cpp - Kernels for workgroups and threads ---------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ThreadLoops.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/SCF/Transforms/Transforms.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "rwkvc/Support/Loops.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "rwkvc/Transforms/Kernels.h"
#include "rwkvc/Transforms/Passes.h"

namespace rwkvc::gpu {
#define GEN_PASS_DEF_DISTRIBUTEKERNELS
#include "rwkvc/Target/GPU/Passes.h.inc"
} // namespace rwkvc::gpu

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::gpu;

/// The memory of a device that all workgroups see.
static Attribute getGlobalSpace(MLIRContext *context) {
  return mlir::gpu::AddressSpaceAttr::get(context,
                                          mlir::gpu::AddressSpace::Global);
}

/// Replaces linalg ops of \p func by linalg.generic, and copies likewise.
static LogicalResult generalize(func::FuncOp func) {
  IRRewriter rewriter(func.getContext());
  SmallVector<memref::CopyOp> copies;
  func.walk([&](memref::CopyOp copy) { copies.push_back(copy); });
  for (memref::CopyOp copy : copies) {
    rewriter.setInsertionPoint(copy);
    linalg::makeMemRefCopyOp(rewriter, copy.getLoc(), copy.getSource(),
                             copy.getTarget());
    rewriter.eraseOp(copy);
  }
  SmallVector<linalg::LinalgOp> named;
  func.walk([&](linalg::LinalgOp op) {
    if (!isa<linalg::GenericOp>(op))
      named.push_back(op);
  });
  for (linalg::LinalgOp op : named) {
    rewriter.setInsertionPoint(op);
    if (failed(linalg::generalizeNamedOp(rewriter, op)))
      return op.emitOpError("has no form as linalg.generic");
  }
  return success();
}

/// Reports what has no static size.
static LogicalResult checkSizes(func::FuncOp func) {
  auto result = func.walk([&](Operation *op) {
    if (auto linalg = dyn_cast<linalg::LinalgOp>(op);
        linalg &&
        llvm::any_of(linalg.getStaticLoopRanges(), ShapedType::isDynamic)) {
      op->emitOpError("has no static size, which kernels of devices need");
      return WalkResult::interrupt();
    }
    auto loop = dyn_cast<scf::ForallOp>(op);
    if (loop && (!countIterations(loop) || loop->getNumResults() != 0)) {
      op->emitOpError("has no constant number of iterations, or has results");
      return WalkResult::interrupt();
    }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

namespace {

/// A linalg op, a parallel loop, or another one or a condition, of a kernel,
/// and the workgroups it wants.
struct Member {
  Operation *op;
  int64_t groups = 1;
  Shares shares; ///< of a linalg op
};

/// Makes one kernel of a function.
class KernelBuilder {
public:
  KernelBuilder(func::FuncOp kernel, mlir::gpu::GPUModuleOp gpuModule,
                int64_t maxThreads, int64_t wantedThreads,
                const MatrixUnits *itsUnits)
      : source(kernel), module(gpuModule), groupSize(maxThreads),
        minThreads(wantedThreads), units(itsUnits) {}

  LogicalResult build();

  mlir::gpu::GPUFuncOp func;
  int64_t numGroups = 1, numThreads = 1;
  unsigned numShared = 0, numTiled = 0, numUnitTiled = 0, numThreadLoops = 0;

private:
  void createFunction();
  int64_t chooseThreads();
  void count(const Shares &shares) {
    numShared += shares.ways > 1;
    numTiled += shares.tiles.has_value();
    numUnitTiled += shares.tiles && shares.tiles->units;
  }
  void emitLast(scf::ExecuteRegionOp chain);
  void placeBuffers();
  void emitMember(const Member &member, Value group);
  void emitInside(Operation *root);
  void emitThreads(scf::ForallOp loop, Value group);
  void inlineLoop(scf::ForallOp loop, Value group);

  func::FuncOp source;
  mlir::gpu::GPUModuleOp module;
  int64_t groupSize, minThreads;
  const MatrixUnits *units;
  Threads threads;
};

struct DistributeKernelsPass
    : rwkvc::gpu::impl::DistributeKernelsBase<DistributeKernelsPass> {
  using DistributeKernelsBase::DistributeKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (!llvm::isPowerOf2_64(groupSize)) {
      module.emitError("group-size must be a power of two");
      return signalPassFailure();
    }
    const MatrixUnits *units = findMatrixUnits(matrixUnits);
    if (!units && !matrixUnits.empty()) {
      module.emitError() << "matrix-units=" << matrixUnits.getValue()
                         << ": expected " << listMatrixUnits();
      return signalPassFailure();
    }
    SymbolTable symbols(module);
    SmallVector<func::FuncOp> kernels;
    for (auto func : module.getOps<func::FuncOp>())
      if (func.isPrivate() && !func.isExternal())
        kernels.push_back(func);
    auto b = OpBuilder::atBlockEnd(module.getBody());
    auto gpuModule =
        mlir::gpu::GPUModuleOp::create(b, module.getLoc(), kKernelsName);
    module->setAttr(mlir::gpu::GPUDialect::getContainerModuleAttrName(),
                    b.getUnitAttr());
    llvm::StringMap<KernelBuilder> made;
    for (func::FuncOp kernel : kernels) {
      auto [entry, isNew] = made.try_emplace(
          kernel.getName(), kernel, gpuModule, groupSize, minThreads, units);
      if (failed(entry->second.build()))
        return signalPassFailure();
      numShared += entry->second.numShared;
      numTiled += entry->second.numTiled;
      numUnitTiled += entry->second.numUnitTiled;
      numThreadLoops += entry->second.numThreadLoops;
      ++numKernels;
    }
    module.walk([&](func::CallOp call) {
      auto found = made.find(call.getCallee());
      if (found == made.end())
        return;
      launch(call, found->second);
      ++numLaunches;
    });
    for (func::FuncOp kernel : kernels)
      symbols.erase(kernel);
  }

  static void launch(func::CallOp call, KernelBuilder &kernel) {
    ImplicitLocOpBuilder b(call.getLoc(), call);
    SmallVector<Value> arguments;
    for (auto [operand, type] :
         llvm::zip_equal(call.getOperands(), kernel.func.getArgumentTypes()))
      arguments.push_back(
          operand.getType() == type
              ? operand
              : memref::MemorySpaceCastOp::create(b, type, operand));
    auto constant = [&](int64_t value) -> Value {
      return arith::ConstantIndexOp::create(b, value);
    };
    Value one = constant(1);
    mlir::gpu::LaunchFuncOp::create(
        b, kernel.func,
        mlir::gpu::KernelDim3{constant(kernel.numGroups), one, one},
        mlir::gpu::KernelDim3{constant(kernel.numThreads), one, one},
        /*dynamicSharedMemorySize=*/Value(), arguments);
    call.erase();
  }
};

} // namespace

/// Moves the function's body to a kernel, whose buffers are the device's.
void KernelBuilder::createFunction() {
  MLIRContext *context = source.getContext();
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](MemRefType type) -> Type {
    return type.getMemorySpace()
               ? type
               : MemRefType::get(type.getShape(), type.getElementType(),
                                 type.getLayout(), getGlobalSpace(context));
  });
  replacer.recursivelyReplaceElementsIn(source, /*replaceAttrs=*/true,
                                        /*replaceLocs=*/false,
                                        /*replaceTypes=*/true);
  auto b = OpBuilder::atBlockEnd(module.getBody());
  func = mlir::gpu::GPUFuncOp::create(b, source.getLoc(), source.getName(),
                                      source.getFunctionType());
  func->setAttr(mlir::gpu::GPUDialect::getKernelFuncAttrName(),
                b.getUnitAttr());
  Block &body = source.getBody().front(), &entry = func.getBody().front();
  for (auto [old, argument] :
       llvm::zip_equal(body.getArguments(), entry.getArguments()))
    old.replaceAllUsesWith(argument);
  body.getTerminator()->erase();
  entry.getOperations().splice(entry.end(), body.getOperations());
  b.setInsertionPointToEnd(&entry);
  mlir::gpu::ReturnOp::create(b, source.getLoc());
}

/// Threads that a workgroup has use for: those of large products, if there are
/// any.
int64_t KernelBuilder::chooseThreads() {
  int64_t wanted = 1, ofProducts = 0;
  func.walk([&](linalg::GenericOp op) {
    SmallVector<int64_t> ranges = op.getStaticLoopRanges();
    wanted = std::max(wanted, computeProduct(ranges) /
                                  (op.getNumReductionLoops() ? 4 : 1));
    ofProducts =
        std::max(ofProducts,
                 countProductThreads(
                     op, op->getParentOp() == func ? minThreads : 64, units));
  });
  if (ofProducts > 0)
    wanted = ofProducts;
  func.walk([&](scf::ForallOp loop) {
    if (isThreadLoop(loop))
      wanted = std::max(wanted, computeProduct(*countIterations(loop)));
  });
  int64_t count = 32;
  while (count < groupSize && count < wanted)
    count *= 2;
  return std::min(count, groupSize);
}

LogicalResult KernelBuilder::build() {
  if (failed(checkSizes(source)) || failed(generalize(source)))
    return failure();
  bool isGroup = source->hasAttr(kIndependentAttr);
  createFunction();
  numThreads = chooseThreads();
  auto b = ImplicitLocOpBuilder::atBlockBegin(func.getLoc(),
                                              &func.getBody().front());
  Value thread = mlir::gpu::ThreadIdOp::create(b, mlir::gpu::Dimension::x);
  Value group = mlir::gpu::BlockIdOp::create(b, mlir::gpu::Dimension::x);
  threads = {func, numThreads, thread, {}, {}};
  SmallVector<Member, 2> members;
  scf::ExecuteRegionOp last;
  for (Operation &op : func.getBody().front()) {
    if (auto chain = dyn_cast<scf::ExecuteRegionOp>(op))
      last = chain;
    else if (op.getNumRegions() > 0)
      members.push_back({&op, 1, {}});
  }
  // One workgroup runs kernels that follow each other.
  bool isChain = members.size() > 1 && !isGroup;
  numGroups = isChain ? 1 : 0;
  for (Member &member : members) {
    if (auto op = dyn_cast<linalg::GenericOp>(member.op)) {
      member.shares = chooseShares(op, numThreads,
                                   isChain ? numThreads : minThreads, units);
      member.groups = std::max<int64_t>(member.shares.groupsOf(numThreads), 1);
      count(member.shares);
    } else if (auto loop = dyn_cast<scf::ForallOp>(member.op)) {
      int64_t count = computeProduct(*countIterations(loop));
      if (isThreadLoop(loop))
        count = llvm::divideCeil(count, numThreads);
      member.groups = std::max<int64_t>(count, 1);
    }
    if (!isChain)
      numGroups += member.groups;
  }
  // A value that all threads read must not be overwritten before they did.
  if (isChain)
    for (auto load : llvm::make_early_inc_range(
             func.getBody().front().getOps<memref::LoadOp>())) {
      b.setInsertionPointAfter(load);
      mlir::gpu::BarrierOp::create(b);
    }
  int64_t first = 0;
  // Where all that members need is known.
  Operation *insertBefore = members.empty() ? nullptr : members.back().op;
  for (const Member &member : members) {
    if (isChain) {
      emitMember(member, nullptr);
      continue;
    }
    if (members.size() == 1) {
      emitMember(member, group);
      continue;
    }
    // Each is in the else branch of the one before, so that what one computes
    // is not kept for the others.
    b.setInsertionPoint(insertBefore);
    Value own = group;
    if (first > 0)
      own = arith::SubIOp::create(b, group,
                                  arith::ConstantIndexOp::create(b, first));
    first += member.groups;
    if (&member == &members.back()) {
      if (member.op != insertBefore)
        member.op->moveBefore(insertBefore);
    } else {
      Value isBefore =
          arith::CmpIOp::create(b, arith::CmpIPredicate::ult, group,
                                arith::ConstantIndexOp::create(b, first));
      auto branch = scf::IfOp::create(b, isBefore, /*withElseRegion=*/true);
      member.op->moveBefore(branch.thenYield());
      insertBefore = branch.elseYield();
    }
    emitMember(member, own);
  }
  if (last)
    emitLast(last);
  placeBuffers();
  func.setKnownBlockSizeAttr(DenseI32ArrayAttr::get(
      func.getContext(), {static_cast<int32_t>(numThreads), 1, 1}));
  return success();
}

/// Gives the workgroup its own buffers.
void KernelBuilder::placeBuffers() {
  func.walk([&](memref::AllocOp alloc) {
    assert(mlir::gpu::GPUDialect::hasWorkgroupMemoryAddressSpace(
               alloc.getType()) &&
           "memory is planned before");
    alloc.replaceAllUsesWith(
        func.addWorkgroupAttribution(alloc.getType(), alloc.getLoc()));
    alloc.erase();
  });
}

/// Lets workgroup \p group of a member do its part, or this one all of it if
/// \p group is null.
void KernelBuilder::emitMember(const Member &member, Value group) {
  if (auto op = dyn_cast<linalg::GenericOp>(member.op)) {
    ImplicitLocOpBuilder b(op.getLoc(), op);
    if (!group) {
      b.setInsertionPointAfter(op);
      mlir::gpu::BarrierOp::create(b);
    }
    emitShares(op, member.shares, threads, group);
    return;
  }
  auto loop = dyn_cast<scf::ForallOp>(member.op);
  if (loop && isThreadLoop(loop)) {
    if (!group) {
      ImplicitLocOpBuilder b(loop.getLoc(), loop);
      b.setInsertionPointAfter(loop);
      mlir::gpu::BarrierOp::create(b);
    }
    emitThreads(loop, group);
    return;
  }
  emitInside(member.op);
  if (loop)
    inlineLoop(loop, group);
}

/// Lets the workgroup that is done last run \p chain , which counts those that
/// are.
void KernelBuilder::emitLast(scf::ExecuteRegionOp chain) {
  ImplicitLocOpBuilder b(chain.getLoc(), chain);
  Block &body = chain.getRegion().front();
  auto count = *body.getOps<memref::AtomicRMWOp>().begin();
  Value zero = arith::ConstantIndexOp::create(b, 0);
  auto space = mlir::gpu::AddressSpaceAttr::get(
      b.getContext(), mlir::gpu::AddressSpace::Workgroup);
  Value numBefore = func.addWorkgroupAttribution(
      MemRefType::get({1}, b.getI32Type(), MemRefLayoutAttrInterface(), space),
      b.getLoc());
  mlir::gpu::BarrierOp::create(b);
  Value isFirst =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, threads.index, zero);
  auto counts = scf::IfOp::create(b, isFirst, /*withElseRegion=*/false);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(counts.thenBlock());
    count->moveBefore(counts.thenYield());
    memref::StoreOp::create(b, count.getResult(), numBefore, zero)
        ->moveAfter(count);
  }
  mlir::gpu::BarrierOp::create(b);
  Value found = memref::LoadOp::create(b, numBefore, zero);
  Value isLast = arith::CmpIOp::create(
      b, arith::CmpIPredicate::eq, found,
      arith::ConstantOp::create(
          b, b.getI32IntegerAttr(static_cast<int32_t>(numGroups - 1))));
  auto branch = scf::IfOp::create(b, isLast, /*withElseRegion=*/false);
  emitInside(chain);
  Block *inner = branch.thenBlock();
  inner->getOperations().splice(inner->getTerminator()->getIterator(),
                                body.getOperations(), body.begin(),
                                std::prev(body.end()));
  // What the atomic needs stands before it.
  for (Value operand : count->getOperands())
    if (Operation *def = operand.getDefiningOp();
        def && def->getBlock() == inner)
      def->moveBefore(isFirst.getDefiningOp());
  chain.erase();
}

/// Lets the threads share what is in \p root , which all of them run.
void KernelBuilder::emitInside(Operation *root) {
  SmallVector<Operation *> ops;
  root->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (op == root)
      return WalkResult::advance();
    auto loop = dyn_cast<scf::ForallOp>(op);
    if (loop || isa<linalg::GenericOp, memref::LoadOp, memref::StoreOp>(op))
      ops.push_back(op);
    return isa<linalg::GenericOp>(op) || (loop && isThreadLoop(loop))
               ? WalkResult::skip()
               : WalkResult::advance();
  });
  for (Operation *op : ops) {
    ImplicitLocOpBuilder b(op->getLoc(), op);
    b.setInsertionPointAfter(op);
    // A value that all threads read must not be overwritten before they did.
    mlir::gpu::BarrierOp::create(b);
    if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      Shares shares = chooseShares(generic, numThreads, numThreads, units);
      count(shares);
      emitShares(generic, shares, threads, nullptr);
    } else if (isa<memref::StoreOp>(op)) {
      b.setInsertionPoint(op);
      Value isFirst =
          arith::CmpIOp::create(b, arith::CmpIPredicate::eq, threads.index,
                                arith::ConstantIndexOp::create(b, 0));
      auto branch = scf::IfOp::create(b, isFirst, /*withElseRegion=*/false);
      op->moveBefore(branch.thenYield());
    } else if (auto loop = dyn_cast<scf::ForallOp>(op)) {
      if (isThreadLoop(loop)) {
        emitThreads(loop, nullptr);
        continue;
      }
      IRRewriter rewriter(op->getContext());
      rewriter.setInsertionPoint(loop);
      (void)scf::forallToForLoop(rewriter, loop);
    }
  }
}

/// Lets each thread run iterations of \p loop alone.
void KernelBuilder::emitThreads(scf::ForallOp loop, Value group) {
  emitThreadLoop(loop, threads, group);
  ++numThreadLoops;
}

/// Replaces \p loop by its iteration \p group , or by a loop if that is null.
void KernelBuilder::inlineLoop(scf::ForallOp loop, Value group) {
  IRRewriter rewriter(loop.getContext());
  rewriter.setInsertionPoint(loop);
  if (group)
    inlineIteration(rewriter, loop, group);
  else
    (void)scf::forallToForLoop(rewriter, loop);
}
