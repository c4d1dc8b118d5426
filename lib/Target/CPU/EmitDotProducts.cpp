//===- EmitDotProducts.cpp - Sums of products of small integers -----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Emitter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// Half of a byte, for products that must fit 16 bits.
static constexpr int64_t kHalfBits = 4, kHalfLargest = 15;

namespace {

/// How groups of four numbers without a sign, times as many activations of 8
/// bits, are added to a sum in each lane. Exact for all of them.
class DotProduct {
public:
  /// For \p numSummed groups of numbers up to \p largest in each lane.
  DotProduct(ImplicitLocOpBuilder &b, DotProducts level, int64_t lanes,
             int64_t largest, int64_t numSummed)
      : b(b), lanes(lanes) {
    int64_t bits = 32 * lanes, most = bits;
    if (level == DotProducts::AVX2)
      most = 256;
    if (level == DotProducts::Generic ||
        !llvm::is_contained({128, 256, 512}, bits) || bits > most)
      return;
    if (level == DotProducts::VNNI) {
      kind = Kind::Quads;
      return;
    }
    // Two of a group are added in 16 bits; beyond, the instruction saturates.
    int64_t ofPair = 2 * 128 * largest;
    if (ofPair > INT16_MAX) {
      isHalved = true;
      ofPair = 2 * 128 * kHalfLargest;
    }
    kind = ofPair * numSummed <= INT16_MAX ? Kind::ShortPairs : Kind::Pairs;
  }

  /// Whether numbers must be given in halves.
  bool needsHalves() const { return isHalved; }
  /// Whether a sum may start from any number of 32 bits.
  bool isWide() const { return kind != Kind::ShortPairs; }

  /// A sum of nothing.
  Value makeZero() const {
    auto type = isWide() ? VectorType::get(lanes, b.getI32Type())
                         : VectorType::get(2 * lanes, b.getI16Type());
    return arith::ConstantOp::create(b, b.getZeroAttr(type));
  }

  /// \p sum plus the products of \p numbers and \p x , vectors of groups.
  Value add(Value sum, Value numbers, Value x) const {
    switch (kind) {
    case Kind::Quads:
      return call("llvm.x86.avx512.vpdpbusd." + Twine(32 * lanes),
                  sum.getType(), {sum, numbers, x});
    case Kind::ShortPairs:
      return arith::AddIOp::create(b, sum, addPairs(numbers, x));
    case Kind::Pairs:
      return arith::AddIOp::create(b, sum, joinPairs(addPairs(numbers, x)));
    case Kind::Generic:
      break;
    }
    auto wide = VectorType::get(4 * lanes, b.getI32Type());
    Value products =
        arith::MulIOp::create(b, arith::ExtUIOp::create(b, wide, numbers),
                              arith::ExtSIOp::create(b, wide, x));
    for (int64_t size : {4, 2}) {
      (void)size;
      auto halves = vector::DeinterleaveOp::create(b, products);
      products = arith::AddIOp::create(b, halves.getRes1(), halves.getRes2());
    }
    return arith::AddIOp::create(b, sum, products);
  }

  /// A sum in 32 bits.
  Value widen(Value sum) const { return isWide() ? sum : joinPairs(sum); }

private:
  enum class Kind { Generic, ShortPairs, Pairs, Quads };

  Value call(const Twine &intrinsic, Type type, ValueRange operands) const {
    return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(intrinsic),
                                         operands)
        ->getResult(0);
  }
  /// Products in pairs, of 16 bits.
  Value addPairs(Value numbers, Value x) const {
    static constexpr StringRef names[] = {"llvm.x86.ssse3.pmadd.ub.sw.128",
                                          "llvm.x86.avx2.pmadd.ub.sw",
                                          "llvm.x86.avx512.pmaddubs.w.512"};
    return call(names[llvm::Log2_64(lanes / 4)],
                VectorType::get(2 * lanes, b.getI16Type()), {numbers, x});
  }
  /// Both pairs of a group.
  Value joinPairs(Value pairs) const {
    static constexpr StringRef names[] = {"llvm.x86.sse2.pmadd.wd",
                                          "llvm.x86.avx2.pmadd.wd",
                                          "llvm.x86.avx512.pmaddw.d.512"};
    Value ones = arith::ConstantOp::create(
        b, DenseElementsAttr::get(cast<ShapedType>(pairs.getType()),
                                  b.getI16IntegerAttr(1)));
    return call(names[llvm::Log2_64(lanes / 4)],
                VectorType::get(lanes, b.getI32Type()), {pairs, ones});
  }

  ImplicitLocOpBuilder &b;
  int64_t lanes;
  Kind kind = Kind::Generic;
  bool isHalved = false;
};

} // namespace

Value Emitter::computeNumbers(const DotTerm &dot, int64_t row, int64_t part,
                              int64_t lanes) {
  IRMapping mapping;
  llvm::SetVector<Operation *> ops = getSlice(dot.numbers);
  auto mapArgument = [&](Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    if (argument && argument.getOwner() == op.getBody() &&
        !mapping.contains(value))
      mapping.map(value, loadGroups(argument.getArgNumber(), row, part, lanes));
  };
  mapArgument(dot.numbers);
  for (Operation *each : ops)
    for (Value operand : each->getOperands())
      mapArgument(operand);
  for (Operation *each : ops)
    clone(*each, mapping, row, part, 4 * lanes);
  return broadcast(mapping.lookupOrDefault(dot.numbers), 4 * lanes);
}

Emitter::Values Emitter::startSums(unsigned count, int64_t unroll,
                                   int64_t lanes) {
  auto type = VectorType::get(lanes, b.getI32Type());
  Values starts(count), zeros;
  APInt constant;
  bool isConstant = matchPattern(s.common->zero, m_ConstantInt(&constant));
  if (!isConstant)
    zeros = evaluate(Values(count), unroll, lanes, Part::Zero);
  Value nothing = arith::ConstantOp::create(b, b.getZeroAttr(type));
  for (int64_t row = 0; row < rows; ++row) {
    Value sum = load(s.common->blockSums, row, 0, 1);
    if (!sum.getType().isInteger(32))
      sum = arith::ExtSIOp::create(b, b.getI32Type(), sum);
    if (isConstant) {
      Value factor = arith::ConstantOp::create(
          b, b.getI32IntegerAttr(-constant.getSExtValue()));
      sum = arith::MulIOp::create(b, sum, factor);
    }
    sum = broadcast(sum, lanes);
    for (int64_t part = 0; part < unroll; ++part) {
      Value &start = starts[row * unroll + part];
      start = sum;
      if (!isConstant) {
        Value zero = zeros[row * unroll + part];
        start = arith::MulIOp::create(b, sum,
                                      arith::SubIOp::create(b, nothing, zero));
      }
    }
  }
  return starts;
}

Emitter::Values Emitter::sumDots(unsigned loop, unsigned count, int64_t unroll,
                                 int64_t lanes) {
  const CommonFactor &common = *s.common;
  int64_t largest = 0;
  for (const DotTerm &dot : common.dots)
    largest = std::max(largest, dot.largest);
  DotProduct product(b, dotProducts, lanes, largest,
                     s.ranges[loop] * common.dots.size());
  // Nobody knows the sums of activations: they are added up as well.
  bool needsSums = common.zero && common.blockSums < 0;
  auto splat = [&](int64_t value) -> Value {
    auto type = VectorType::get(4 * lanes, b.getI8Type());
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, b.getI8IntegerAttr(value)));
  };
  auto addUp = [&](llvm::function_ref<Value(Value)> choose, Values starts) {
    Values sums = emitReductions(loop, starts, [&](ValueRange carried) {
      Values results(carried);
      for (const DotTerm &dot : common.dots) {
        auto isPerRow = [&](Value value) {
          return s.row >= 0 && changesAlong(op, value, s.row);
        };
        Values numbers(unroll);
        for (int64_t row = 0; row < rows; ++row) {
          Value x = loadGroups(dot.input, row, 0, lanes);
          for (int64_t part = 0; part < unroll; ++part) {
            if (!numbers[part] || isPerRow(dot.numbers))
              numbers[part] = choose(computeNumbers(dot, row, part, lanes));
            Value &sum = results[row * unroll + part];
            sum = product.add(sum, numbers[part], x);
          }
          if (results.size() > count)
            results[count + row] =
                product.add(results[count + row], splat(1), x);
        }
      }
      return results;
    });
    for (Value &sum : sums)
      sum = product.widen(sum);
    return sums;
  };
  Values starts;
  bool hasStarts = common.zero && !needsSums;
  if (hasStarts)
    starts = startSums(count, unroll, lanes);
  Values zeros(count + (needsSums ? rows : 0), product.makeZero());
  bool startsWide = hasStarts && product.isWide();
  auto all = [](Value numbers) { return numbers; };
  Values sums;
  if (product.needsHalves()) {
    Value shift = splat(kHalfBits), mask = splat(kHalfLargest);
    sums = addUp(
        [&](Value numbers) -> Value {
          return arith::AndIOp::create(b, numbers, mask);
        },
        startsWide ? starts : zeros);
    Values high = addUp(
        [&](Value numbers) -> Value {
          return arith::ShRUIOp::create(b, numbers, shift);
        },
        Values(count, product.makeZero()));
    Value amount = broadcast(
        arith::ConstantOp::create(b, b.getI32IntegerAttr(kHalfBits)), lanes);
    for (unsigned i = 0; i < count; ++i)
      sums[i] = arith::AddIOp::create(
          b, sums[i], arith::ShLIOp::create(b, high[i], amount));
  } else {
    sums = addUp(all, startsWide ? starts : zeros);
  }
  if (hasStarts && !startsWide)
    for (auto [sum, start] : llvm::zip_equal(sums, starts))
      sum = arith::AddIOp::create(b, sum, start);
  if (needsSums) {
    Values points = evaluate(Values(count), unroll, lanes, Part::Zero);
    for (unsigned i = 0; i < count; ++i)
      sums[i] = arith::SubIOp::create(
          b, sums[i],
          arith::MulIOp::create(b, points[i], sums[count + i / unroll]));
    sums.truncate(count);
  }
  return sums;
}
