//===- WKVChunks.cpp - Several tokens of a recurrence at once -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// RecurrenceOpInterface::buildChunk: the parallel forms, as matrix products.
//
// wkv4 is a softmax over the carried state and the chunk's tokens, per channel,
// with the row's maximum subtracted: every exponential is at most 1.
//
// The matrix states work on sub-blocks of 16 tokens. Token i's key is seen by a
// query at t > i through the product of the decays between them. Those products
// are never written as a quotient of two cumulative ones, nor as exponentials
// of differences of logarithms:
//  - inside a sub-block the keys so far are kept decayed to the present token,
//    as the recurrence itself would (a recurrence of 16 columns, not of V);
//  - between sub-blocks the boundary is the reference: queries carry the decay
//    since their block began, keys the decay up to there.
// Nothing can overflow that does not in the recurrent form; a decay that
// underflows to 0 is exact; and no assumption on the decays is needed, be they
// factors of a foreign graph outside (0, 1]. Both forms multiply the very same
// factors, so mixing them costs no accuracy either.
//
//===----------------------------------------------------------------------===//

#include "StepBuilder.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "rwkvc/Dialect/WKV/IR/WKV.h"

using namespace mlir;
using namespace rwkvc::wkv;

using Values = SmallVector<Value>;
using Dims = StepBuilder::Dims;

//===----------------------------------------------------------------------===//
// wkv4
//===----------------------------------------------------------------------===//

int64_t Wkv4Op::getChunkGranularity() { return 1; }

/// An exponential in simple operations.
static constexpr double kExp = 16;

WorkPerToken Wkv4Op::estimateWork(int64_t length) {
  // Exponentials: four; or one for each token seen and each of the chunk's (a
  // row's end included), and two for the carried sums.
  double perToken =
      length == 0 ? 4 * kExp + 16 : length * (kExp + 20) + 3 * kExp + 30;
  return {static_cast<double>(shapeOf(getKey())[2]) * perToken, 0};
}

/// (\p later - \p earlier) * \p decay, for loop numbers.
static Value fade(ImplicitLocOpBuilder &b, Value later, Value earlier,
                  Value decay) {
  Value gap = arith::SubIOp::create(b, later, earlier);
  gap = arith::IndexCastOp::create(b, b.getI64Type(), gap);
  return mul(b, arith::SIToFPOp::create(b, decay.getType(), gap), decay);
}

Values Wkv4Op::buildChunk(OpBuilder &builder, Value first, int64_t length,
                          ValueRange states) {
  StepBuilder step(builder, getLoc(), states[0]);
  Value num = states[0], den = states[1], max = states[2];
  Value key = step.rows(getKey(), first, length);
  Value value = step.rows(getValue(), first, length);
  int64_t batch = shapeOf(num)[0], channels = shapeOf(num)[1];
  // Loops: sequence, token of the output, channel, token that is seen.
  constexpr unsigned B = 0, T = 1, C = 2, I = 3;
  Dims outputs{B, T, C}, seen{B, I, C}, state{B, C}, channel{C};
  SmallVector<int64_t> shape{batch, length, channels};

  // Exponents. The carried state has t decays behind it at token t, token i has
  // t - 1 - i; the present token has the bonus.
  auto carried = [](ImplicitLocOpBuilder &b, Value max, Value decay) {
    Value t = linalg::IndexOp::create(b, T);
    Value zero = arith::ConstantIndexOp::create(b, 0);
    return add(b, fade(b, t, zero, decay), max);
  };
  auto exponent = [](ImplicitLocOpBuilder &b, Value key, Value decay,
                     Value bonus) {
    Value t = linalg::IndexOp::create(b, T), i = linalg::IndexOp::create(b, I);
    Value one = arith::ConstantIndexOp::create(b, 1);
    Value past = fade(b, arith::SubIOp::create(b, t, one), i, decay);
    Value isNow = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, i, t);
    return add(b, arith::SelectOp::create(b, isNow, bonus, past), key);
  };
  // Tokens that are yet to come are left out by a select: their exponents are
  // not bounded.
  auto isSeen = [](ImplicitLocOpBuilder &b) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ule,
                                 linalg::IndexOp::create(b, I),
                                 linalg::IndexOp::create(b, T));
  };
  Value top = step.generic(
      {max, getDecay()}, step.empty(shape), {state, channel, outputs}, 3, {},
      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        return {carried(b, a[0], a[1])};
      })[0];
  top = step.generic(
      {key, getDecay(), getBonus()}, top, {seen, channel, channel, outputs}, 4,
      {I}, [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        Value larger = maximum(b, a[3], exponent(b, a[0], a[1], a[2]));
        return {arith::SelectOp::create(b, isSeen(b), larger, a[3])};
      })[0];
  Values sums = step.generic(
      {max, getDecay(), top, num, den}, {step.empty(shape), step.empty(shape)},
      {state, channel, outputs, state, state, outputs, outputs}, 3, {},
      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        Value scale = exp(b, sub(b, carried(b, a[0], a[1]), a[2]));
        return {mul(b, scale, a[3]), mul(b, scale, a[4])};
      });
  sums = step.generic(
      {key, value, getDecay(), getBonus(), top}, sums,
      {seen, seen, channel, channel, outputs, outputs, outputs}, 4, {I},
      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        Value weight = exp(b, sub(b, exponent(b, a[0], a[2], a[3]), a[4]));
        Value zero =
            arith::ConstantOp::create(b, b.getFloatAttr(weight.getType(), 0.0));
        weight = arith::SelectOp::create(b, isSeen(b), weight, zero);
        return {add(b, mul(b, weight, a[1]), a[5]), add(b, weight, a[6])};
      });
  Value y =
      step.generic(sums, step.empty(shape), {outputs, outputs, outputs}, 3, {},
                   [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                     return {arith::DivFOp::create(b, a[0], a[1])};
                   })[0];

  // The state after the chunk: the same with all tokens seen, and no bonus.
  constexpr unsigned J = 2;
  Dims ahead{B, J, 1}, last{B, 1}, column{1};
  auto atEnd = [&](ImplicitLocOpBuilder &b, Value key, Value decay) {
    Value end = arith::ConstantIndexOp::create(b, length - 1);
    return add(b, fade(b, end, linalg::IndexOp::create(b, J), decay), key);
  };
  auto faded = [&](ImplicitLocOpBuilder &b, Value max, Value decay) {
    Value count = arith::ConstantOp::create(
        b, b.getFloatAttr(decay.getType(), static_cast<double>(length)));
    return add(b, mul(b, count, decay), max);
  };
  Value next = step.generic(
      {max, getDecay()}, step.empty(shapeOf(max)), {last, column, last}, 2, {},
      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        return {faded(b, a[0], a[1])};
      })[0];
  next = step.generic({key, getDecay()}, next, {ahead, column, last}, 3, {J},
                      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                        return {maximum(b, a[2], atEnd(b, a[0], a[1]))};
                      })[0];
  sums = step.generic(
      {max, getDecay(), next}, {num, den}, {last, column, last, last, last}, 2,
      {}, [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        Value scale = exp(b, sub(b, faded(b, a[0], a[1]), a[2]));
        return {mul(b, scale, a[3]), mul(b, scale, a[4])};
      });
  sums = step.generic(
      {key, value, getDecay(), next}, sums,
      {ahead, ahead, column, last, last, last}, 3, {J},
      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
        Value weight = exp(b, sub(b, atEnd(b, a[0], a[2]), a[3]));
        return {add(b, mul(b, weight, a[1]), a[4]), add(b, weight, a[5])};
      });
  // The maximum, in the place of the old one, which the sums above still read.
  next = step.generic({next, getDecay()}, max, {last, column, last}, 2, {},
                      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                        return {maximum(b, a[0], faded(b, a[2], a[1]))};
                      })[0];
  return {y, sums[0], sums[1], next};
}

//===----------------------------------------------------------------------===//
// Matrix states
//===----------------------------------------------------------------------===//

/// Tokens of a sub-block.
static constexpr int64_t kBlock = 16;

int64_t Wkv6Op::getChunkGranularity() { return kBlock; }
int64_t Wkv7Op::getChunkGranularity() { return kBlock; }

namespace {

/// A tensor and the loops of its axes.
struct Operand {
  Value value;
  Dims dims;
};

/// A vector per token that is multiplied with the keys seen so far.
struct Query {
  Value rows;   ///< [B, T, H, K]
  bool seesOwn; ///< the present token's key and decay included
};

/// A sub-block on its own; N columns, kBlock for each kind of key.
struct SubBlock {
  Values scores; ///< per query [B, kBlock, H, N]: its products with the keys
  Values
      queries; ///< per query [B, kBlock, H, K]: decayed since the block began
  Value keys;  ///< [B, H, K, N]: decayed to the end of the block
  Value total; ///< [B, H, K]: decay over the block
};

class ChunkBuilder : public StepBuilder {
  static constexpr unsigned B = 0, H = 1;

public:
  ChunkBuilder(OpBuilder &builder, Location loc, Value state, Value decay)
      : StepBuilder(builder, loc, state), decay(decay),
        batch(shapeOf(state)[0]), heads(shapeOf(state)[1]),
        keySize(shapeOf(state)[2]), valueSize(shapeOf(state)[3]) {}

  /// sum + left right, over the loops sequence, head, row, column and summed.
  Value contract(Operand left, Operand right, Operand sum) {
    return generic({left.value, right.value}, sum.value,
                   {left.dims, right.dims, sum.dims}, 5, {4},
                   [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                     return {add(b, mul(b, a[0], a[1]), a[2])};
                   })[0];
  }

  /// \p target times \p factor, in the place of the target.
  Value scale(Operand target, Operand factor, unsigned numDims) {
    return generic(factor.value, target.value, {factor.dims, target.dims},
                   numDims, {},
                   [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                     return {mul(b, a[1], a[0])};
                   })[0];
  }

  /// Rows of the unit matrix, for each of \p kinds one that fills its own
  /// kBlock columns: [kBlock, kinds, kinds * kBlock].
  Value units(int64_t kinds) {
    return generic(
        {}, empty({kBlock, kinds, kinds * kBlock}), {{0, 1, 2}}, 3, {},
        [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
          Value size = arith::ConstantIndexOp::create(b, kBlock);
          Value place = arith::AddIOp::create(
              b,
              arith::MulIOp::create(b, Value(linalg::IndexOp::create(b, 1)),
                                    size),
              linalg::IndexOp::create(b, 0));
          Value isOwn =
              arith::CmpIOp::create(b, arith::CmpIPredicate::eq, place,
                                    linalg::IndexOp::create(b, 2));
          Type type = a[0].getType();
          auto number = [&](double x) {
            return arith::ConstantOp::create(b, b.getFloatAttr(type, x));
          };
          return {arith::SelectOp::create(b, isOwn, number(1), number(0))};
        })[0];
  }

  /// The decays of \p token and their loops, \p k being the key's.
  Operand decayRow(Value token, unsigned k) {
    Value w = row(decay, getAsOpFoldResult(token));
    if (shapeOf(w)[0] == batch)
      return {w, {B, H, k}};
    w = tensor::CollapseShapeOp::create(
        builder, loc, w, ArrayRef<ReassociationIndices>{{0, 1}, {2}});
    return {w, {H, k}};
  }

  /// The sub-block of the tokens from \p first on. \p keys are [B, T, H, K].
  SubBlock buildBlock(Value first, ArrayRef<Query> queries,
                      ArrayRef<Value> keys, Value units) {
    int64_t columns = keys.size() * kBlock;
    Values carried;
    for (size_t i = 0; i < queries.size(); ++i)
      carried.push_back(empty({batch, kBlock, heads, columns}));
    for (size_t i = 0; i < queries.size(); ++i)
      carried.push_back(empty({batch, kBlock, heads, keySize}));
    carried.push_back(zeros({batch, heads, keySize, columns}));
    carried.push_back(filled({batch, heads, keySize}, 1.0));
    auto loop = scf::ForOp::create(
        builder, loc, index(0), index(kBlock), index(1), carried,
        [&](OpBuilder &nested, Location, Value t, ValueRange values) {
          OpBuilder::InsertionGuard guard(builder);
          builder.setInsertionPoint(nested.getInsertionBlock(),
                                    nested.getInsertionPoint());
          scf::YieldOp::create(
              builder, loc,
              buildToken(first, t, queries, keys, units, Values(values)));
        });
    SubBlock block;
    Values results(loop.getResults());
    block.total = results.pop_back_val();
    block.keys = results.pop_back_val();
    block.scores.assign(results.begin(), results.begin() + queries.size());
    block.queries.assign(results.begin() + queries.size(), results.end());
    return block;
  }

  Value decay;
  int64_t batch, heads, keySize, valueSize;

private:
  Values buildToken(Value first, Value t, ArrayRef<Query> queries,
                    ArrayRef<Value> keys, Value units, Values values) {
    Value token = arith::AddIOp::create(builder, loc, first, t);
    size_t n = queries.size(), numKeys = keys.size();
    int64_t columns = numKeys * kBlock;
    Value &decayed = values[2 * n], &total = values[2 * n + 1];

    // One pass over the decayed keys: every query's products, and the keys'
    // own update. Loops: sequence, head, column, key element.
    Operand w = decayRow(token, 3);
    Dims element{B, H, 3}, column{B, H, 2}, unit{2};
    Values inputs{w.value}, inits;
    SmallVector<Dims> maps{w.dims};
    for (auto [kind, key] : llvm::enumerate(keys)) {
      inputs.push_back(row(key, token));
      maps.push_back(element);
      inputs.push_back(unitRow(units, t, kind));
      maps.push_back(unit);
    }
    for (const Query &query : queries) {
      inputs.push_back(row(query.rows, token));
      maps.push_back(element);
      inits.push_back(zeros({batch, heads, columns}));
    }
    maps.append(n, column);
    inits.push_back(decayed);
    maps.push_back({B, H, 3, 2});
    size_t firstQuery = 1 + 2 * numKeys, firstSum = firstQuery + n;
    Values results = generic(
        inputs, inits, maps, 4, {3},
        [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
          Value old = a.back(), next = mul(b, a[0], old);
          for (size_t kind = 0; kind < numKeys; ++kind)
            next = add(b, next, mul(b, a[1 + 2 * kind], a[2 + 2 * kind]));
          Values sums;
          for (size_t i = 0; i < n; ++i)
            sums.push_back(add(
                b, mul(b, a[firstQuery + i], queries[i].seesOwn ? next : old),
                a[firstSum + i]));
          sums.push_back(next);
          return sums;
        });
    decayed = results.pop_back_val();
    for (size_t i = 0; i < n; ++i)
      values[i] = insertRow(results[i], values[i], t);

    // The queries, decayed since the block began.
    w = decayRow(token, 2);
    element = {B, H, 2};
    inputs = {w.value};
    inits.clear();
    maps = {w.dims};
    for (const Query &query : queries) {
      inputs.push_back(row(query.rows, token));
      inits.push_back(empty({batch, heads, keySize}));
    }
    inits.push_back(total);
    maps.append(2 * n + 1, element);
    results = generic(inputs, inits, maps, 3, {},
                      [&](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                        Value old = a.back(), next = mul(b, old, a[0]);
                        Values products;
                        for (size_t i = 0; i < n; ++i)
                          products.push_back(mul(
                              b, a[1 + i], queries[i].seesOwn ? next : old));
                        products.push_back(next);
                        return products;
                      });
    total = results.pop_back_val();
    for (size_t i = 0; i < n; ++i)
      values[n + i] = insertRow(results[i], values[n + i], t);
    return values;
  }

  Value unitRow(Value units, Value t, int64_t kind) {
    int64_t columns = shapeOf(units)[2];
    SmallVector<OpFoldResult> offsets{t, builder.getIndexAttr(kind),
                                      builder.getIndexAttr(0)};
    SmallVector<OpFoldResult> sizes{builder.getIndexAttr(1),
                                    builder.getIndexAttr(1),
                                    builder.getIndexAttr(columns)};
    SmallVector<OpFoldResult> strides(3, builder.getIndexAttr(1));
    return tensor::ExtractSliceOp::create(
        builder, loc, RankedTensorType::get({columns}, element), units, offsets,
        sizes, strides);
  }
};

/// What the blocks of a chunk hand on: keys decayed to the end of the last
/// block and the values that belong to them, column by row.
class Chunk {
public:
  static constexpr unsigned B = 0, H = 1, I = 2, J = 3, R = 4;

  Chunk(ChunkBuilder &b, Value state, int64_t numColumns)
      : b(b), state(state),
        keys(b.empty({b.batch, b.heads, b.keySize, numColumns})),
        total(b.filled({b.batch, b.heads, b.keySize}, 1.0)) {}

  /// Adds to \p sum, whose loops are \p sumDims, what \p queries ([B, kBlock,
  /// H, K], decayed since their block began) read from the state and from the
  /// \p numColumns keys before it, whose values are the rows of \p values.
  Value read(Value queries, Operand values, int64_t numColumns, Operand sum) {
    Dims token{B, I, H, R};
    // The decay from the chunk's beginning to the block's goes to the query.
    Value whole = queries;
    if (numColumns > 0)
      whole = b.generic({queries, total}, b.empty(shapeOf(queries)),
                        {{0, 1, 2, 3}, {0, 2, 3}, {0, 1, 2, 3}}, 4, {},
                        [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                          return {mul(b, a[0], a[1])};
                        })[0];
    sum.value = b.contract({whole, token}, {state, {B, H, R, J}}, sum);
    if (numColumns == 0)
      return sum.value;
    Value scores = b.contract(
        {queries, token}, {columns(numColumns), {B, H, R, J}},
        {b.zeros({b.batch, kBlock, b.heads, numColumns}), {B, I, H, J}});
    return b.contract({scores, token}, values, sum);
  }

  /// Appends the keys of \p block, \p numColumns being there already.
  void append(const SubBlock &block, int64_t numColumns) {
    if (numColumns > 0) {
      Value decayed = b.scale({columns(numColumns), {0, 1, 2, 3}},
                              {block.total, {0, 1, 2}}, 4);
      keys = insertColumns(decayed, 0);
    }
    keys = insertColumns(block.keys, numColumns);
    total = b.scale({total, {0, 1, 2}}, {block.total, {0, 1, 2}}, 3);
  }

  /// The state after all blocks.
  Value finish(Operand values) {
    Value next = b.scale({state, {0, 1, 2, 3}}, {total, {0, 1, 2}}, 4);
    return b.contract({keys, {B, H, I, R}}, values, {next, {B, H, I, J}});
  }

private:
  SmallVector<OpFoldResult> attrs(ArrayRef<int64_t> values) {
    return getAsIndexOpFoldResult(b.builder.getContext(), values);
  }
  Value columns(int64_t count) {
    return tensor::ExtractSliceOp::create(
        b.builder, b.loc, keys, attrs({0, 0, 0, 0}),
        attrs({b.batch, b.heads, b.keySize, count}), attrs({1, 1, 1, 1}));
  }
  Value insertColumns(Value part, int64_t first) {
    return tensor::InsertSliceOp::create(
        b.builder, b.loc, part, keys, attrs({0, 0, 0, first}),
        attrs({b.batch, b.heads, b.keySize, shapeOf(part)[3]}),
        attrs({1, 1, 1, 1}));
  }

  ChunkBuilder &b;
  Value state, keys, total;
};

} // namespace

//===----------------------------------------------------------------------===//
// wkv6
//===----------------------------------------------------------------------===//

WorkPerToken Wkv6Op::estimateWork(int64_t length) {
  double h = getNumHeads(), k = shapeOf(getKey())[3],
         v = shapeOf(getValue())[3];
  if (length == 0)
    return {h * 3 * k * v, 0};
  // Columns that were there before the token's block, on average.
  double earlier = (length - kBlock) / 2.0;
  return {h * (kBlock * 3 * k + earlier * k / kBlock + 8 * k),
          h * (2 * k * v + earlier * (k + v) + kBlock * v)};
}

Values Wkv6Op::buildChunk(OpBuilder &builder, Value first, int64_t length,
                          ValueRange packed) {
  constexpr unsigned B = 0, H = 1, I = 2, J = 3, R = 4;
  ChunkBuilder b(builder, getLoc(), packed[0], getDecay());
  Value units = b.units(1);
  Value y = b.empty({b.batch, length, b.heads, b.valueSize});
  Chunk chunk(b, packed[0], length);
  Dims seen{B, R, H, J}, token{B, I, H, J};
  for (int64_t start = 0; start < length; start += kBlock) {
    Value at = arith::AddIOp::create(builder, getLoc(), first, b.index(start));
    SubBlock block =
        b.buildBlock(at, {{getReceptance(), false}}, {getKey()}, units);
    // The present token's own key counts with the bonus.
    Value r = b.rows(getReceptance(), at, kBlock);
    Value k = b.rows(getKey(), at, kBlock), v = b.rows(getValue(), at, kBlock);
    Value own =
        b.generic({r, getBonus(), k}, b.zeros({b.batch, kBlock, b.heads}),
                  {{0, 1, 2, 3}, {2, 3}, {0, 1, 2, 3}, {0, 1, 2}}, 4, {3},
                  [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                    return {add(b, mul(b, mul(b, a[0], a[1]), a[2]), a[3])};
                  })[0];
    Value sum =
        b.generic({own, v}, b.empty({b.batch, kBlock, b.heads, b.valueSize}),
                  {{0, 1, 2}, {0, 1, 2, 3}, {0, 1, 2, 3}}, 4, {},
                  [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                    return {mul(b, a[0], a[1])};
                  })[0];
    sum = b.contract({block.scores[0], {B, I, H, R}}, {v, seen}, {sum, token});
    Operand before;
    if (start > 0)
      before = {b.rows(getValue(), first, start), seen};
    sum = chunk.read(block.queries[0], before, start, {sum, token});
    y = b.insertRows(sum, y, builder.getIndexAttr(start));
    chunk.append(block, start);
  }
  Value values = b.rows(getValue(), first, length);
  return {y, chunk.finish({values, seen})};
}

//===----------------------------------------------------------------------===//
// wkv7
//===----------------------------------------------------------------------===//

/// Rows of [B, N, H, V] from \p first on.
static Value rowsOf(ChunkBuilder &b, Value tensor, int64_t first,
                    int64_t count) {
  return b.rows(tensor, b.builder.getIndexAttr(first), count);
}

/// Solves x = right + \p scores x, the scores being strictly lower triangular
/// ([B, kBlock, H, kBlock]), row by row: forward substitution is backward
/// stable where a series of the scores' powers is not. \p right is
/// [B, kBlock, H, V].
static Value substitute(ChunkBuilder &b, Value scores, Value right) {
  auto loop = scf::ForOp::create(
      b.builder, b.loc, b.index(1), b.index(kBlock), b.index(1), right,
      [&](OpBuilder &nested, Location, Value t, ValueRange values) {
        OpBuilder::InsertionGuard guard(b.builder);
        b.builder.setInsertionPoint(nested.getInsertionBlock(),
                                    nested.getInsertionPoint());
        // Loops: sequence, head, column, row that is known. Rows that are not
        // known yet have scores of 0.
        Value row =
            b.generic({b.row(scores, t), values[0]}, b.row(values[0], t),
                      {{0, 1, 3}, {0, 3, 1, 2}, {0, 1, 2}}, 4, {3},
                      [](ImplicitLocOpBuilder &b, ValueRange a) -> Values {
                        return {add(b, mul(b, a[0], a[1]), a[2])};
                      })[0];
        scf::YieldOp::create(b.builder, b.loc, b.insertRow(row, values[0], t));
      });
  return loop.getResult(0);
}

WorkPerToken Wkv7Op::estimateWork(int64_t length) {
  double h = getNumHeads(), k = shapeOf(getKey())[3],
         v = shapeOf(getValue())[3];
  if (length == 0)
    return {h * 5 * k * v, 0};
  double earlier = length - kBlock;
  return {h * (2 * kBlock * 5 * k + earlier * k / kBlock + kBlock * v + 8 * k),
          h * (4 * k * v + 2 * earlier * (k + v) + 3 * kBlock * v)};
}

Values Wkv7Op::buildChunk(OpBuilder &builder, Value first, int64_t length,
                          ValueRange packed) {
  constexpr unsigned B = 0, H = 1, I = 2, J = 3, R = 4;
  ChunkBuilder b(builder, getLoc(), packed[0], getDecay());
  Value units = b.units(2);
  Value y = b.empty({b.batch, length, b.heads, b.valueSize});
  // Each token has two keys, k with the value v, and b with the row that the
  // state gives for a, S a. The columns of a block are first those of k.
  int64_t width = 2 * kBlock;
  Chunk chunk(b, packed[0], 2 * length);
  Value values = b.empty({b.batch, 2 * length, b.heads, b.valueSize});
  Dims seen{B, R, H, J}, token{B, I, H, J};
  auto columns = [&](Value scores, int64_t begin, int64_t count) -> Value {
    auto attrs = [&](ArrayRef<int64_t> numbers) {
      return getAsIndexOpFoldResult(builder.getContext(), numbers);
    };
    return tensor::ExtractSliceOp::create(
        builder, getLoc(), scores, attrs({0, 0, 0, begin}),
        attrs({b.batch, kBlock, b.heads, count}), attrs({1, 1, 1, 1}));
  };
  for (int64_t start = 0; start < length; start += kBlock) {
    Value at = arith::AddIOp::create(builder, getLoc(), first, b.index(start));
    SubBlock block =
        b.buildBlock(at, {{getA(), false}, {getReceptance(), true}},
                     {getKey(), getB()}, units);
    Value v = b.rows(getValue(), at, kBlock);
    int64_t before = 2 * start;
    Operand earlier;
    if (before > 0)
      earlier = {rowsOf(b, values, 0, before), seen};
    Value zeros = b.zeros({b.batch, kBlock, b.heads, b.valueSize});
    Value removed =
        chunk.read(block.queries[0], earlier, before, {zeros, token});
    removed = b.contract({columns(block.scores[0], 0, kBlock), {B, I, H, R}},
                         {v, seen}, {removed, token});
    removed = substitute(b, columns(block.scores[0], kBlock, kBlock), removed);

    values = b.insertRows(v, values, builder.getIndexAttr(before));
    values =
        b.insertRows(removed, values, builder.getIndexAttr(before + kBlock));
    zeros = b.zeros({b.batch, kBlock, b.heads, b.valueSize});
    Value sum =
        b.contract({block.scores[1], {B, I, H, R}},
                   {rowsOf(b, values, before, width), seen}, {zeros, token});
    if (before > 0)
      earlier = {rowsOf(b, values, 0, before), seen};
    sum = chunk.read(block.queries[1], earlier, before, {sum, token});
    y = b.insertRows(sum, y, builder.getIndexAttr(start));
    chunk.append(block, before);
  }
  return {y, chunk.finish({values, seen})};
}
