//===- LiftingRules.cpp - How ops are computed at many points -------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The rules of linalg, elementwise ops, tensor and scf. Those of the wkv
// dialect are in LiftingRulesWKV.cpp.
//
//===----------------------------------------------------------------------===//

#include "LiftingRules.h"
#include "Forms.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace rwkvc::wkv;

using Lifted = FailureOr<SmallVector<Value>>;

//===----------------------------------------------------------------------===//
// linalg and elementwise ops
//===----------------------------------------------------------------------===//

/// The map of an operand with the points as first loop and, where the operand
/// varies, as first axis.
static AffineMap addPoints(AffineMap map, bool varies) {
  map = map.shiftDims(1);
  return varies ? map.insertResult(getAffineDimExpr(0, map.getContext()), 0)
                : map;
}

/// Elements of tensors from outside, which a body reads at computed places, get
/// the point as first index.
static void prependPoint(tensor::ExtractOp extract, Value tensor, Value point) {
  OpBuilder b(extract);
  SmallVector<Value> indices{point};
  llvm::append_range(indices, extract.getIndices());
  Value element =
      tensor::ExtractOp::create(b, extract.getLoc(), tensor, indices);
  extract.replaceAllUsesWith(element);
  extract.erase();
}

static Lifted liftLinalg(linalg::LinalgOp op, Lifting &lifting) {
  OpBuilder &b = lifting.getBuilder();
  if (!op.hasPureTensorSemantics()) {
    lifting.refuse(op) << "it is not on tensors";
    return failure();
  }
  SmallVector<Value> inputs, inits;
  SmallVector<AffineMap> maps;
  for (OpOperand *input : op.getDpsInputOperands()) {
    bool varies = lifting.varies(input->get());
    inputs.push_back(varies ? lifting.getLifted(input->get())
                            : lifting.getCommon(input->get()));
    maps.push_back(addPoints(op.getMatchingIndexingMap(input), varies));
  }
  // Scalars that the body reads from outside become inputs; tensors are read at
  // the point.
  llvm::SetVector<Value> outer;
  getUsedValuesDefinedAbove(op->getRegions(), outer);
  SmallVector<Value> scalars, tensors;
  for (Value value : outer)
    if (lifting.varies(value))
      (isa<ShapedType>(value.getType()) ? tensors : scalars).push_back(value);
  for (Value scalar : scalars) {
    inputs.push_back(lifting.getLifted(scalar));
    maps.push_back(
        addPoints(AffineMap::get(op.getNumLoops(), 0, op.getContext()), true));
  }
  SmallVector<Type> types;
  for (OpOperand &init : op.getDpsInitsMutable()) {
    Value full;
    if (!lifting.varies(init.get()) && !op.payloadUsesValueFromOperand(&init)) {
      RankedTensorType type = lifting.getLiftedType(init.get().getType());
      full = tensor::EmptyOp::create(b, op.getLoc(), type.getShape(),
                                     type.getElementType());
    } else {
      full = lifting.getLifted(init.get());
    }
    inits.push_back(full);
    types.push_back(full.getType());
    maps.push_back(addPoints(op.getMatchingIndexingMap(&init), true));
  }
  SmallVector<utils::IteratorType> iterators{utils::IteratorType::parallel};
  llvm::append_range(iterators, op.getIteratorTypesArray());

  bool isRefused = false;
  auto generic = linalg::GenericOp::create(
      b, op.getLoc(), types, inputs, inits, maps, iterators,
      [&](OpBuilder &nested, Location loc, ValueRange arguments) {
        IRMapping mapping;
        Block *body = op.getBlock();
        unsigned numInputs = op.getNumDpsInputs();
        for (unsigned i = 0; i < body->getNumArguments(); ++i)
          mapping.map(body->getArgument(i),
                      arguments[i < numInputs ? i : i + scalars.size()]);
        for (auto [i, scalar] : llvm::enumerate(scalars))
          mapping.map(scalar, arguments[numInputs + i]);
        for (Value value : outer)
          if (!lifting.varies(value))
            mapping.map(value, lifting.getCommon(value));
        for (Operation &inner : *body)
          nested.clone(inner, mapping);
      });
  generic->walk(
      [](linalg::IndexOp index) { index.setDim(index.getDim() + 1); });
  if (tensors.empty())
    return SmallVector<Value>(generic->getResults());
  auto atStart = OpBuilder::atBlockBegin(generic.getBody());
  Value point = linalg::IndexOp::create(atStart, op.getLoc(), 0);
  for (Value tensor : tensors)
    for (OpOperand &use : llvm::make_early_inc_range(tensor.getUses())) {
      if (!generic->isProperAncestor(use.getOwner()))
        continue;
      if (auto extract = dyn_cast<tensor::ExtractOp>(use.getOwner())) {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPoint(generic);
        prependPoint(extract, lifting.getLifted(tensor), point);
        continue;
      }
      lifting.refuse(op) << "its body gives a tensor to "
                         << use.getOwner()->getName();
      isRefused = true;
    }
  if (isRefused)
    return failure();
  return SmallVector<Value>(generic->getResults());
}

/// Scalars become tensors with an element for each point.
static Lifted liftScalars(Operation *op, Lifting &lifting) {
  OpBuilder &b = lifting.getBuilder();
  SmallVector<Value> inputs, varying, inits;
  SmallVector<Type> types;
  for (Value operand : op->getOperands())
    if (lifting.varies(operand) && !llvm::is_contained(varying, operand)) {
      varying.push_back(operand);
      inputs.push_back(lifting.getLifted(operand));
    }
  for (Type type : op->getResultTypes()) {
    types.push_back(lifting.getLiftedType(type));
    inits.push_back(tensor::EmptyOp::create(
        b, op->getLoc(), ArrayRef<int64_t>{lifting.getNumPoints()}, type));
  }
  SmallVector<AffineMap> maps(inputs.size() + inits.size(),
                              b.getMultiDimIdentityMap(1));
  auto generic = linalg::GenericOp::create(
      b, op->getLoc(), types, inputs, inits, maps,
      {utils::IteratorType::parallel},
      [&](OpBuilder &nested, Location loc, ValueRange arguments) {
        IRMapping mapping;
        for (Value operand : op->getOperands())
          if (!lifting.varies(operand))
            mapping.map(operand, lifting.getCommon(operand));
        for (auto [value, argument] : llvm::zip(varying, arguments))
          mapping.map(value, argument);
        Operation *scalar = nested.clone(*op, mapping);
        linalg::YieldOp::create(nested, loc, scalar->getResults());
      });
  return SmallVector<Value>(generic->getResults());
}

static Lifted liftElementwise(Operation *op, Lifting &lifting) {
  auto isScalar = [](Type type) { return !isa<ShapedType>(type); };
  if (llvm::all_of(op->getOperandTypes(), isScalar))
    return liftScalars(op, lifting);
  if (llvm::any_of(op->getOperandTypes(), isScalar)) {
    lifting.refuse(op) << "it combines scalars and tensors";
    return failure();
  }
  SmallVector<Value> operands;
  SmallVector<Type> types;
  for (Value operand : op->getOperands())
    operands.push_back(lifting.getLifted(operand));
  for (Type type : op->getResultTypes())
    types.push_back(lifting.getLiftedType(type));
  return SmallVector<Value>(
      clone(lifting.getBuilder(), op, types, operands)->getResults());
}

Lifted rwkvc::wkv::liftStructuredOp(Operation *op, Lifting &lifting) {
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
    return liftLinalg(linalgOp, lifting);
  if (OpTrait::hasElementwiseMappableTraits(op) && op->getNumRegions() == 0 &&
      op->getNumResults() > 0)
    return liftElementwise(op, lifting);
  return SmallVector<Value>();
}

//===----------------------------------------------------------------------===//
// tensor
//===----------------------------------------------------------------------===//

namespace {

/// Offsets, sizes or strides with that of the points before them.
struct WithPoints {
  WithPoints(Lifting &lifting) : b(lifting.getBuilder()), lifting(lifting) {}

  SmallVector<OpFoldResult> operator()(int64_t points,
                                       ArrayRef<OpFoldResult> rest) {
    SmallVector<OpFoldResult> all{b.getIndexAttr(points)};
    for (OpFoldResult value : rest)
      all.push_back(isa<Attribute>(value)
                        ? value
                        : OpFoldResult(lifting.getCommon(cast<Value>(value))));
    return all;
  }

  OpBuilder &b;
  Lifting &lifting;
};

struct TensorLifting : LiftingDialectInterface {
  using LiftingDialectInterface::LiftingDialectInterface;

  static bool vary(Lifting &lifting, ValueRange values) {
    return llvm::any_of(values, [&](Value v) { return lifting.varies(v); });
  }

  /// Elements that \p at gives for the indices of \p type.
  static Value generate(
      Lifting &lifting, Location loc, RankedTensorType type,
      ArrayRef<Value> scalars,
      function_ref<Value(OpBuilder &, ValueRange indices, ValueRange scalars)>
          at) {
    OpBuilder &b = lifting.getBuilder();
    Value empty =
        tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
    int64_t rank = type.getRank();
    SmallVector<AffineMap> maps(
        scalars.size(),
        AffineMap::get(rank, 0, b.getAffineDimExpr(0), b.getContext()));
    maps.push_back(b.getMultiDimIdentityMap(rank));
    SmallVector<utils::IteratorType> iterators(rank,
                                               utils::IteratorType::parallel);
    return linalg::GenericOp::create(
               b, loc, type, scalars, empty, maps, iterators,
               [&](OpBuilder &nested, Location loc, ValueRange arguments) {
                 SmallVector<Value> indices;
                 for (int64_t i = 0; i < rank; ++i)
                   indices.push_back(linalg::IndexOp::create(nested, loc, i));
                 linalg::YieldOp::create(
                     nested, loc, at(nested, indices, arguments.drop_back()));
               })
        .getResult(0);
  }

  /// Indices that vary are read from a tensor at the point.
  struct Indices {
    SmallVector<Value> scalars; ///< lifted ones
    SmallVector<Value> common;  ///< for each index; null where it varies

    Indices(Lifting &lifting, ArrayRef<OpFoldResult> indices, Location loc) {
      for (OpFoldResult index : indices) {
        if (auto attr = dyn_cast<Attribute>(index)) {
          common.push_back(arith::ConstantIndexOp::create(
              lifting.getBuilder(), loc, cast<IntegerAttr>(attr).getInt()));
        } else if (!lifting.varies(cast<Value>(index))) {
          common.push_back(lifting.getCommon(cast<Value>(index)));
        } else {
          common.push_back(Value());
          scalars.push_back(lifting.getLifted(cast<Value>(index)));
        }
      }
    }
    SmallVector<Value> at(ValueRange arguments) const {
      SmallVector<Value> all(common);
      for (Value &value : all)
        if (!value) {
          value = arguments.front();
          arguments = arguments.drop_front();
        }
      return all;
    }
  };

  static Value liftExtract(tensor::ExtractOp op, Lifting &lifting) {
    OpBuilder &b = lifting.getBuilder();
    bool varies = lifting.varies(op.getTensor());
    RankedTensorType type = lifting.getLiftedType(op.getType());
    if (varies && !vary(lifting, op.getIndices())) {
      WithPoints with(lifting);
      SmallVector<OpFoldResult> ones(op.getIndices().size(), b.getIndexAttr(1));
      return tensor::ExtractSliceOp::create(
          b, op.getLoc(), type, lifting.getLifted(op.getTensor()),
          with(0, getAsOpFoldResult(op.getIndices())),
          with(lifting.getNumPoints(), ones), with(1, ones));
    }
    Value tensor = varies ? lifting.getLifted(op.getTensor())
                          : lifting.getCommon(op.getTensor());
    Indices indices(lifting, getAsOpFoldResult(op.getIndices()), op.getLoc());
    return generate(lifting, op.getLoc(), type, indices.scalars,
                    [&](OpBuilder &nested, ValueRange at, ValueRange scalars) {
                      SmallVector<Value> all = indices.at(scalars);
                      if (varies)
                        all.insert(all.begin(), at[0]);
                      return tensor::ExtractOp::create(nested, op.getLoc(),
                                                       tensor, all);
                    });
  }

  static FailureOr<Value> liftExtractSlice(tensor::ExtractSliceOp op,
                                           Lifting &lifting) {
    OpBuilder &b = lifting.getBuilder();
    Location loc = op.getLoc();
    RankedTensorType type = lifting.getLiftedType(op.getType());
    if (!op.getSizes().empty() || vary(lifting, op.getStrides())) {
      lifting.refuse(op) << "its extent is not constant";
      return failure();
    }
    if (!vary(lifting, op.getOffsets())) {
      WithPoints with(lifting);
      return Value(tensor::ExtractSliceOp::create(
          b, loc, type, lifting.getLifted(op.getSource()),
          with(0, op.getMixedOffsets()),
          with(lifting.getNumPoints(), op.getMixedSizes()),
          with(1, op.getMixedStrides())));
    }
    // A window for each point: rows of a table.
    bool varies = lifting.varies(op.getSource());
    Value source = varies ? lifting.getLifted(op.getSource())
                          : lifting.getCommon(op.getSource());
    Indices offsets(lifting, op.getMixedOffsets(), loc);
    Indices strides(lifting, op.getMixedStrides(), loc);
    llvm::SmallBitVector dropped = op.getDroppedDims();
    return generate(
        lifting, loc, type, offsets.scalars,
        [&](OpBuilder &nested, ValueRange at, ValueRange scalars) -> Value {
          SmallVector<Value> all = offsets.at(scalars);
          unsigned axis = 1;
          for (auto [i, index] : llvm::enumerate(all)) {
            if (dropped.test(i))
              continue;
            Value step = at[axis++];
            if (op.getMixedStrides()[i] != OpFoldResult(b.getIndexAttr(1)))
              step =
                  arith::MulIOp::create(nested, loc, step, strides.common[i]);
            // The lanes of a vector follow an index that is one of the loops.
            if (op.getMixedOffsets()[i] == OpFoldResult(b.getIndexAttr(0)))
              index = step;
            else
              index = arith::AddIOp::create(nested, loc, index, step);
          }
          if (varies)
            all.insert(all.begin(), at[0]);
          return tensor::ExtractOp::create(nested, loc, source, all);
        });
  }

  static FailureOr<Value> liftInsertSlice(tensor::InsertSliceOp op,
                                          Lifting &lifting) {
    if (vary(lifting, op.getOffsets()) || !op.getSizes().empty() ||
        vary(lifting, op.getStrides())) {
      lifting.refuse(op) << "where it inserts depends on the token";
      return failure();
    }
    WithPoints with(lifting);
    return Value(tensor::InsertSliceOp::create(
        lifting.getBuilder(), op.getLoc(), lifting.getLifted(op.getSource()),
        lifting.getLifted(op.getDest()), with(0, op.getMixedOffsets()),
        with(lifting.getNumPoints(), op.getMixedSizes()),
        with(1, op.getMixedStrides())));
  }

  static FailureOr<Value> liftPad(tensor::PadOp op, Lifting &lifting) {
    Value padding = op.getConstantPaddingValue();
    if (!padding || vary(lifting, padding) || !op.getLow().empty() ||
        !op.getHigh().empty()) {
      lifting.refuse(op) << "what it adds is not constant";
      return failure();
    }
    if (!lifting.getCommon(padding)) {
      // A constant in the op's own region.
      padding =
          lifting.getBuilder().clone(*padding.getDefiningOp())->getResult(0);
    } else {
      padding = lifting.getCommon(padding);
    }
    WithPoints with(lifting);
    return Value(tensor::PadOp::create(
        lifting.getBuilder(), op.getLoc(), lifting.getLiftedType(op.getType()),
        lifting.getLifted(op.getSource()), with(0, op.getMixedLowPad()),
        with(0, op.getMixedHighPad()), padding));
  }

  FailureOr<SmallVector<Value>> lift(Operation *op,
                                     Lifting &lifting) const override {
    OpBuilder &b = lifting.getBuilder();
    Location loc = op->getLoc();
    auto one = [](FailureOr<Value> value) -> Lifted {
      if (failed(value))
        return failure();
      return SmallVector<Value>{*value};
    };
    return TypeSwitch<Operation *, Lifted>(op)
        .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp>([&](auto op) {
          return one(reshapeTensor(b, loc, lifting.getLifted(op.getSrc()),
                                   lifting.getLiftedType(op.getType())));
        })
        .Case([&](tensor::CastOp op) {
          return one(Value(tensor::CastOp::create(
              b, loc, lifting.getLiftedType(op.getType()),
              lifting.getLifted(op.getSource()))));
        })
        .Case(
            [&](tensor::ExtractOp op) { return one(liftExtract(op, lifting)); })
        .Case([&](tensor::ExtractSliceOp op) {
          return one(liftExtractSlice(op, lifting));
        })
        .Case([&](tensor::InsertSliceOp op) {
          return one(liftInsertSlice(op, lifting));
        })
        .Case([&](tensor::PadOp op) { return one(liftPad(op, lifting)); })
        .Case([&](tensor::ConcatOp op) {
          SmallVector<Value> inputs;
          for (Value input : op.getInputs())
            inputs.push_back(lifting.getLifted(input));
          return one(
              Value(tensor::ConcatOp::create(b, loc, op.getDim() + 1, inputs)));
        })
        .Case([&](tensor::SplatOp op) {
          RankedTensorType type = lifting.getLiftedType(op.getType());
          SmallVector<Value> input{lifting.getLifted(op.getInput())};
          return one(generate(lifting, loc, type, input,
                              [](OpBuilder &, ValueRange, ValueRange scalars) {
                                return scalars[0];
                              }));
        })
        .Case([&](tensor::FromElementsOp op) {
          // One element is a scalar seen as a tensor.
          if (op.getElements().size() != 1) {
            lifting.refuse(op) << "it collects several scalars";
            return Lifted(failure());
          }
          return one(reshapeTensor(b, loc,
                                   lifting.getLifted(op.getElements().front()),
                                   lifting.getLiftedType(op.getType())));
        })
        .Default([&](Operation *) { return SmallVector<Value>(); });
  }
};

//===----------------------------------------------------------------------===//
// scf
//===----------------------------------------------------------------------===//

struct SCFLifting : LiftingDialectInterface {
  using LiftingDialectInterface::LiftingDialectInterface;

  /// Lifts \p from into \p to, which ends with the lifted values that the
  /// terminator yields.
  static LogicalResult liftBody(Block &from, Block &to, Lifting &lifting) {
    OpBuilder &b = lifting.getBuilder();
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToEnd(&to);
    if (failed(lifting.liftBlock(from)))
      return failure();
    SmallVector<Value> values;
    for (Value value : from.getTerminator()->getOperands())
      values.push_back(lifting.getLifted(value));
    scf::YieldOp::create(b, from.getTerminator()->getLoc(), values);
    return success();
  }

  static Lifted liftIf(scf::IfOp op, Lifting &lifting) {
    if (lifting.varies(op.getCondition())) {
      lifting.refuse(op) << "its condition depends on the token";
      return failure();
    }
    OpBuilder &b = lifting.getBuilder();
    SmallVector<Type> types;
    for (Type type : op.getResultTypes())
      types.push_back(lifting.getLiftedType(type));
    auto branch = scf::IfOp::create(
        b, op.getLoc(), types, lifting.getCommon(op.getCondition()),
        /*addThenBlock=*/true, /*addElseBlock=*/!op.getElseRegion().empty());
    for (auto [from, to] :
         llvm::zip_equal(op->getRegions(), branch->getRegions())) {
      if (from.empty())
        continue;
      to.front().clear();
      if (failed(liftBody(from.front(), to.front(), lifting)))
        return failure();
    }
    return SmallVector<Value>(branch.getResults());
  }

  static Lifted liftFor(scf::ForOp op, Lifting &lifting) {
    OpBuilder &b = lifting.getBuilder();
    SmallVector<Value> bounds{op.getLowerBound(), op.getUpperBound(),
                              op.getStep()};
    for (Value &bound : bounds) {
      if (lifting.varies(bound)) {
        lifting.refuse(op) << "its bounds depend on the token";
        return failure();
      }
      bound = lifting.getCommon(bound);
    }
    SmallVector<Value> inits;
    for (Value init : op.getInitArgs())
      inits.push_back(lifting.getLifted(init));
    auto loop = scf::ForOp::create(b, op.getLoc(), bounds[0], bounds[1],
                                   bounds[2], inits);
    lifting.setCommon(op.getInductionVar(), loop.getInductionVar());
    for (auto [from, to] :
         llvm::zip_equal(op.getRegionIterArgs(), loop.getRegionIterArgs()))
      lifting.setLifted(from, to);
    loop.getBody()->clear();
    if (failed(liftBody(*op.getBody(), *loop.getBody(), lifting)))
      return failure();
    return SmallVector<Value>(loop.getResults());
  }

  FailureOr<SmallVector<Value>> lift(Operation *op,
                                     Lifting &lifting) const override {
    if (auto branch = dyn_cast<scf::IfOp>(op))
      return liftIf(branch, lifting);
    if (auto loop = dyn_cast<scf::ForOp>(op))
      return liftFor(loop, lifting);
    return SmallVector<Value>();
  }
};

} // namespace

void rwkvc::wkv::registerLiftingInterfaces(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *, tensor::TensorDialect *dialect) {
    dialect->addInterfaces<TensorLifting>();
  });
  registry.addExtension(+[](MLIRContext *, scf::SCFDialect *dialect) {
    dialect->addInterfaces<SCFLifting>();
  });
  registerWKVLifting(registry);
}
