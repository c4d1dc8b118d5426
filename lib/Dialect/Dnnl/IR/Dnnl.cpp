//===- Dnnl.cpp - The dnnl dialect ----------------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Dialect/Dnnl/IR/Dnnl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace rwkvc::dnnl;

#include "rwkvc/Dialect/Dnnl/IR/DnnlEnums.cpp.inc"
#include "rwkvc/Dialect/Dnnl/IR/DnnlOpsDialect.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "rwkvc/Dialect/Dnnl/IR/DnnlAttributes.cpp.inc"

/// relu, add %x : type, ...
static ParseResult
parsePostOps(OpAsmParser &parser, ArrayAttr &postOps,
             SmallVectorImpl<OpAsmParser::UnresolvedOperand> &others,
             SmallVectorImpl<Type> &types) {
  SmallVector<Attribute> list;
  auto parseOne = [&]() -> ParseResult {
    FailureOr<PostOp> op = FieldParser<PostOp>::parse(parser);
    if (failed(op))
      return failure();
    list.push_back(PostOpAttr::get(parser.getContext(), *op));
    if (!isBinary(*op))
      return success();
    return failure(parser.parseOperand(others.emplace_back()) ||
                   parser.parseColonType(types.emplace_back()));
  };
  if (parser.parseCommaSeparatedList(parseOne))
    return failure();
  postOps = parser.getBuilder().getArrayAttr(list);
  return success();
}

static void printPostOps(OpAsmPrinter &printer, MatmulOp op, ArrayAttr,
                         OperandRange others, TypeRange) {
  llvm::interleaveComma(op.getPostOpList(), printer, [&](PostOp postOp) {
    printer << stringifyPostOp(postOp);
    if (!isBinary(postOp) || others.empty())
      return;
    printer << ' ' << others.front() << " : " << others.front().getType();
    others = others.drop_front();
  });
}

#define GET_OP_CLASSES
#include "rwkvc/Dialect/Dnnl/IR/DnnlOps.cpp.inc"

void DnnlDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "rwkvc/Dialect/Dnnl/IR/DnnlAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "rwkvc/Dialect/Dnnl/IR/DnnlOps.cpp.inc"
      >();
}

/// Equal, as far as one can see.
static bool compatible(int64_t a, int64_t b) {
  return a == b || ShapedType::isDynamic(a) || ShapedType::isDynamic(b);
}

SmallVector<PostOp> MatmulOp::getPostOpList() {
  if (!getPostOps())
    return {};
  return llvm::map_to_vector(
      getPostOps()->getAsRange<PostOpAttr>(),
      [](PostOpAttr attribute) { return attribute.getValue(); });
}

/// C7, C8 and C1 of what follows the product.
static LogicalResult verifyPostOps(MatmulOp op) {
  SmallVector<PostOp> list = op.getPostOpList();
  if (op.getPostOps() && list.empty())
    return op.emitOpError("C7: expected a function after the product");
  int64_t binary = llvm::count_if(list, isBinary);
  if (static_cast<int64_t>(list.size()) > MatmulOp::kMaxPostOps ||
      binary > MatmulOp::kMaxOthers)
    return op.emitOpError("C7: expected at most ")
           << MatmulOp::kMaxPostOps << " functions after the product, "
           << MatmulOp::kMaxOthers << " of them with an operand, got "
           << list.size() << " and " << binary;
  if (static_cast<int64_t>(op.getOthers().size()) != binary)
    return op.emitOpError("C7: expected ")
           << binary << " operands for the functions after the product, got "
           << op.getOthers().size();
  auto c = cast<ShapedType>(op.getC().getType());
  for (Type type : op.getOthers().getTypes()) {
    auto other = cast<ShapedType>(type);
    if (isa<RankedTensorType>(other) != isa<RankedTensorType>(c))
      return op.emitOpError("C1: expected all operands to be tensors or all to "
                            "be memrefs, got ")
             << other << " and " << c;
    bool isRow = other.getRank() == 1 && c.getRank() == 2 &&
                 compatible(other.getDimSize(0), c.getShape().back());
    bool isSame =
        other.getRank() == c.getRank() &&
        llvm::all_of(llvm::zip(other.getShape(), c.getShape()), [](auto sizes) {
          auto [a, b] = sizes;
          return compatible(a, b);
        });
    if (!other.getElementType().isF32() || (!isRow && !isSame))
      return op.emitOpError(
                 "C8: expected an operand of f32 with the shape of c "
                 "or, beside a matrix, of one of its rows, got ")
             << other << " beside " << c;
  }
  return success();
}

LogicalResult MatmulOp::verify() {
  auto a = cast<ShapedType>(getA().getType());
  auto b = cast<ShapedType>(getB().getType());
  auto c = cast<ShapedType>(getC().getType());
  bool tensors = isa<RankedTensorType>(c);
  if (isa<RankedTensorType>(a) != tensors ||
      isa<RankedTensorType>(b) != tensors)
    return emitOpError("C1: expected all operands to be tensors or all to be "
                       "memrefs, got ")
           << a << ", " << b << " and " << c;
  if (tensors && (!getProduct() || getProduct().getType() != c))
    return emitOpError("C1: expected a result of type ") << c;
  if (!tensors && getProduct())
    return emitOpError("C1: expected no result for memrefs");

  if (a.getElementType() != b.getElementType())
    return emitOpError("C2: expected a and b to have one element type, got ")
           << a.getElementType() << " and " << b.getElementType();
  if (c.getElementType() != a.getElementType() && !c.getElementType().isF32())
    return emitOpError("C2: expected c to have elements of type ")
           << a.getElementType() << " or f32, got " << c.getElementType();

  int64_t rank = c.getRank();
  if (a.getRank() != rank || b.getRank() != rank || rank < 2 || rank > kMaxRank)
    return emitOpError("C3: expected equal ranks from 2 to ")
           << kMaxRank << ", got " << a << ", " << b << " and " << c;

  for (int64_t i = 0; i < rank - 2; ++i)
    if (!compatible(a.getDimSize(i), b.getDimSize(i)) ||
        !compatible(a.getDimSize(i), c.getDimSize(i)) ||
        !compatible(b.getDimSize(i), c.getDimSize(i)))
      return emitOpError("C4: expected dimension ")
             << i << " of a, b and c to be equal, got " << a << ", " << b
             << " and " << c;

  auto rows = [&](ShapedType type, bool swapped) {
    return type.getDimSize(swapped ? rank - 1 : rank - 2);
  };
  auto columns = [&](ShapedType type, bool swapped) {
    return rows(type, !swapped);
  };
  if (!compatible(columns(a, getTransposeA()), rows(b, getTransposeB())))
    return emitOpError("C5: expected a to have as many columns as b has rows, "
                       "got ")
           << columns(a, getTransposeA()) << " and "
           << rows(b, getTransposeB());
  if (!compatible(rows(c, false), rows(a, getTransposeA())) ||
      !compatible(columns(c, false), columns(b, getTransposeB())))
    return emitOpError("C5: expected c to be ")
           << rows(a, getTransposeA()) << "x" << columns(b, getTransposeB())
           << ", got " << c;

  for (ShapedType type : {a, b, c})
    if (llvm::is_contained(type.getShape(), 0))
      return emitOpError("C6: expected no dimension of size 0, got ") << type;
  return verifyPostOps(*this);
}

bool MatmulOp::hasConstantB() {
  if (!getConstantB())
    return false;
  Value root = getB();
  while (Operation *op = root.getDefiningOp()) {
    if (auto view = dyn_cast<ViewLikeOpInterface>(op))
      root = view.getViewSource();
    else if (isa<bufferization::ToBufferOp, bufferization::ToTensorOp>(op))
      root = op->getOperand(0);
    else
      return !isa<bufferization::AllocTensorOp>(op) &&
             !hasEffect<MemoryEffects::Allocate>(op, root);
  }
  return true;
}

void MatmulOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  if (hasPureTensorSemantics())
    return;
  auto add = [&](MemoryEffects::Effect *effect, OpOperand &operand) {
    effects.emplace_back(effect, &operand, SideEffects::DefaultResource::get());
  };
  add(MemoryEffects::Read::get(), getAMutable());
  add(MemoryEffects::Read::get(), getBMutable());
  for (OpOperand &other : getOthersMutable())
    add(MemoryEffects::Read::get(), other);
  if (getAccumulate())
    add(MemoryEffects::Read::get(), getCMutable());
  add(MemoryEffects::Write::get(), getCMutable());
}

bool MatmulOp::bufferizesToMemoryRead(OpOperand &operand,
                                      const bufferization::AnalysisState &) {
  return !isDpsInit(&operand) || getAccumulate();
}

bool MatmulOp::bufferizesToMemoryWrite(OpOperand &operand,
                                       const bufferization::AnalysisState &) {
  return isDpsInit(&operand);
}

bufferization::AliasingValueList
MatmulOp::getAliasingValues(OpOperand &operand,
                            const bufferization::AnalysisState &) {
  if (!isDpsInit(&operand) || !getProduct())
    return {};
  return {{getProduct(), bufferization::BufferRelation::Equivalent}};
}

LogicalResult MatmulOp::bufferize(RewriterBase &rewriter,
                                  const bufferization::BufferizationOptions &o,
                                  bufferization::BufferizationState &state) {
  if (hasPureBufferSemantics())
    return success();
  SmallVector<Value> buffers;
  for (Value operand : getOperation()->getOperands()) {
    FailureOr<Value> buffer =
        bufferization::getBuffer(rewriter, operand, o, state);
    if (failed(buffer))
      return failure();
    buffers.push_back(*buffer);
  }
  auto op = MatmulOp::create(rewriter, getLoc(), TypeRange{}, buffers,
                             getOperation()->getAttrs());
  // Later the allocation may have become a part of a larger one.
  op.setConstantB(op.hasConstantB());
  bufferization::replaceOpWithBufferizedValues(rewriter, *this, buffers[2]);
  return success();
}
