//===- EmitCommonFactor.cpp - Sums of integers and their scale ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "BodyAnalysis.h"
#include "Emitter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

Emitter::Values Emitter::emitCommonFactor(unsigned loop, ValueRange sums,
                                          int64_t unroll, int64_t lanes) {
  Values terms;
  if (!s.common->dots.empty()) {
    terms = sumDots(loop, sums.size(), unroll, lanes);
    ivs[loop] = index(0);
  } else {
    Type type = s.common->summed.getType();
    Value zero = broadcast(
        arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(type))),
        lanes);
    terms = emitReductions(
        loop, Values(sums.size(), zero), [&](ValueRange carried) {
          return evaluate(Values(carried), unroll, lanes, Part::Terms);
        });
    ivs[loop] = index(0);
    if (s.common->zero)
      subtractZeros(terms, unroll, lanes);
  }
  if (s.common->summed != s.common->rest)
    for (Value &term : terms)
      term = arith::SIToFPOp::create(
          b, cloneType(term.getType(), s.common->rest.getType()), term);
  partials = terms;
  Values results = evaluate(Values(sums), unroll, lanes, Part::Total);
  partials.clear();
  return results;
}

bool Emitter::subtractsZero(Operation *each) {
  return s.common->zero && isa<arith::SubIOp>(each) &&
         each->getOperand(1) == s.common->zero;
}

void Emitter::sumBlocks() {
  SmallVector<unsigned> reductions = s.reductionLoops();
  unsigned block = reductions[0], inBlock = reductions[1];
  Type type = s.common->summed.getType();
  blockSums = allocate(s.ranges[block], type);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointAfterValue(blockSums);
  Values buffers;
  for (unsigned input : s.common->multiplied)
    buffers.push_back(flatten(s.accesses[input].operand));
  loop(index(0), index(s.ranges[block]), 1, [&](Value iv) {
    Value total;
    for (auto [input, buffer] :
         llvm::zip_equal(s.common->multiplied, buffers)) {
      const Access &access = s.accesses[input];
      Value first =
          add(scaled(iv, access.strides[block]), index(access.constant));
      Type element = cast<MemRefType>(buffer.getType()).getElementType();
      auto row = VectorType::get(2 * s.ranges[inBlock], element);
      Value all = vector::LoadOp::create(b, row, buffer, first);
      all = arith::ExtSIOp::create(b, row.clone(type), all);
      Value sum =
          vector::ReductionOp::create(b, vector::CombiningKind::ADD, all);
      total = total ? add(total, sum) : sum;
    }
    memref::StoreOp::create(b, total, blockSums, iv);
  });
}

void Emitter::subtractZeros(Values &terms, int64_t unroll, int64_t lanes) {
  Value total =
      memref::LoadOp::create(b, blockSums, ivs[s.reductionLoops().front()]);
  total = broadcast(total, lanes);
  Values zeros = evaluate(Values(terms.size()), unroll, lanes, Part::Zero);
  for (auto [term, zero] : llvm::zip_equal(terms, zeros)) {
    if (zero.getType() != term.getType())
      zero = arith::ExtSIOp::create(b, term.getType(), zero);
    term =
        arith::SubIOp::create(b, term, arith::MulIOp::create(b, total, zero));
  }
}

Value Emitter::loadGroup(unsigned operand, int64_t row, int64_t part,
                         int64_t lanes) {
  Type element = cast<MemRefType>(bases[operand].getType()).getElementType();
  int64_t size = s.groupSize();
  Type all = b.getIntegerType(size * element.getIntOrFloatBitWidth());
  Value members =
      vector::LoadOp::create(b, VectorType::get(size, element), bases[operand],
                             elementNumber(operand, row, part, lanes));
  Value group = vector::BitCastOp::create(b, VectorType::get(1, all), members);
  return vector::ExtractOp::create(b, group, 0);
}

Value Emitter::loadGroups(unsigned operand, int64_t row, int64_t part,
                          int64_t lanes) {
  const Access &access = s.accesses[operand];
  int64_t size = s.groupSize();
  // The same for all.
  if (access.isScalar || access.strides[s.group] == 0) {
    Value value = load(operand, row, part, lanes);
    if (isa<VectorType>(value.getType()))
      for (int64_t copies = 1; copies < size; copies *= 2)
        value = vector::InterleaveOp::create(b, value, value);
    return value;
  }
  Type element = cast<MemRefType>(bases[operand].getType()).getElementType();
  auto type = VectorType::get(size * lanes, element);
  if (access.strides[s.lane] != 0) {
    Value number = elementNumber(operand, row, part, lanes);
    fetchNext(operand, part, type, number);
    return vector::LoadOp::create(b, type, bases[operand], number);
  }
  Value group = loadGroup(operand, row, part, lanes);
  group = vector::BroadcastOp::create(
      b, VectorType::get(lanes, group.getType()), group);
  return vector::BitCastOp::create(b, type, group);
}

void Emitter::addTerms(Value value, IRMapping &mapping, Value &total) {
  int64_t lanes = 1;
  if (auto type = dyn_cast<VectorType>(total.getType()))
    lanes = type.getNumElements();
  auto addTerm = [&](Value term) {
    term = mapping.lookupOrDefault(term);
    if (s.group >= 0) {
      auto members = vector::DeinterleaveOp::create(b, term);
      term = add(members.getRes1(), members.getRes2());
    }
    term = broadcast(term, lanes);
    if (isa<IntegerType>(getElementTypeOrSelf(term.getType()))) {
      total = add(total, term);
      return;
    }
    auto sum = arith::AddFOp::create(b, total, term);
    sum.setFastmath(arith::FastMathFlags::contract);
    total = sum;
  };
  forEachTerm(value, op.getBody(), addTerm, [](Operation *) {});
}
