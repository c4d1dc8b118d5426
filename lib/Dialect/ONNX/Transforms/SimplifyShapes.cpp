//===- SimplifyShapes.cpp - Fold constants and infer shapes ---------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// onnx-fold-constants, onnx-infer-shapes and, both at once,
// onnx-simplify-shapes: one forward walk with three switches.
//
//===----------------------------------------------------------------------===//

#include "ScanSupport.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"
#include "rwkvc/Support/Constants.h"

namespace rwkvc::onnx {
#define GEN_PASS_DEF_FOLDCONSTANTS
#define GEN_PASS_DEF_INFERSHAPES
#define GEN_PASS_DEF_SIMPLIFYSHAPES
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;

/// The names of the tensors that the large constants among the operands of
/// \p op were made from.
static SmallVector<StringRef> getTensors(Operation *op) {
  SmallVector<StringRef> names;
  for (Value operand : op->getOperands())
    if (auto constant = operand.getDefiningOp<ConstantOp>())
      if (isa<DenseResourceElementsAttr>(constant.getValue()))
        llvm::append_range(names, getTensorNames(constant.getValue()));
  return names;
}

namespace {

/// A float constant up to this size may be larger than what it is made of.
constexpr int64_t kSmallBytes = 4096;

struct SimplifyOptions {
  bool fold = false, infer = false, dropNoOps = false;
  int64_t maxBytes = 0;
};

struct SimplifyCounts {
  unsigned folded = 0, refined = 0, noOps = 0, erased = 0;
};

/// Bytes of a tensor of static shape, saturated.
int64_t getByteSize(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  if (!tensor.getElementType().isIntOrFloat())
    return kHuge;
  int64_t bytes = (tensor.getElementTypeBitWidth() + 7) / 8;
  auto count = evaluation::countElements(tensor.getShape());
  if (!count || llvm::MulOverflow(*count, bytes, bytes))
    return kHuge;
  return bytes;
}

class Simplifier {
public:
  Simplifier(const SimplifyOptions &options) : options(options) {}

  void run(func::FuncOp func);
  const SimplifyCounts &getCounts() const { return counts; }

private:
  void visit(Region &region);
  void infer(Operation *op);
  bool fold(Operation *op);
  Value getNoOpSource(Operation *op);
  Block::iterator inlineBranch(IfOp choice, Region &branch);
  void eraseDead(Region &region);

  /// The value of a constant small enough to compute with, or null.
  const HostTensor *getConstant(Value value);
  /// What is read of an operand to fold: shapes and indices may come with a
  /// weight of any size, of which they take little.
  int64_t getOperandLimit() const {
    constexpr int64_t kFactor = 16;
    return std::max(options.maxBytes, int64_t(1) << 20) * kFactor;
  }

  const SimplifyOptions &options;
  SimplifyCounts counts;
  /// Constants up to kSmallBytes; larger ones are decoded where they are used.
  /// Constants are erased after the walk only, so that the keys stay valid.
  DenseMap<Value, HostTensor> decoded;
};

/// A static type that \p type may be refined to, or null.
RankedTensorType refine(Type type, ArrayRef<int64_t> shape) {
  auto shaped = dyn_cast<TensorType>(type);
  if (!shaped)
    return {};
  auto refined = RankedTensorType::get(shape, shaped.getElementType());
  return succeeded(verifyCompatibleShape(shaped, refined)) ? refined
                                                           : RankedTensorType();
}

const HostTensor *Simplifier::getConstant(Value value) {
  if (auto it = decoded.find(value); it != decoded.end())
    return &it->second;
  auto constant = value.getDefiningOp<ConstantOp>();
  if (!constant || !getStaticType(value) ||
      getByteSize(value.getType()) > kSmallBytes)
    return nullptr;
  FailureOr<HostTensor> tensor = readElements(constant.getValue());
  if (failed(tensor))
    return nullptr;
  return &(decoded[value] = std::move(*tensor));
}

void Simplifier::infer(Operation *op) {
  if (llvm::all_of(op->getResults(), [](Value result) {
        return isNone(result) || getStaticType(result);
      }))
    return;
  // Values first: the map may move its entries while it grows.
  for (Value operand : op->getOperands())
    getConstant(operand);
  SmallVector<OperandFacts> facts(op->getNumOperands());
  for (auto [fact, operand] : llvm::zip(facts, op->getOperands())) {
    if (RankedTensorType type = getStaticType(operand))
      fact.shape.emplace(type.getShape());
    fact.value = getConstant(operand);
  }
  auto shapes = inferResultShapes(op, facts);
  if (failed(shapes))
    return;
  for (auto [result, shape] : llvm::zip(op->getResults(), *shapes)) {
    if (isNone(result) || getStaticType(result))
      continue;
    if (RankedTensorType type = refine(result.getType(), shape)) {
      result.setType(type);
      ++counts.refined;
    }
  }
}

/// The elements of a Shape or Size, which need the type of their operand only.
FailureOr<SmallVector<HostTensor>> evaluateOnType(Operation *op) {
  RankedTensorType type = getStaticType(op->getOperand(0));
  if (!type)
    return failure();
  HostTensor tensor;
  tensor.elementType = IntegerType::get(op->getContext(), 64);
  if (isa<SizeOp>(op)) {
    auto count = evaluation::countElements(type.getShape());
    if (!count)
      return failure();
    tensor.data.push_back(static_cast<double>(*count));
    return SmallVector<HostTensor>{tensor};
  }
  auto shapeOp = cast<ShapeOp>(op);
  int64_t rank = type.getRank();
  auto bound = [&](int64_t at) {
    return std::clamp<int64_t>(at < 0 ? at + rank : at, 0, rank);
  };
  int64_t end = shapeOp.getEnd() ? bound(*shapeOp.getEnd()) : rank;
  for (int64_t i = bound(shapeOp.getStart()); i < end; ++i)
    tensor.data.push_back(static_cast<double>(type.getDimSize(i)));
  tensor.shape.push_back(tensor.getNumElements());
  return SmallVector<HostTensor>{tensor};
}

bool isSplat(const HostTensor &tensor) {
  return llvm::all_of(tensor.data,
                      [&](double x) { return x == tensor.data.front(); });
}

bool Simplifier::fold(Operation *op) {
  if (!evaluation::hasEvaluation(op))
    return false;
  int64_t resultBytes = 0, operandBytes = 0;
  for (Value result : op->getResults())
    if (!result.use_empty()) {
      if (!getStaticType(result))
        return false;
      resultBytes = std::max(resultBytes, getByteSize(result.getType()));
    }
  if (resultBytes > options.maxBytes)
    return false;

  FailureOr<SmallVector<HostTensor>> results = failure();
  if (isa<ShapeOp, SizeOp>(op)) {
    results = evaluateOnType(op);
  } else {
    for (Value operand : op->getOperands()) {
      if (isNone(operand))
        continue;
      if (!operand.getDefiningOp<ConstantOp>() || !getStaticType(operand) ||
          llvm::AddOverflow(operandBytes, getByteSize(operand.getType()),
                            operandBytes))
        return false;
    }
    if (operandBytes > getOperandLimit())
      return false;
    // Sized ahead, because inputs points into it; so is the map of the small
    // constants, which is filled before it is pointed into.
    SmallVector<HostTensor> large(op->getNumOperands());
    SmallVector<const HostTensor *> inputs;
    for (Value operand : op->getOperands())
      getConstant(operand);
    for (auto [operand, tensor] : llvm::zip(op->getOperands(), large)) {
      const HostTensor *input =
          isNone(operand) ? nullptr : getConstant(operand);
      if (!isNone(operand) && !input) {
        auto read =
            readElements(operand.getDefiningOp<ConstantOp>().getValue());
        if (failed(read))
          return false;
        tensor = std::move(*read);
        input = &tensor;
      }
      inputs.push_back(input);
    }
    EvaluatorOptions evaluatorOptions;
    evaluatorOptions.roundToType = true;
    results = evaluate(op, inputs, evaluatorOptions);
  }
  if (failed(results))
    return false;

  std::string name = deriveName(getTensors(op), "folded");
  SmallVector<ElementsAttr> attributes;
  for (auto [result, tensor] : llvm::zip(op->getResults(), *results)) {
    attributes.emplace_back();
    if (result.use_empty())
      continue;
    auto type = cast<RankedTensorType>(result.getType());
    int64_t bytes = getByteSize(type);
    bool enlarges = bytes > kSmallBytes && bytes > operandBytes &&
                    isa<FloatType>(type.getElementType());
    if (type.getShape() != ArrayRef<int64_t>(tensor.shape) ||
        type.getElementType() != tensor.elementType ||
        (enlarges && !isSplat(tensor)))
      return false;
    FailureOr<ElementsAttr> attribute = writeElements(tensor, name);
    if (failed(attribute))
      return false;
    attributes.back() = *attribute;
  }

  OpBuilder builder(op);
  for (auto [result, tensor, attribute] :
       llvm::zip(op->getResults(), *results, attributes)) {
    if (!attribute)
      continue;
    auto constant =
        ConstantOp::create(builder, op->getLoc(), result.getType(), attribute);
    if (Attribute name = op->getAttr(kNodeNameAttr))
      constant->setAttr(kNodeNameAttr, name);
    if (getByteSize(result.getType()) <= kSmallBytes)
      decoded[constant] = std::move(tensor);
    result.replaceAllUsesWith(constant);
  }
  op->erase();
  ++counts.folded;
  return true;
}

/// Whether all elements of a constant or omitted operand satisfy \p predicate.
bool holdsForAll(const HostTensor *tensor,
                 llvm::function_ref<bool(double)> predicate) {
  return tensor && llvm::all_of(tensor->data, predicate);
}

/// The operand that the only used result of \p op equals, or null.
Value Simplifier::getNoOpSource(Operation *op) {
  if (op->getNumOperands() == 0 || op->getNumResults() == 0 ||
      llvm::any_of(op->getResults().drop_front(),
                   [](Value result) { return !result.use_empty(); }))
    return {};
  Value source = op->getOperand(0), result = op->getResult(0);
  if (isa<IdentityOp>(op))
    return source;
  if (isa<DropoutOp>(op)) {
    Value training = op->getOperand(2);
    bool isInference =
        isNone(training) ||
        holdsForAll(getConstant(training), [](double x) { return x == 0.0; });
    return isInference ? source : Value();
  }
  if (source.getType() != result.getType())
    return {};
  if (isa<CastOp, CastLikeOp>(op))
    return source;
  if (isa<ClipOp>(op))
    return isNone(op->getOperand(1)) && isNone(op->getOperand(2)) ? source
                                                                  : Value();
  if (isa<SumOp, MaxOp, MinOp, MeanOp, ConcatOp>(op))
    return op->getNumOperands() == 1 ? source : Value();
  RankedTensorType type = getStaticType(source);
  if (!type)
    return {};
  if (isa<ReshapeOp, SqueezeOp, UnsqueezeOp, FlattenOp, ExpandOp, TileOp>(op))
    return source;
  if (isa<SplitOp>(op))
    return op->getNumResults() == 1 ? source : Value();
  if (isa<PadOp>(op))
    return holdsForAll(getConstant(op->getOperand(1)),
                       [](double x) { return x == 0.0; })
               ? source
               : Value();
  if (isa<SliceOp>(op)) {
    // All elements, so only the direction is open.
    Value steps = op->getOperand(4);
    bool isForward =
        isNone(steps) ||
        holdsForAll(getConstant(steps), [](double x) { return x > 0.0; });
    return isForward ? source : Value();
  }
  if (auto transpose = dyn_cast<TransposeOp>(op)) {
    auto permutation = evaluation::getPermutation(transpose, type.getRank());
    if (!permutation)
      return {};
    // Axes of size 1 may go anywhere.
    llvm::erase_if(*permutation,
                   [&](int64_t axis) { return type.getDimSize(axis) == 1; });
    return llvm::is_sorted(*permutation) ? source : Value();
  }
  return {};
}

/// Puts the ops of \p branch in the place of \p choice. Returns the first.
Block::iterator Simplifier::inlineBranch(IfOp choice, Region &branch) {
  Block &body = branch.front();
  Operation *yield = body.getTerminator();
  Block::iterator first = body.begin();
  if (&*first == yield)
    first = std::next(choice->getIterator());
  for (auto [result, value] :
       llvm::zip_equal(choice->getResults(), yield->getOperands()))
    result.replaceAllUsesWith(value);
  choice->getBlock()->getOperations().splice(choice->getIterator(),
                                             body.getOperations(), body.begin(),
                                             yield->getIterator());
  choice->erase();
  ++counts.folded;
  return first;
}

void Simplifier::visit(Region &region) {
  for (Block &block : region) {
    for (auto next = block.begin(); next != block.end();) {
      Operation &op = *next;
      if (auto choice = dyn_cast<IfOp>(op); choice && options.fold)
        if (Region *branch = getTakenBranch(choice)) {
          next = inlineBranch(choice, *branch);
          continue;
        }
      ++next;
      if (options.infer)
        counts.refined += inferBodyArguments(&op);
      for (Region &nested : op.getRegions())
        visit(nested);
      if (!isa<ONNXDialect>(op.getDialect()))
        continue;
      if (options.infer) {
        counts.refined += inferFromBodies(&op);
        infer(&op);
      }
      if (options.dropNoOps) {
        if (Value source = getNoOpSource(&op)) {
          op.getResult(0).replaceAllUsesWith(source);
          op.erase();
          ++counts.noOps;
          continue;
        }
      }
      if (options.fold && !op.use_empty())
        fold(&op);
    }
  }
}

void Simplifier::eraseDead(Region &region) {
  for (Block &block : llvm::reverse(region)) {
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block))) {
      if (isOpTriviallyDead(&op)) {
        op.erase();
        ++counts.erased;
        continue;
      }
      for (Region &nested : op.getRegions())
        eraseDead(nested);
    }
  }
}

void Simplifier::run(func::FuncOp func) {
  if (func.isExternal())
    return;
  visit(func.getBody());
  decoded.clear();
  if (options.fold)
    eraseDead(func.getBody());
  if (!func.getBody().hasOneBlock())
    return;
  auto returnOp =
      dyn_cast<func::ReturnOp>(func.getBody().front().getTerminator());
  if (returnOp)
    func.setType(FunctionType::get(func.getContext(), func.getArgumentTypes(),
                                   returnOp.getOperandTypes()));
}

SimplifyCounts simplify(ModuleOp module, const SimplifyOptions &options) {
  SimplifyCounts total;
  // In order and in one thread, so that the names of resources are the same in
  // every run.
  for (auto func : module.getOps<func::FuncOp>()) {
    Simplifier simplifier(options);
    simplifier.run(func);
    const SimplifyCounts &counts = simplifier.getCounts();
    total.folded += counts.folded;
    total.refined += counts.refined;
    total.noOps += counts.noOps;
    total.erased += counts.erased;
  }
  return total;
}

struct FoldConstantsPass
    : rwkvc::onnx::impl::FoldConstantsBase<FoldConstantsPass> {
  using FoldConstantsBase::FoldConstantsBase;
  void runOnOperation() override {
    SimplifyOptions options;
    options.fold = true;
    options.maxBytes = maxBytes;
    SimplifyCounts counts = simplify(getOperation(), options);
    numFolded += counts.folded;
    numErased += counts.erased;
  }
};

struct InferShapesPass : rwkvc::onnx::impl::InferShapesBase<InferShapesPass> {
  void runOnOperation() override {
    SimplifyOptions options;
    options.infer = true;
    numRefined += simplify(getOperation(), options).refined;
  }
};

struct SimplifyShapesPass
    : rwkvc::onnx::impl::SimplifyShapesBase<SimplifyShapesPass> {
  using SimplifyShapesBase::SimplifyShapesBase;
  void runOnOperation() override {
    SimplifyOptions options;
    options.fold = options.infer = options.dropNoOps = true;
    options.maxBytes = maxBytes;
    SimplifyCounts counts = simplify(getOperation(), options);
    numFolded += counts.folded;
    numRefined += counts.refined;
    numNoOps += counts.noOps;
    numErased += counts.erased;
  }
};

} // namespace
