//===- Restriction.cpp - One token or text from a fixed number ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The opposite of lifting: the axis of the tokens, or of the texts, is followed
// from the arguments through every op, and the function is built again with one
// of them. That is right where the op computes each unit's row from that unit's
// rows alone; only ops that are known may do otherwise.
//
//===----------------------------------------------------------------------===//

#include "Restriction.h"
#include "Forms.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Transforms/RegionUtils.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::wkv;

//===----------------------------------------------------------------------===//
// Values that are the same for all units
//===----------------------------------------------------------------------===//

/// A constant whose rows are equal.
Value Restriction::reduceConstant(Value value, const Place &place) {
  RankedTensorType type = tensorType(value), to = typeAt(type, place);
  Attribute attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return {};
  auto dense = dyn_cast<DenseElementsAttr>(attr);
  if (dense && dense.isSplat())
    return arith::ConstantOp::create(b, value.getLoc(), dense.resizeSplat(to));
  std::optional<ArrayRef<char>> raw = getRawBytes(attr);
  unsigned bits = type.getElementTypeBitWidth();
  if (!raw || bits % 8 != 0)
    return {};
  ArrayRef<char> bytes = *raw;
  int64_t inner = place.inner * (bits / 8), outer = place.outer;
  for (int64_t size : type.getShape().drop_front(place.dim + 1))
    inner *= size;
  for (int64_t size : type.getShape().take_front(place.dim))
    outer *= size;
  SmallVector<char> kept;
  for (int64_t o = 0; o < outer; ++o) {
    ArrayRef<char> first = bytes.slice(o * numUnits * inner, inner);
    for (int64_t n = 1; n < numUnits; ++n)
      if (bytes.slice((o * numUnits + n) * inner, inner) != first)
        return {};
    llvm::append_range(kept, first);
  }
  return arith::ConstantOp::create(
      b, value.getLoc(), DenseElementsAttr::getFromRawBuffer(to, kept));
}

/// A copy of \p op with \p operands, whose regions read the counterparts of
/// what they read.
Operation *Restriction::cloneWith(Operation *op, ValueRange operands) {
  // Not with the whole mapping: what that knows of the regions of an earlier
  // copy would stand for their own arguments.
  IRMapping captured;
  llvm::SetVector<Value> outer;
  getUsedValuesDefinedAbove(op->getRegions(), outer);
  for (Value value : outer)
    captured.map(value, mapping.lookup(value));
  Operation *copy = b.clone(*op, captured);
  copy->setOperands(operands);
  return copy;
}

/// \p value, which does not depend on the units, for one where a place for
/// each is laid out; null where these differ.
Value Restriction::reduce(Value value, const Place &place) {
  RankedTensorType to = typeAt(value.getType(), place);
  if (value.getDefiningOp<tensor::EmptyOp>())
    return tensor::EmptyOp::create(b, value.getLoc(), to.getShape(),
                                   to.getElementType());
  if (Value constant = reduceConstant(value, place))
    return constant;
  auto op = value.getDefiningOp<linalg::LinalgOp>();
  if (!op || op->getNumResults() != 1 || op.hasIndexSemantics())
    return {};
  AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  auto loop = dyn_cast<AffineDimExpr>(out.getResult(place.dim));
  if (!loop || llvm::count_if(out.getResults(), [&](AffineExpr expr) {
                 return expr.isFunctionOfDim(loop.getPosition());
               }) != 1)
    return {};
  for (OpOperand *input : op.getDpsInputOperands())
    if (op.getMatchingIndexingMap(input).isFunctionOfDim(loop.getPosition()))
      return {};
  Value init = reduce(op.getDpsInits()[0], place);
  if (!init)
    return {};
  SmallVector<Value> operands;
  for (OpOperand *input : op.getDpsInputOperands())
    operands.push_back(mapping.lookup(input->get()));
  operands.push_back(init);
  Operation *copy = cloneWith(op, operands);
  copy->getResult(0).setType(to);
  return copy->getResult(0);
}

/// The counterpart of \p value at \p place; null where it is elsewhere.
Value Restriction::get(Value value, const Place &place) {
  Place own = placeOf(value);
  if (own == place)
    return mapping.lookup(value);
  if (own.kind != Place::Common)
    return {};
  return place.kind == Place::Rows ? reduce(value, place)
                                   : mapping.lookup(value);
}

/// The place that all operands of an op share which treats them alike.
FailureOr<Place> Restriction::join(Operation *op) {
  Place place;
  for (Value operand : op->getOperands()) {
    Place own = placeOf(operand);
    if (own.kind == Place::Common || own == place)
      continue;
    if (place.kind != Place::Common || own.kind == Place::State) {
      refuse(op) << "combines different " << unit << "s' values";
      return failure();
    }
    place = own;
  }
  return place;
}

//===----------------------------------------------------------------------===//
// linalg and tensor
//===----------------------------------------------------------------------===//

/// The loop over units, from operands and from tensors that the body reads at
/// the index of a loop.
LogicalResult Restriction::findUnitLoop(linalg::LinalgOp op,
                                        std::optional<unsigned> &loop,
                                        Place &place) {
  auto agree = [&](unsigned candidate, const Place &own) -> LogicalResult {
    if (place.kind == Place::Common) {
      loop = candidate;
      place = own.at(0);
      return success();
    }
    if (place.kind == Place::Rows && loop == candidate && place == own.at(0))
      return success();
    return refuse(op) << "combines different " << unit << "s' values";
  };
  for (OpOperand &operand : op->getOpOperands()) {
    Place own = placeOf(operand.get());
    if (own.kind == Place::Common)
      continue;
    if (own.kind == Place::State)
      return refuse(op) << "reads a state";
    if (own.kind == Place::Last) {
      if (place.kind == Place::Rows)
        return refuse(op) << "combines different " << unit << "s' values";
      place.kind = Place::Last;
      continue;
    }
    AffineMap map = op.getMatchingIndexingMap(&operand);
    auto dim = dyn_cast<AffineDimExpr>(map.getResult(own.dim));
    if (!dim)
      return refuse(op) << "reads " << unit << "s at computed places";
    if (failed(agree(dim.getPosition(), own)))
      return failure();
  }
  llvm::SetVector<Value> outer;
  getUsedValuesDefinedAbove(op->getRegions(), outer);
  for (Value value : outer) {
    Place own = placeOf(value);
    if (own.kind == Place::Common)
      continue;
    for (OpOperand &use : value.getUses()) {
      if (!op->isProperAncestor(use.getOwner()))
        continue;
      auto extract = dyn_cast<tensor::ExtractOp>(use.getOwner());
      auto index =
          extract && own.kind == Place::Rows
              ? extract.getIndices()[own.dim].getDefiningOp<linalg::IndexOp>()
              : nullptr;
      if (!index)
        return refuse(op) << "reads " << unit << "s at computed places";
      if (failed(agree(index.getDim(), own)))
        return failure();
    }
  }
  return success();
}

LogicalResult Restriction::restrictLinalg(linalg::LinalgOp op) {
  std::optional<unsigned> loop;
  Place place;
  if (failed(findUnitLoop(op, loop, place)))
    return failure();
  if (loop &&
      op.getIteratorTypesArray()[*loop] != utils::IteratorType::parallel)
    return refuse(op) << "sums over " << unit << "s";
  // A position may only choose the unit's own row of a tensor.
  bool usesPosition = false;
  op->walk([&](linalg::IndexOp index) {
    if (!loop || index.getDim() != *loop)
      return;
    for (OpOperand &use : index->getUses()) {
      auto extract = dyn_cast<tensor::ExtractOp>(use.getOwner());
      Place own = extract ? placeOf(extract.getTensor()) : Place();
      usesPosition |=
          own.kind != Place::Rows || use.getOperandNumber() != 1 + own.dim;
    }
  });
  if (usesPosition)
    return refuse(op) << "computes with the position of a " << unit;
  SmallVector<Value> operands;
  SmallVector<Place> resultPlaces;
  for (OpOperand &operand : op->getOpOperands()) {
    Place own = place;
    if (loop) {
      AffineMap map = op.getMatchingIndexingMap(&operand);
      SmallVector<int64_t> dims;
      for (auto [i, expr] : llvm::enumerate(map.getResults()))
        if (expr.isFunctionOfDim(*loop))
          dims.push_back(i);
      if (dims.size() > 1 ||
          (dims.size() == 1 && !isa<AffineDimExpr>(map.getResult(dims[0]))))
        return refuse(op) << "reads " << unit << "s at computed places";
      own = dims.empty() ? Place() : place.at(dims[0]);
    } else if (placeOf(operand.get()).kind == Place::Common) {
      own = Place();
    }
    if (op.isDpsInit(&operand))
      resultPlaces.push_back(loop ? own : place);
    Value value = isa<RankedTensorType>(operand.get().getType())
                      ? get(operand.get(), own)
                      : mapping.lookup(operand.get());
    if (!value)
      return refuse(op) << "has an operand that differs from position to "
                           "position";
    operands.push_back(value);
  }
  Operation *copy = cloneWith(op, operands);
  for (auto [result, value, own] :
       llvm::zip_equal(op->getResults(), copy->getResults(), resultPlaces)) {
    value.setType(typeAt(result.getType(), own));
    set(result, value, own);
  }
  return success();
}

LogicalResult Restriction::restrictReshape(Operation *op) {
  Value source = op->getOperand(0), result = op->getResult(0);
  Place place = placeOf(source);
  if (place.kind == Place::Rows) {
    // Elements before the units' axis and after it, in row-major order.
    int64_t inner = place.inner;
    for (int64_t size : tensorType(source).getShape().drop_front(place.dim + 1))
      inner *= size;
    ArrayRef<int64_t> shape = tensorType(result).getShape();
    std::optional<Place> found;
    int64_t after = 1;
    for (int64_t dim = static_cast<int64_t>(shape.size()) - 1; dim >= 0;
         after *= shape[dim--]) {
      if (shape[dim] == 1 || inner % after != 0)
        continue;
      int64_t own = inner / after;
      if (shape[dim] % (own * numUnits) != 0)
        continue;
      found = Place{Place::Rows, dim, shape[dim] / (own * numUnits), own};
      break;
    }
    if (!found)
      return refuse(op) << "divides the axis of the " << unit << "s";
    place = *found;
  }
  set(result,
      reshapeTensor(b, op->getLoc(), mapping.lookup(source),
                    typeAt(result.getType(), place)),
      place);
  return success();
}

/// Number of the result's dimension that dimension \p dim of the source is.
static int64_t keptDim(const llvm::SmallBitVector &dropped, int64_t dim) {
  int64_t kept = dim;
  for (int64_t i = 0; i < dim; ++i)
    kept -= dropped.test(i);
  return kept;
}

LogicalResult Restriction::restrictSlice(tensor::ExtractSliceOp op) {
  Place place = placeOf(op.getSource());
  if (llvm::any_of(op->getOperands().drop_front(),
                   [&](Value v) { return placeOf(v).kind != Place::Common; }))
    return refuse(op) << "has a place that depends on a " << unit;
  SmallVector<OpFoldResult> offsets, sizes(op.getMixedSizes()),
      strides(op.getMixedStrides());
  for (OpFoldResult offset : op.getMixedOffsets())
    offsets.push_back(isa<Attribute>(offset)
                          ? offset
                          : OpFoldResult(mapping.lookup(cast<Value>(offset))));
  Place to = place;
  RankedTensorType type = op.getType();
  if (place.kind == Place::Rows) {
    std::optional<int64_t> offset = getConstantIntValue(offsets[place.dim]);
    std::optional<int64_t> size = getConstantIntValue(sizes[place.dim]);
    std::optional<int64_t> stride = getConstantIntValue(strides[place.dim]);
    int64_t last = (numUnits - 1) * place.inner;
    if (!offset || !size || stride != 1)
      return refuse(op) << "picks some " << unit << "s";
    if (*size == tensorType(op.getSource()).getDimSize(place.dim)) {
      sizes[place.dim] = b.getIndexAttr(place.extent());
      to = place.at(keptDim(op.getDroppedDims(), place.dim));
      type = typeAt(type, to);
    } else if (lastCounts && place.outer == 1 && *offset >= last) {
      offsets[place.dim] = b.getIndexAttr(*offset - last);
      to = Place{Place::Last};
    } else {
      return refuse(op) << "treats the " << unit << " at position "
                        << *offset / place.inner << " apart";
    }
  }
  set(op,
      tensor::ExtractSliceOp::create(b, op.getLoc(), type,
                                     mapping.lookup(op.getSource()), offsets,
                                     sizes, strides),
      to);
  return success();
}

LogicalResult Restriction::restrictInsert(tensor::InsertSliceOp op) {
  Place source = placeOf(op.getSource()), dest = placeOf(op.getDest());
  if (op->getNumOperands() != 2)
    return refuse(op) << "inserts at a place that is not constant";
  Place place = dest;
  SmallVector<OpFoldResult> sizes(op.getMixedSizes());
  if (source.kind == Place::Rows) {
    llvm::SmallBitVector dropped = op.getDroppedDims();
    int64_t dim = 0;
    while (dropped.test(dim) || keptDim(dropped, dim) != source.dim)
      ++dim;
    if (op.getStaticSize(dim) != op.getDestType().getDimSize(dim))
      return refuse(op) << "puts " << unit << "s at other positions";
    place = source.at(dim);
    sizes[dim] = b.getIndexAttr(place.extent());
  } else if (source.kind != Place::Common) {
    place = source;
  } else if (dest.kind == Place::Rows) {
    return refuse(op) << "treats some " << unit << "s apart";
  }
  Value into = get(op.getDest(), place);
  if (!into || (source.kind == Place::Common && place.kind == Place::Rows))
    return refuse(op) << "combines different " << unit << "s' values";
  set(op,
      tensor::InsertSliceOp::create(
          b, op.getLoc(), mapping.lookup(op.getSource()), into,
          op.getMixedOffsets(), sizes, op.getMixedStrides()),
      place);
  return success();
}

/// Operands and results of one shape.
LogicalResult Restriction::restrictElementwise(Operation *op) {
  FailureOr<Place> place = join(op);
  if (failed(place))
    return failure();
  SmallVector<Value> operands;
  for (Value operand : op->getOperands()) {
    Value value = isa<RankedTensorType>(operand.getType())
                      ? get(operand, *place)
                      : mapping.lookup(operand);
    if (!value)
      return refuse(op) << "has an operand that differs from position to "
                           "position";
    operands.push_back(value);
  }
  SmallVector<Type> types;
  for (Type type : op->getResultTypes())
    types.push_back(isa<RankedTensorType>(type) ? typeAt(type, *place) : type);
  Operation *copy = clone(b, op, types, operands);
  for (auto [result, value] : llvm::zip(op->getResults(), copy->getResults()))
    set(result, value, *place);
  return success();
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

LogicalResult Restriction::restrict(Operation *op) {
  llvm::SetVector<Value> read(op->operand_begin(), op->operand_end());
  getUsedValuesDefinedAbove(op->getRegions(), read);
  bool ownsState = isa<RecurrenceOpInterface, TokenShiftOp>(op);
  if (!ownsState && llvm::all_of(read, [&](Value value) {
        return placeOf(value).kind == Place::Common;
      })) {
    b.clone(*op, mapping);
    return success();
  }
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return restrictLinalg(linalgOp);
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](RecurrenceOpInterface op) { return restrictRecurrence(op); })
      .Case([&](TokenShiftOp op) { return restrictShift(op); })
      .Case([&](MixOp op) { return restrictMix(op); })
      .Case([&](LayerNormOp op) {
        int64_t axes = 1;
        for (Value parameter : {op.getScale(), op.getBias()})
          if (parameter)
            axes = std::max(axes, tensorType(parameter).getRank());
        return restrictRowWise(op, axes);
      })
      .Case<L2NormOp, LoraOp>(
          [&](Operation *op) { return restrictRowWise(op, 1); })
      .Case([&](DecayOp op) { return restrictRowWise(op, 0); })
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(
          [&](Operation *op) { return restrictReshape(op); })
      .Case([&](tensor::ExtractSliceOp op) { return restrictSlice(op); })
      .Case([&](tensor::InsertSliceOp op) { return restrictInsert(op); })
      .Case([&](tensor::CastOp op) { return restrictElementwise(op); })
      .Case([&](tensor::ConcatOp op) -> LogicalResult {
        FailureOr<Place> place = join(op);
        if (succeeded(place) && place->kind == Place::Rows &&
            place->dim == static_cast<int64_t>(op.getDim()))
          return refuse(op) << "lines " << unit << "s up with others";
        return failed(place) ? failure() : restrictElementwise(op);
      })
      .Default([&](Operation *op) -> LogicalResult {
        if (OpTrait::hasElementwiseMappableTraits(op) &&
            op->getNumRegions() == 0)
          return restrictElementwise(op);
        return refuse(op) << "is not known to treat " << unit << "s alike";
      });
}

FailureOr<func::FuncOp> Restriction::run() {
  Location loc = from.getLoc();
  auto to = func::FuncOp::create(loc, kStepName, b.getFunctionType({}, {}));
  OwningOpRef<func::FuncOp> owner(to);
  to->setDiscardableAttrs(from->getDiscardableAttrDictionary());
  Block *body = b.createBlock(&to.getBody());
  for (BlockArgument argument : from.getArguments())
    if (failed(addArgument(argument, *body)))
      return failure();
  for (Operation &op : from.front().without_terminator())
    if (failed(restrict(&op)))
      return failure();
  SmallVector<Value> results;
  for (auto [i, value] :
       llvm::enumerate(from.front().getTerminator()->getOperands())) {
    FailureOr<Value> result = takeResult(i, value);
    if (failed(result))
      return failure();
    results.push_back(*result);
  }
  func::ReturnOp::create(b, loc, results);
  to.setFunctionType(b.getFunctionType(body->getArgumentTypes(),
                                       ValueRange(results).getTypes()));
  to.setArgAttrsAttr(from.getArgAttrsAttr());
  to.setResAttrsAttr(from.getResAttrsAttr());
  to->setAttr(kFormAttr, b.getStringAttr(kStepForm));
  eraseDeadOps(*body);
  return owner.release();
}
