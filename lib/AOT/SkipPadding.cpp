//===- SkipPadding.cpp - Tokens that a block has no room for --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/RegionUtils.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/Passes.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace rwkvc::aot {
#define GEN_PASS_DEF_SKIPPADDING
#include "rwkvc/AOT/Passes.h.inc"
} // namespace rwkvc::aot

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

namespace {

/// Tokens one after the other: those of a block, or of a part of it.
struct Tokens {
  int64_t size;
  Value place; ///< of the first one in the block; null: it is the block's first

  bool operator==(const Tokens &other) const {
    return size == other.size && place == other.place;
  }
};

/// A loop, or an axis of a tensor, along tokens. An axis may be longer than
/// they are by what goes ahead of the first one.
struct Along {
  int64_t number;
  Tokens tokens;
};

/// Which axes of tensors are along a block's tokens.
class TokenAxes {
public:
  explicit TokenAxes(int64_t block) : block(block) {}

  void add(Value tensor, int64_t axis, Tokens tokens) {
    if (getExtent(tensor, axis) >= tokens.size)
      axes.try_emplace(tensor, Along{axis, tokens});
  }

  /// Learns the axes of what \p op computes. Operations come in the order in
  /// which they are computed, terminators after what they end. False if it does
  /// something with tokens that is not known to be done for each by itself.
  bool visit(Operation *op) {
    return llvm::TypeSwitch<Operation *, bool>(op)
        .Case([&](tensor::ExpandShapeOp expand) { return visitExpand(expand); })
        .Case([&](tensor::CollapseShapeOp collapse) {
          return visitCollapse(collapse);
        })
        .Case([&](tensor::CastOp cast) {
          copy(cast.getSource(), cast.getResult());
          return true;
        })
        .Case([&](tensor::ExtractSliceOp slice) {
          visitExtract(slice);
          return true;
        })
        .Case([&](tensor::InsertSliceOp insert) {
          copy(insert.getDest(), insert.getResult());
          visitInsert(insert, insert.getSource(), insert.getResult());
          return true;
        })
        .Case([&](tensor::ParallelInsertSliceOp insert) {
          auto loop = insert->getParentOfType<scf::ForallOp>();
          auto argument = cast<BlockArgument>(insert.getDest());
          visitInsert(insert, insert.getSource(),
                      loop.getTiedOpResult(loop.getTiedOpOperand(argument)));
          return true;
        })
        .Case([&](LoopLikeOpInterface loop) {
          for (auto [init, argument, result] :
               llvm::zip(loop.getInits(), loop.getRegionIterArgs(),
                         loop->getResults())) {
            copy(init, argument);
            copy(init, result);
          }
          return true;
        })
        .Case([&](scf::YieldOp yield) {
          for (auto [value, result] : llvm::zip(
                   yield.getOperands(), yield->getParentOp()->getResults()))
            copy(value, result);
          return true;
        })
        .Case([&](linalg::LinalgOp linalg) { return visitLinalg(linalg); })
        .Default([&](Operation *other) {
          return !readsTokens(other) ||
                 llvm::none_of(other->getResultTypes(),
                               llvm::IsaPred<TensorType>);
        });
  }

  /// The loop of \p op over tokens: that of all operands that have such an
  /// axis, and of what its body reads by the loop's number. None where they
  /// have different ones.
  std::optional<Along> findLoop(linalg::LinalgOp op) const {
    std::optional<Along> found;
    bool isOne = true;
    auto join = [&](std::optional<unsigned> loop, Tokens tokens) {
      isOne &= loop &&
               (!found || (found->number == *loop && found->tokens == tokens));
      if (isOne)
        found = Along{*loop, tokens};
    };
    for (OpOperand &operand : op->getOpOperands())
      if (std::optional<Along> axis = find(operand.get())) {
        auto dim = dyn_cast<AffineDimExpr>(
            op.getMatchingIndexingMap(&operand).getResult(axis->number));
        join(dim ? std::optional(dim.getPosition()) : std::nullopt,
             axis->tokens);
      }
    for (auto extract : op.getBlock()->getOps<tensor::ExtractOp>())
      if (std::optional<Along> axis = find(extract.getTensor())) {
        auto dim =
            extract.getIndices()[axis->number].getDefiningOp<linalg::IndexOp>();
        join(dim ? std::optional<unsigned>(dim.getDim()) : std::nullopt,
             axis->tokens);
      }
    return isOne ? found : std::nullopt;
  }

private:
  std::optional<Along> find(Value tensor) const {
    auto found = axes.find(tensor);
    return found == axes.end() ? std::nullopt
                               : std::optional<Along>(found->second);
  }

  void copy(Value from, Value to) {
    if (std::optional<Along> axis = find(from))
      add(to, axis->number, axis->tokens);
  }

  static int64_t getExtent(Value tensor, int64_t axis) {
    return cast<RankedTensorType>(tensor.getType()).getDimSize(axis);
  }

  bool readsTokens(Operation *op) const {
    auto isAlong = [&](Value value) { return axes.contains(value); };
    llvm::SetVector<Value> used(op->operand_begin(), op->operand_end());
    if (isa<linalg::LinalgOp>(op))
      getUsedValuesDefinedAbove(op->getRegions(), used);
    return llvm::any_of(used, isAlong);
  }

  bool visitLinalg(linalg::LinalgOp op) {
    std::optional<Along> loop = findLoop(op);
    if (!loop)
      return !readsTokens(op);
    if (op.getIteratorTypesArray()[loop->number] !=
            utils::IteratorType::parallel ||
        !op.hasPureTensorSemantics())
      return false;
    for (OpOperand &init : op.getDpsInitsMutable())
      if (std::optional<unsigned> axis =
              op.getMatchingIndexingMap(&init).getResultPosition(
                  getAffineDimExpr(loop->number, op.getContext())))
        add(op->getResult(init.getOperandNumber() - op.getNumDpsInputs()),
            *axis, loop->tokens);
    // No other op is limited, of which those without a sum cost little.
    return isa<linalg::GenericOp>(op) || op.getNumReductionLoops() == 0;
  }

  bool visitExpand(tensor::ExpandShapeOp expand) {
    std::optional<Along> axis = find(expand.getSrc());
    if (!axis)
      return true;
    int64_t extent = getExtent(expand.getSrc(), axis->number);
    auto groups = expand.getReassociationIndices();
    for (int64_t part : groups[axis->number])
      if (getExtent(expand.getResult(), part) == extent)
        add(expand.getResult(), part, axis->tokens);
    return axes.contains(expand.getResult());
  }

  bool visitCollapse(tensor::CollapseShapeOp collapse) {
    std::optional<Along> axis = find(collapse.getSrc());
    if (!axis)
      return true;
    auto groups = collapse.getReassociationIndices();
    for (auto [whole, parts] : llvm::enumerate(groups))
      if (llvm::is_contained(parts, axis->number) &&
          getExtent(collapse.getResult(), whole) ==
              getExtent(collapse.getSrc(), axis->number))
        add(collapse.getResult(), whole, axis->tokens);
    return axes.contains(collapse.getResult());
  }

  void visitExtract(tensor::ExtractSliceOp slice) {
    std::optional<Along> axis = find(slice.getSource());
    if (!axis)
      return;
    llvm::SmallBitVector dropped = slice.getDroppedDims();
    int64_t kept = axis->number;
    for (int64_t i = 0; i < axis->number; ++i)
      kept -= dropped[i];
    Tokens tokens = axis->tokens;
    int64_t size = slice.getStaticSizes()[axis->number];
    if (auto place = dyn_cast<Value>(slice.getMixedOffsets()[axis->number])) {
      // Of a part of a part nothing is known.
      if (tokens.place)
        return;
      places.insert(place);
      if (size == 1)
        return;
      tokens = {size, place};
    }
    if (!dropped[axis->number] && size >= tokens.size)
      add(slice.getResult(), kept, tokens);
  }

  /// \p target is what \p source has become a part of.
  template <typename Insert>
  void visitInsert(Insert insert, Value source, Value target) {
    std::optional<Along> axis = find(source);
    llvm::SmallBitVector dropped = insert.getDroppedDims();
    int64_t next = 0;
    for (auto [i, offset] : llvm::enumerate(insert.getMixedOffsets())) {
      bool isAxis = !dropped[i] && axis && axis->number == next;
      next += !dropped[i];
      auto place = dyn_cast<Value>(offset);
      // A part of the block goes to its place, or to a tensor of its own.
      if (place && places.contains(place) &&
          (!axis || (isAxis && axis->tokens.place == place)))
        add(target, i, {block, Value()});
      else if (isAxis && !place)
        add(target, i, axis->tokens);
    }
  }

  llvm::DenseMap<Value, Along> axes;
  llvm::DenseSet<Value> places; ///< of slices along tokens
  int64_t block;
};

struct SkipPaddingPass : aot::impl::SkipPaddingBase<SkipPaddingPass> {
  using SkipPaddingBase::SkipPaddingBase;

  void runOnOperation() override {
    auto entries = readEntries(getOperation());
    if (failed(entries))
      return signalPassFailure();
    for (auto &[entry, interface] : *entries)
      // Tokens of several texts are not the first ones of all.
      if (interface.lengthInput >= 0 && interface.getBatch() == 1 &&
          interface.getBlock() > 1)
        skip(entry, interface);
  }

  void skip(func::FuncOp entry, const Interface &interface) {
    Tokens all{interface.getBlock(), Value()};
    TokenAxes axes(all.size);
    auto getInput = [&](int64_t index) {
      return entry.getArgument(interface.getInputArgument(index));
    };
    for (Operation *user : getInput(interface.tokenInput).getUsers())
      if (auto tensor = dyn_cast<bufferization::ToTensorOp>(user))
        axes.add(tensor.getResult(), 1, all);
    SmallVector<std::pair<linalg::GenericOp, Along>> found;
    bool isAll = true; // that is done with tokens
    entry.walk<WalkOrder::PreOrder>([&](Operation *op) {
      isAll &= axes.visit(op);
      auto generic = dyn_cast<linalg::GenericOp>(op);
      if (!generic || !generic.hasPureTensorSemantics())
        return;
      std::optional<Along> loop = axes.findLoop(generic);
      if (loop && !givesIndices(generic) &&
          generic.getIteratorTypesArray()[loop->number] ==
              utils::IteratorType::parallel &&
          generic.getStaticLoopRanges()[loop->number] == loop->tokens.size)
        found.emplace_back(generic, *loop);
    });
    if (found.empty())
      return;
    auto b = ImplicitLocOpBuilder::atBlockBegin(entry.getLoc(),
                                                &entry.getBody().front());
    Value length = arith::IndexCastOp::create(
        b, b.getIndexType(),
        memref::LoadOp::create(b, getInput(interface.lengthInput)));
    for (auto [op, loop] : found)
      limit(op, loop.number, countNeeded(op, loop.tokens, length));
    Interface limited = interface;
    limited.skipsPadding = isAll;
    entry->setAttr(kInterfaceAttr, toAttribute(limited, &getContext()));
    numLimited += found.size();
  }

  /// Whether what \p op yields may say where others read: rows that are
  /// computed in passing must not read elsewhere.
  static bool givesIndices(linalg::GenericOp op) {
    return llvm::any_of(op.getResultTypes(), [](Type type) {
      Type element = getElementTypeOrSelf(type);
      return element.isIndex() ||
             (element.isInteger() && element.getIntOrFloatBitWidth() >= 32);
    });
  }

  /// How many of \p tokens are within \p length , for \p op.
  static Value countNeeded(Operation *op, Tokens tokens, Value length) {
    if (!tokens.place)
      return length;
    ImplicitLocOpBuilder b(op->getLoc(), op);
    Value left = arith::SubIOp::create(b, length, tokens.place);
    left =
        arith::MaxSIOp::create(b, left, arith::ConstantIndexOp::create(b, 0));
    return arith::MinSIOp::create(
        b, left, arith::ConstantIndexOp::create(b, tokens.size));
  }

  /// Gives \p op the input that says how much of its loop is needed.
  static void limit(linalg::GenericOp op, int64_t loop, Value needed) {
    Builder b(op.getContext());
    int64_t number = op.getNumDpsInputs();
    op.getInputsMutable().append(needed);
    SmallVector<AffineMap> maps = op.getIndexingMapsArray();
    maps.insert(maps.begin() + number,
                AffineMap::get(op.getNumLoops(), 0, b.getContext()));
    op.setIndexingMapsAttr(b.getAffineMapArrayAttr(maps));
    op.getBody()->insertArgument(number, needed.getType(), op.getLoc());
    op->setAttr(kNeededAttr, b.getDenseI64ArrayAttr({loop, number}));
  }
};

} // namespace
