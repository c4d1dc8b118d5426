//===- EmitNonzero.cpp - Lists of what is not zero ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Of a product of a row that has many zeros with a matrix, only what is not
// multiplied by zeros is read: rows of a matrix that is streamed, and groups of
// rows of one whose integers are summed in groups. What is read does not follow
// what was read before, so that it is fetched by the list.
//
//===----------------------------------------------------------------------===//

#include "Caches.h"
#include "Emitter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::cpu;

/// Groups are visited by a list where no more than this share of them is on it:
/// a thread reads two fifths as much memory in a time by a list as it does from
/// end to end.
static constexpr int64_t kMostListed = 2, kOfGroups = 5;

Value Emitter::allocate(int64_t size, Type element) {
  // On the stack of the thread that runs the kernel, and once.
  OpBuilder::InsertionGuard guard(b);
  auto func = op->getParentOfType<FunctionOpInterface>();
  b.setInsertionPointToStart(&func.getFunctionBody().front());
  return memref::AllocaOp::create(b, MemRefType::get(size, element),
                                  b.getI64IntegerAttr(kLineBytes));
}

Value Emitter::loadNumber(Value numbers, Value at) {
  Value number = memref::LoadOp::create(b, numbers, at);
  return arith::IndexCastOp::create(b, b.getIndexType(), number);
}

void Emitter::storeNumber(Value number, Value numbers, Value at) {
  number = arith::IndexCastOp::create(b, b.getI32Type(), number);
  memref::StoreOp::create(b, number, numbers, at);
}

Value Emitter::addIfNonzero(Value found, Value x) {
  Value zero =
      arith::ConstantOp::create(b, cast<TypedAttr>(b.getZeroAttr(x.getType())));
  Value isNonzero =
      isa<FloatType>(x.getType())
          ? arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, x, zero)
                .getResult()
          : arith::CmpIOp::create(b, arith::CmpIPredicate::ne, x, zero)
                .getResult();
  return arith::SelectOp::create(b, isNonzero, add(found, index(1)), found);
}

void Emitter::appendAhead(const NonzeroList &list, int64_t total) {
  loop(index(0), index(list.ahead), 1, [&](Value iv) {
    Value isListed =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, iv, list.count);
    Value number = arith::SelectOp::create(
        b, isListed, loadNumber(list.numbers, iv), index(0));
    storeNumber(add(number, index(total)), list.numbers, add(list.count, iv));
  });
}

void Emitter::prefetchRun(unsigned input, int64_t elements) {
  Value number = elementNumber(input, 0, 0, 1);
  int64_t bits =
      cast<MemRefType>(bases[input].getType()).getElementTypeBitWidth();
  for (int64_t at = 0; at < elements; at += kLineBytes * 8 / bits)
    prefetchOnce(input, add(number, index(at)));
}

int64_t Emitter::countAhead(int64_t bits, int64_t fetched, int64_t most) {
  return std::clamp<int64_t>(fetched * 8 / std::max<int64_t>(bits, 1), 1, most);
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

bool Emitter::isMatrixOfSteps(unsigned input, unsigned reduction) const {
  const Access &access = s.accesses[input];
  return !access.isScalar && access.strides[s.lane] == 1 &&
         access.strides[reduction] != 0;
}

Emitter::NonzeroList Emitter::listSteps(unsigned reduction) {
  int64_t bits = 0, steps = s.ranges[reduction];
  for (unsigned input = 0; input < op.getNumDpsInputs(); ++input)
    if (isMatrixOfSteps(input, reduction))
      bits += s.chunk *
              cast<MemRefType>(bases[input].getType()).getElementTypeBitWidth();
  NonzeroList list;
  list.ahead =
      llvm::alignTo(countAhead(bits, kFetchRowsAhead, steps), s.streams);
  list.numbers = allocate(steps + list.ahead, b.getI32Type());
  list.count = loop(
      index(0), index(steps), 1, index(0), [&](Value iv, ValueRange found) {
        ivs[reduction] = iv;
        storeNumber(iv, list.numbers, found[0]);
        return Values{addIfNonzero(found[0], load(s.skipped, 0, 0, 1))};
      })[0];
  appendAhead(list, steps);
  return list;
}

void Emitter::prefetchSteps(unsigned reduction, const NonzeroList &list,
                            Value next, int64_t size) {
  ivs[s.lane] = index(0);
  next = add(next, index(list.ahead));
  for (int64_t i = 0; i < size; ++i) {
    ivs[reduction] = loadNumber(list.numbers, add(next, index(i)));
    for (unsigned input = 0; input < op.getNumDpsInputs(); ++input)
      if (isMatrixOfSteps(input, reduction))
        prefetchRun(input, s.chunk);
  }
}

//===----------------------------------------------------------------------===//
// Groups
//===----------------------------------------------------------------------===//

void Emitter::emitWithoutZeros() {
  SmallVector<unsigned> reductions = s.reductionLoops();
  int64_t total = s.ranges[reductions[0]] * s.ranges[reductions[1]];
  listGroups();
  Value isShort =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ule, groups.count,
                            index(total * kMostListed / kOfGroups));
  auto choice = scf::IfOp::create(b, isShort, /*withElseRegion=*/true);
  b.setInsertionPointToStart(choice.thenBlock());
  visitsList = true;
  emitOuter(s.outerLoops(), 0);
  visitsList = false;
  b.setInsertionPointToStart(choice.elseBlock());
  emitOuter(s.outerLoops(), 0);
  b.setInsertionPointAfter(choice);
}

int64_t Emitter::groupElements(unsigned input) const {
  const Access &access = s.accesses[input];
  if (access.isScalar || access.strides[s.reductionLoops().back()] == 0)
    return 0;
  return s.unroll * s.lanes * access.strides[s.lane];
}

void Emitter::listGroups() {
  SmallVector<unsigned> reductions = s.reductionLoops();
  unsigned block = reductions[0], inBlock = reductions[1];
  int64_t perBlock = s.ranges[inBlock], total = perBlock * s.ranges[block];
  int64_t bits = 0;
  for (unsigned input = 0; input < op.getNumDpsInputs(); ++input)
    if (int64_t elements = groupElements(input))
      bits += elements *
              cast<MemRefType>(bases[input].getType()).getElementTypeBitWidth();
  // Once for all parts of the matrix.
  OpBuilder::InsertionGuard guard(b);
  auto func = op->getParentOfType<FunctionOpInterface>();
  b.setInsertionPointToStart(&func.getFunctionBody().front());
  llvm::SaveAndRestore keepBases(bases), keepIndices(ivs);
  llvm::fill(ivs, index(0));
  for (unsigned input : s.skippedGroups)
    bases[input] = flatten(s.accesses[input].operand);
  groups.ahead = countAhead(bits, kFetchGroupsAhead, total);
  groups.numbers = allocate(total + groups.ahead, b.getI32Type());
  groupsBefore = allocate(s.ranges[block] + 1, b.getI32Type());
  storeNumber(index(0), groupsBefore, index(0));
  auto addGroup = [&](Value iv, ValueRange found) {
    ivs[inBlock] = iv;
    storeNumber(add(scaled(ivs[block], perBlock), iv), groups.numbers,
                found[0]);
    Value all;
    for (unsigned input : s.skippedGroups) {
      Value own = loadGroup(input, 0, 0, 1);
      all = all ? arith::OrIOp::create(b, all, own) : own;
    }
    return Values{addIfNonzero(found[0], all)};
  };
  groups.count = loop(index(0), index(s.ranges[block]), 1, index(0),
                      [&](Value iv, ValueRange found) {
                        ivs[block] = iv;
                        Values now =
                            loop(index(0), index(perBlock), 1, found, addGroup);
                        storeNumber(now[0], groupsBefore, add(iv, index(1)));
                        return now;
                      })[0];
  appendAhead(groups, total);
}

Emitter::Values
Emitter::visitListed(ValueRange carried,
                     llvm::function_ref<Values(ValueRange)> body) {
  SmallVector<unsigned> reductions = s.reductionLoops();
  Value &block = ivs[reductions[0]], &inBlock = ivs[reductions[1]];
  Value first = loadNumber(groupsBefore, block);
  Value end = loadNumber(groupsBefore, add(block, index(1)));
  Value before = scaled(block, s.ranges[reductions[1]]);
  return loop(first, end, 1, carried, [&](Value at, ValueRange values) {
    {
      // Among the groups of all blocks, which lie one behind another.
      llvm::SaveAndRestore keepBlock(block, index(0));
      inBlock = loadNumber(groups.numbers, add(at, index(groups.ahead)));
      for (unsigned input = 0; input < op.getNumDpsInputs(); ++input)
        if (int64_t elements = groupElements(input))
          prefetchRun(input, elements);
    }
    inBlock = arith::SubIOp::create(b, loadNumber(groups.numbers, at), before);
    return body(values);
  });
}
