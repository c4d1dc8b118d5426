//===- CommonFactor.cpp - Factors that leave a sum ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CommonFactor.h"
#include "BodyAnalysis.h"
#include "KernelSchedule.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include "rwkvc/Target/CPU/Passes.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

std::optional<CommonFactor> cpu::findFactor(linalg::GenericOp op,
                                            const Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  Value accumulator = op.getRegionOutputArgs()[0];
  auto sum = op.getBody()->getTerminator()->getOperand(0).getDefiningOp();
  if (op.getNumDpsInits() != 1 || reductions.empty() ||
      !isa_and_nonnull<arith::AddFOp>(sum) ||
      !llvm::is_contained(sum->getOperands(), accumulator) ||
      !accumulator.hasOneUse())
    return std::nullopt;
  int64_t numSummed = s.ranges[reductions.back()] * s.groupSize();
  Value term = sum->getOperand(sum->getOperand(0) == accumulator ? 1 : 0);
  auto product = term.getDefiningOp<arith::MulFOp>();
  if (!product || !product->hasOneUse())
    return std::nullopt;
  for (unsigned i : {0u, 1u}) {
    Value factor = product->getOperand(i), rest = product->getOperand(1 - i);
    if (changesAlong(op, factor, reductions.back()) ||
        !changesAlong(op, rest, reductions.back()))
      continue;
    // Where the sum cannot overflow.
    Value summed = rest;
    auto widened = rest.getDefiningOp<arith::SIToFPOp>();
    std::optional<int64_t> bits =
        widened && widened.getIn().getType().isInteger(32)
            ? countSignificantBits(widened.getIn())
            : std::nullopt;
    if (bits && *bits + llvm::Log2_64_Ceil(numSummed) <= 32)
      summed = widened.getIn();
    CommonFactor common;
    common.product = product;
    common.sum = sum;
    common.factor = factor;
    common.rest = rest;
    common.summed = summed;
    return common;
  }
  return std::nullopt;
}

/// Whether something in \p func may write elements of \p type .
static bool writesElements(FunctionOpInterface func, Type type) {
  auto result = func->walk([&](Operation *op) {
    if (op == func || op->hasTrait<OpTrait::HasRecursiveMemoryEffects>() ||
        isMemoryEffectFree(op))
      return WalkResult::advance();
    auto interface = dyn_cast<MemoryEffectOpInterface>(op);
    if (!interface)
      return WalkResult::interrupt();
    SmallVector<MemoryEffects::EffectInstance> effects;
    interface.getEffects<MemoryEffects::Write>(effects);
    bool mayWrite = llvm::any_of(effects, [&](auto &effect) {
      return !effect.getValue() ||
             getElementTypeOrSelf(effect.getValue().getType()) == type;
    });
    return mayWrite ? WalkResult::interrupt() : WalkResult::advance();
  });
  return result.wasInterrupted();
}

/// Whether \p access is to an argument that the function only reads, to the
/// same elements in all parallel loops and the lanes, of which groups lie one
/// behind another.
static bool isRowOfGroups(linalg::GenericOp op, const Schedule &s,
                          const Access &access) {
  auto argument = dyn_cast<BlockArgument>(access.operand);
  auto func =
      argument
          ? dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp())
          : nullptr;
  if (access.isScalar || !func ||
      writesElements(func, getElementTypeOrSelf(argument.getType())))
    return false;
  for (unsigned d = 0; d < s.ranges.size(); ++d)
    if (!s.isReduction[d] && s.ranges[d] > 1 && access.strides[d] != 0)
      return false;
  return access.strides[s.group] == 1 &&
         access.strides[s.reductionLoops().back()] == s.groupSize();
}

static Value skipExtension(Value value) {
  auto extension = value.getDefiningOp<arith::ExtSIOp>();
  return extension ? extension.getIn() : value;
}

void cpu::findSkippedGroups(linalg::GenericOp op, Schedule &s) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  if (!op->hasAttr(kSkipZerosAttr) || s.group < 0 || s.row >= 0 ||
      reductions.size() != 2)
    return;
  SmallVector<unsigned, 2> rows;
  auto addTerm = [&](Value term) {
    auto product = term.getDefiningOp<arith::MulIOp>();
    for (unsigned i : {0u, 1u}) {
      auto x =
          product
              ? dyn_cast<BlockArgument>(skipExtension(product->getOperand(i)))
              : nullptr;
      if (!x || x.getOwner() != op.getBody() ||
          op.isDpsInit(op.getMatchingOpOperand(x)) ||
          !isRowOfGroups(op, s, s.accesses[x.getArgNumber()]))
        continue;
      rows.push_back(x.getArgNumber());
      return true;
    }
    return false;
  };
  bool isSum = true;
  forEachTerm(
      s.common->summed, op.getBody(),
      [&](Value term) { isSum = isSum && addTerm(term); }, [](Operation *) {});
  // Groups of a matrix are fetched by their number.
  unsigned block = reductions[0], inBlock = reductions[1];
  bool isEven = llvm::all_of(s.accesses, [&](const Access &access) {
    return access.isScalar || access.strides[s.lane] == 0 ||
           access.strides[inBlock] == 0 ||
           access.strides[block] == access.strides[inBlock] * s.ranges[inBlock];
  });
  if (isSum && isEven)
    s.skippedGroups = rows;
}

void cpu::findZero(linalg::GenericOp op, Schedule &s) {
  if (s.reductionLoops().size() != 2)
    return;
  unsigned loop = s.reductionLoops().back();
  Value zero;
  SmallVector<unsigned, 2> multiplied;
  auto addTerm = [&](Value term) {
    auto product = term.getDefiningOp<arith::MulIOp>();
    for (unsigned i : {0u, 1u}) {
      if (!product)
        return false;
      auto weight =
          skipExtension(product->getOperand(i)).getDefiningOp<arith::SubIOp>();
      auto x =
          dyn_cast<BlockArgument>(skipExtension(product->getOperand(1 - i)));
      if (!weight || !x || x.getOwner() != op.getBody())
        continue;
      // Exact, and the same for all of a block.
      int64_t width = weight.getType().getIntOrFloatBitWidth();
      std::optional<int64_t> left = countSignificantBits(weight.getLhs());
      std::optional<int64_t> right = countSignificantBits(weight.getRhs());
      if (!left || !right || std::max(*left, *right) >= width ||
          (zero && zero != weight.getRhs()) ||
          changesAlong(op, weight.getRhs(), loop) ||
          changesAlong(op, weight.getRhs(), s.group) ||
          !isRowOfGroups(op, s, s.accesses[x.getArgNumber()]))
        return false;
      zero = weight.getRhs();
      multiplied.push_back(x.getArgNumber());
      return true;
    }
    return false;
  };
  bool isShared = true;
  forEachTerm(
      s.common->summed, op.getBody(),
      [&](Value term) { isShared &= addTerm(term); }, [](Operation *) {});
  if (!isShared)
    return;
  s.common->zero = zero;
  s.common->multiplied = multiplied;
}

bool cpu::findDots(linalg::GenericOp op, Schedule &s) {
  CommonFactor &common = *s.common;
  unsigned loop = s.reductionLoops().back();
  std::optional<Value> zero;
  auto addTerm = [&](Value term) {
    auto product = term.getDefiningOp<arith::MulIOp>();
    for (unsigned i : {0u, 1u}) {
      auto x = product ? product->getOperand(i).getDefiningOp<arith::ExtSIOp>()
                       : nullptr;
      auto argument = x ? dyn_cast<BlockArgument>(x.getIn()) : nullptr;
      if (!argument || argument.getOwner() != op.getBody() ||
          !argument.getType().isInteger(8))
        continue;
      const Access &access = s.accesses[argument.getArgNumber()];
      Value weight = product->getOperand(1 - i), ownZero;
      if (auto less = weight.getDefiningOp<arith::SubIOp>()) {
        weight = less.getLhs();
        ownZero = less.getRhs();
      }
      auto numbers = weight.getDefiningOp<arith::ExtUIOp>();
      if (!numbers || !numbers.getIn().getType().isInteger(8) ||
          access.isScalar || access.strides[s.group] == 0 ||
          access.strides[s.lane] != 0 ||
          (ownZero && (changesAlong(op, ownZero, loop) ||
                       changesAlong(op, ownZero, s.group))) ||
          zero.value_or(ownZero) != ownZero)
        return false;
      zero = ownZero;
      common.dots.push_back({argument.getArgNumber(), numbers.getIn(),
                             findLargest(numbers.getIn())});
      return true;
    }
    return false;
  };
  bool isSum = true;
  forEachTerm(
      common.summed, op.getBody(),
      [&](Value term) { isSum = isSum && addTerm(term); }, [](Operation *) {});
  if (!isSum)
    return false;
  common.zero = *zero;
  if (auto sums = op->getAttrOfType<IntegerAttr>(kBlockSumsAttr);
      sums && sums.getInt() >= 0 && sums.getInt() < op.getNumDpsInputs())
    common.blockSums = sums.getInt();
  return true;
}

std::optional<int64_t> cpu::findSignedZero(const CommonFactor &dots) {
  APInt zero(32, 0);
  if (dots.zero && !matchPattern(dots.zero, m_ConstantInt(&zero)))
    return std::nullopt;
  int64_t number = zero.getSExtValue();
  bool fits = number >= 0 && number <= 128 &&
              llvm::all_of(dots.dots, [&](const DotTerm &dot) {
                return dot.largest - number <= INT8_MAX;
              });
  return fits ? std::optional(number) : std::nullopt;
}
