//===- EmitDotProducts.cpp - Sums of products of small numbers ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "Emitter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

namespace {

/// How groups of four numbers without a sign, times as many activations of 8
/// bits, are added to a sum in each lane. Exact for all of them.
class DotProduct {
public:
  /// For \p numSummed groups of numbers up to \p largest in each lane. Where
  /// \p isSymmetric , activations are from -127 to 127.
  DotProduct(ImplicitLocOpBuilder &b, DotProducts level, int64_t lanes,
             int64_t largest, int64_t numSummed, bool isSymmetric)
      : b(b), lanes(lanes) {
    int64_t bits = 32 * lanes, most = level == DotProducts::AVX2 ? 256 : 512;
    if (level == DotProducts::Generic ||
        !llvm::is_contained({128, 256, 512}, bits) || bits > most)
      return;
    // Two of a group are added in 16 bits; beyond, the instruction saturates.
    int64_t ofPair = 2 * 128 * largest;
    if (level >= DotProducts::VNNI)
      kind = Kind::Quads;
    else if (ofPair * numSummed <= INT16_MAX)
      kind = Kind::ShortPairs;
    else if (ofPair <= INT16_MAX)
      kind = Kind::Pairs;
    else if (isSymmetric)
      kind = Kind::SignedPairs;
  }

  /// What numbers are less by while they are multiplied.
  int64_t bias() const { return kind == Kind::SignedPairs ? 128 : 0; }
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
    case Kind::SignedPairs:
      return addSigned(sum, numbers, x);
    case Kind::Generic:
      break;
    }
    auto wide = VectorType::get(4 * lanes, b.getI32Type());
    Value products =
        arith::MulIOp::create(b, arith::ExtUIOp::create(b, wide, numbers),
                              arith::ExtSIOp::create(b, wide, x));
    auto halve = [&](Value value) -> Value {
      auto halves = vector::DeinterleaveOp::create(b, value);
      return arith::AddIOp::create(b, halves.getRes1(), halves.getRes2());
    };
    return arith::AddIOp::create(b, sum, halve(halve(products)));
  }

  /// A sum in 32 bits.
  Value widen(Value sum) const { return isWide() ? sum : joinPairs(sum); }

private:
  enum class Kind { Generic, ShortPairs, Pairs, SignedPairs, Quads };

  Value call(const Twine &intrinsic, Type type, ValueRange operands) const {
    return LLVM::CallIntrinsicOp::create(b, type, b.getStringAttr(intrinsic),
                                         operands)
        ->getResult(0);
  }
  Value splat(VectorType type, int64_t value) const {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(
               type, b.getIntegerAttr(type.getElementType(), value)));
  }

  /// Products of \p numbers less the bias. Magnitudes have no sign, and what
  /// they are multiplied with takes it: no sum of two is beyond 16 bits.
  Value addSigned(Value sum, Value numbers, Value x) const {
    auto type = cast<VectorType>(numbers.getType());
    Value zero = splat(type, 0);
    numbers = arith::XOrIOp::create(b, numbers, splat(type, INT8_MIN));
    Value magnitudes = arith::MaxSIOp::create(
        b, numbers, arith::SubIOp::create(b, zero, numbers));
    static constexpr StringRef names[] = {"llvm.x86.ssse3.psign.b.128",
                                          "llvm.x86.avx2.psign.b"};
    if (lanes <= 8) {
      x = call(names[llvm::Log2_64(lanes / 4)], type, {x, numbers});
    } else {
      Value isNegative =
          arith::CmpIOp::create(b, arith::CmpIPredicate::slt, numbers, zero);
      x = arith::SelectOp::create(b, isNegative,
                                  arith::SubIOp::create(b, zero, x), x);
    }
    return arith::AddIOp::create(b, sum, joinPairs(addPairs(magnitudes, x)));
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
    return call(names[llvm::Log2_64(lanes / 4)],
                VectorType::get(lanes, b.getI32Type()),
                {pairs, splat(cast<VectorType>(pairs.getType()), 1)});
  }

  ImplicitLocOpBuilder &b;
  int64_t lanes;
  Kind kind = Kind::Generic;
};

} // namespace

Value Emitter::addPairs(Value sum, Value x, Value y) {
  auto type = cast<VectorType>(sum.getType());
  int64_t bits = 32 * type.getNumElements();
  if (dotProducts >= DotProducts::BF16 &&
      llvm::is_contained({128, 256, 512}, bits))
    return LLVM::CallIntrinsicOp::create(
               b, type,
               b.getStringAttr("llvm.x86.avx512bf16.dpbf16ps." + Twine(bits)),
               ValueRange{sum, x, y})
        ->getResult(0);
  // A number of bf16 is the upper half of the same in f32.
  auto asBits = type.clone(b.getI32Type());
  auto constant = [&](uint32_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(asBits, APInt(32, value)));
  };
  auto widen = [&](Value pairs) {
    pairs = vector::BitCastOp::create(b, asBits, pairs);
    Value halves[] = {arith::ShLIOp::create(b, pairs, constant(16)),
                      arith::AndIOp::create(b, pairs, constant(0xffff0000))};
    return std::array<Value, 2>{arith::BitcastOp::create(b, type, halves[0]),
                                arith::BitcastOp::create(b, type, halves[1])};
  };
  for (auto [left, right] : llvm::zip_equal(widen(x), widen(y))) {
    auto fast = arith::FastMathFlags::contract;
    Value product = arith::MulFOp::create(b, left, right, fast);
    sum = arith::AddFOp::create(b, sum, product, fast);
  }
  return sum;
}

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
                                   int64_t lanes, int64_t bias) {
  Values starts(count), factors;
  APInt zero(32, 0);
  Value constant;
  if (!s.common->zero || matchPattern(s.common->zero, m_ConstantInt(&zero))) {
    if (zero == bias)
      return {};
    constant = arith::ConstantOp::create(
        b, b.getI32IntegerAttr(bias - zero.getSExtValue()));
  } else {
    factors = evaluate(Values(count), unroll, lanes, Part::Zero);
    Value biases = broadcast(
        arith::ConstantOp::create(b, b.getI32IntegerAttr(bias)), lanes);
    for (Value &factor : factors)
      factor = arith::SubIOp::create(b, biases, factor);
  }
  for (int64_t row = 0; row < rows; ++row) {
    Value sum = load(s.common->blockSums, row, 0, 1);
    if (!sum.getType().isInteger(32))
      sum = arith::ExtSIOp::create(b, b.getI32Type(), sum);
    if (constant)
      sum = arith::MulIOp::create(b, sum, constant);
    sum = broadcast(sum, lanes);
    for (int64_t i = row * unroll; i < (row + 1) * unroll; ++i)
      starts[i] = constant ? sum : arith::MulIOp::create(b, sum, factors[i]);
  }
  return starts;
}

Emitter::Values Emitter::sumDots(unsigned loop, unsigned count, int64_t unroll,
                                 int64_t lanes) {
  const CommonFactor &common = *s.common;
  int64_t largest = 0;
  for (const DotTerm &dot : common.dots)
    largest = std::max(largest, dot.largest);
  // Numbers that go through tiles get a sign where they can have one.
  std::optional<int64_t> ofTiles =
      fillsTiles() ? findSignedZero(common) : std::nullopt;
  bool hasZero = common.zero && !ofTiles;
  bool hasSums = common.blockSums >= 0;
  DotProduct product(b, dotProducts, lanes, largest,
                     s.ranges[loop] * common.dots.size(), hasSums);
  Values starts;
  if (hasSums && !ofTiles)
    starts = startSums(count, unroll, lanes, product.bias());
  Values sums(count, product.makeZero());
  if (!starts.empty() && product.isWide())
    sums = starts;
  // Where nobody knows the sums of activations, they are added up as well.
  bool addsUp = hasZero && !hasSums;
  if (addsUp)
    sums.append(rows, product.makeZero());
  Value ones = arith::ConstantOp::create(
      b, DenseElementsAttr::get(VectorType::get(4 * lanes, b.getI8Type()),
                                b.getI8IntegerAttr(1)));
  auto addAll = [&](ValueRange carried) {
    Values results(carried);
    for (const DotTerm &dot : common.dots) {
      bool isPerRow = s.row >= 0 && changesAlong(op, dot.numbers, s.row);
      Values numbers(unroll);
      for (int64_t row = 0; row < rows; ++row) {
        Value x = loadGroups(dot.input, row, 0, lanes);
        for (int64_t part = 0; part < unroll; ++part) {
          if (row == 0 || isPerRow)
            numbers[part] = computeNumbers(dot, row, part, lanes);
          Value &sum = results[row * unroll + part];
          sum = product.add(sum, numbers[part], x);
        }
        if (addsUp)
          results[count + row] = product.add(results[count + row], ones, x);
      }
    }
    return results;
  };
  sums = fillsTiles() ? addTiles(loop, sums, lanes, ofTiles)
                      : emitReductions(loop, sums, addAll);
  for (Value &sum : sums)
    sum = product.widen(sum);
  if (!starts.empty() && !product.isWide())
    for (auto [sum, start] : llvm::zip_equal(sums, starts))
      sum = arith::AddIOp::create(b, sum, start);
  if (addsUp) {
    Values zeros = evaluate(Values(count), unroll, lanes, Part::Zero);
    for (unsigned i = 0; i < count; ++i) {
      Value part = arith::MulIOp::create(b, zeros[i], sums[count + i / unroll]);
      sums[i] = arith::SubIOp::create(b, sums[i], part);
    }
    sums.truncate(count);
  }
  return sums;
}
