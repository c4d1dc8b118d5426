//===- ONNXToLinalg.cpp - onnx to linalg on tensors -----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Conversion/ONNXToLinalg/ONNXToLinalg.h"
#include "Support.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Func/Transforms/FuncConversions.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "rwkvc/Conversion/Passes.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"

namespace rwkvc {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "rwkvc/Conversion/Passes.h.inc"
} // namespace rwkvc

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::lowering;

/// The signless form of an unsigned element type, else the type itself.
static Type signless(Type type) {
  if (type.isUnsignedInteger())
    return IntegerType::get(type.getContext(), type.getIntOrFloatBitWidth());
  return type;
}

ONNXTypeConverter::ONNXTypeConverter() {
  addConversion([](Type type) { return type; });
  addConversion([](RankedTensorType type) -> Type {
    return RankedTensorType::get(
        type.getShape(), signless(type.getElementType()), type.getEncoding());
  });
  auto cast = [](OpBuilder &builder, Type type, ValueRange inputs,
                 Location loc) -> Value {
    return UnrealizedConversionCastOp::create(builder, loc, type, inputs)
        .getResult(0);
  };
  addSourceMaterialization(cast);
  addTargetMaterialization(cast);
}

namespace {

/// A constant keeps its bytes; those of a resource are not copied.
FailureOr<Value> lowerConstant(Lowering &b, onnx::ConstantOp op,
                               onnx::ConstantOp::Adaptor) {
  RankedTensorType type = b.resultType();
  ElementsAttr attr = op.getValue();
  if (attr.getShapedType() != type) {
    if (auto dense = dyn_cast<DenseElementsAttr>(attr))
      attr = dense.bitcast(type.getElementType());
    else if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr))
      attr = DenseResourceElementsAttr::get(type, resource.getRawHandle());
    else
      return b.refuse("its value is neither dense nor a dense resource");
  }
  auto typed = dyn_cast<TypedAttr>(attr);
  if (!typed || typed.getType() != type)
    return b.refuse("the type of its value is not that of its result");
  return arith::ConstantOp::create(b, typed).getResult();
}

struct ConvertONNXToLinalgPass
    : rwkvc::impl::ConvertONNXToLinalgPassBase<ConvertONNXToLinalgPass> {
  using ConvertONNXToLinalgPassBase::ConvertONNXToLinalgPassBase;

  void runOnOperation() override;

private:
  /// Reports each op of the dialect that is left. Returns how many.
  unsigned reportLeftovers(const RefusalMap &refusals);
  /// Erases what the lowering has left unused: the constants that said shapes.
  void eraseDeadOps();
};

void ConvertONNXToLinalgPass::runOnOperation() {
  MLIRContext *context = &getContext();
  ONNXTypeConverter converter;
  RefusalMap refusals;
  RewritePatternSet patterns(context);
  populateONNXToLinalgPatterns(converter, patterns, &refusals);
  populateFunctionOpInterfaceTypeConversionPattern<func::FuncOp>(patterns,
                                                                 converter);
  populateReturnOpTypeConversionPattern(patterns, converter);
  populateCallOpTypeConversionPattern(patterns, converter);
  ConversionTarget target(*context);
  target.addDynamicallyLegalOp<func::FuncOp>([&](func::FuncOp op) {
    return converter.isSignatureLegal(op.getFunctionType()) &&
           converter.isLegal(&op.getBody());
  });
  target.addDynamicallyLegalOp<func::ReturnOp, func::CallOp>(
      [&](Operation *op) { return converter.isLegal(op); });
  // What stands for a missing operand has no use once its users are lowered.
  target.addLegalOp<onnx::NoValueOp>();
  // Ops of the dialect are neither legal nor illegal, so that all which cannot
  // be lowered are left for one report each.
  target.markUnknownOpDynamicallyLegal(
      [](Operation *op) -> std::optional<bool> {
        if (isa_and_present<onnx::ONNXDialect>(op->getDialect()))
          return std::nullopt;
        return true;
      });
  bool converted = succeeded(
      applyPartialConversion(getOperation(), target, std::move(patterns)));
  if (reportLeftovers(refusals) || !converted)
    return signalPassFailure();
  eraseDeadOps();
}

unsigned ConvertONNXToLinalgPass::reportLeftovers(const RefusalMap &refusals) {
  SmallVector<Operation *> left, refused;
  getOperation().walk([&](Operation *op) {
    if (!isa_and_present<onnx::ONNXDialect>(op->getDialect()) ||
        isa<onnx::NoValueOp>(op))
      return;
    left.push_back(op);
    if (refusals.count(op))
      refused.push_back(op);
  });
  for (Operation *op : refused.empty() ? left : refused) {
    std::string reason = refusals.lookup(op);
    InFlightDiagnostic diagnostic =
        op->emitError() << "cannot lower node '" << onnx::getNodeName(op)
                        << "' (" << op->getName().stripDialect() << ")";
    if (!reason.empty())
      diagnostic << ": " << reason;
  }
  return left.size();
}

void ConvertONNXToLinalgPass::eraseDeadOps() {
  SmallVector<Operation *> order;
  getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (!isa<ModuleOp>(op))
      order.push_back(op);
  });
  // Users before what they use, and bodies before the ops that have them.
  for (Operation *op : llvm::reverse(order))
    if (isOpTriviallyDead(op))
      op->erase();
}

} // namespace

void rwkvc::populateONNXToLinalgPatterns(const TypeConverter &converter,
                                         RewritePatternSet &patterns,
                                         RefusalMap *refusals) {
  LoweringSet set(converter, patterns, refusals);
  set.add<onnx::ConstantOp>(lowerConstant);
  addCastLowerings(set);
  addComMicrosoftLowerings(set);
  addControlFlowLowerings(set);
  addConvolutionLowerings(set);
  addElementwiseLowerings(set);
  addGatherLowerings(set);
  addMatMulLowerings(set);
  addNormalizationLowerings(set);
  addQuantizationLowerings(set);
  addReductionLowerings(set);
  addScatterLowerings(set);
  addShapeLowerings(set);
}
