//===- ExpandBlockProducts.cpp - MatMulNBits as ONNX operators ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Early, so that the passes that recognise recurrences, low-rank projections
// and sequences meet operators they know.
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "rwkvc/Dialect/ONNX/IR/ONNX.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"
#include "rwkvc/Support/Constants.h"
#include <numeric>

namespace rwkvc::onnx {
#define GEN_PASS_DEF_EXPANDBLOCKPRODUCTS
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;

namespace {

/// A MatMulNBits node: Y[., N] = A[., K] times the transpose of N rows of K
/// numbers.
struct BlockProduct {
  CustomOp op;
  int64_t rows, width; ///< N, K
  int64_t block, bits; ///< numbers of a block, bits of a number
  int64_t blocks;      ///< of a row; the last one may be longer than the row
  Attribute numbers, scales, zeros; ///< zeros null: half of the range

  /// Bytes of a row's zero points.
  int64_t zeroBytes() const { return llvm::divideCeil(blocks * bits, 8); }
  /// Numbers that share a scale and divide the row.
  int64_t commonBlock() const { return std::gcd(width, block); }
};

} // namespace

/// Number \p index of those packed into \p bytes , the first in the low bits.
static uint8_t unpack(const char *bytes, int64_t index, int64_t bits) {
  int64_t bit = index * bits;
  return static_cast<uint8_t>(bytes[bit / 8]) >> bit % 8 & ((1 << bits) - 1);
}

/// Operand \p index of \p op , null where it is left out.
static Value getOptional(CustomOp op, unsigned index) {
  return index < op->getNumOperands() && !isNone(op->getOperand(index))
             ? op->getOperand(index)
             : Value();
}

static FailureOr<BlockProduct> read(CustomOp op) {
  auto getInteger = [&](StringRef name, int64_t otherwise) {
    auto attr = op.getAttrs().getAs<IntegerAttr>(name);
    return attr ? attr.getInt() : otherwise;
  };
  BlockProduct product{op,
                       getInteger("N", 0),
                       getInteger("K", 0),
                       getInteger("block_size", 0),
                       getInteger("bits", 4),
                       0,
                       nullptr,
                       nullptr,
                       nullptr};
  if (product.rows < 1 || product.width < 1 || product.block < 1 ||
      !llvm::is_contained({2, 4, 8}, product.bits) ||
      product.block * product.bits % 8 != 0)
    return op.emitError("MatMulNBits: expected N, K and block_size of at least "
                        "1 and bits of 2, 4 or 8");
  product.blocks = llvm::divideCeil(product.width, product.block);
  if (getOptional(op, 4))
    return op.emitError(
        "MatMulNBits: groups of rows (g_idx) are not supported");
  auto constant = [&](unsigned index, StringRef what,
                      int64_t elements) -> FailureOr<Attribute> {
    Value value = getOptional(op, index);
    auto def = value ? value.getDefiningOp<ConstantOp>() : ConstantOp();
    if (!def)
      return op.emitError("MatMulNBits: its ") << what << " must be a constant";
    if (cast<ElementsAttr>(def.getValue()).getNumElements() != elements)
      return op.emitError("MatMulNBits: its ")
             << what << " have "
             << cast<ElementsAttr>(def.getValue()).getNumElements()
             << " elements; expected " << elements;
    return Attribute(def.getValue());
  };
  int64_t total = product.rows * product.blocks;
  FailureOr<Attribute> numbers =
      constant(1, "numbers", total * product.block * product.bits / 8);
  FailureOr<Attribute> scales = constant(2, "scales", total);
  if (failed(numbers) || failed(scales))
    return failure();
  product.numbers = *numbers;
  product.scales = *scales;
  if (Value zeros = getOptional(op, 3)) {
    if (!isa<IntegerType>(getElementTypeOrSelf(zeros.getType())))
      return op.emitError("MatMulNBits: zero points in floating point are not "
                          "supported; quantise with integers");
    FailureOr<Attribute> packed =
        constant(3, "zero points", product.rows * product.zeroBytes());
    if (failed(packed))
      return failure();
    product.zeros = *packed;
  }
  return product;
}

/// The bytes of \p attr , of which all may be equal.
static SmallVector<char> getBytes(Attribute attr) {
  if (std::optional<ArrayRef<char>> raw = getRawBytes(attr))
    return SmallVector<char>(*raw);
  auto splat = cast<DenseElementsAttr>(attr);
  SmallVector<char> bytes;
  for (int64_t i = 0; i < splat.getNumElements(); ++i)
    llvm::append_range(bytes, splat.getRawData());
  return bytes;
}

namespace {

struct ExpandBlockProductsPass
    : onnx::impl::ExpandBlockProductsBase<ExpandBlockProductsPass> {
  void runOnOperation() override {
    SmallVector<CustomOp> nodes;
    getOperation().walk([&](CustomOp op) {
      if (op.getDomain() == "com.microsoft" && op.getOpType() == "MatMulNBits")
        nodes.push_back(op);
    });
    for (CustomOp op : nodes) {
      FailureOr<BlockProduct> product = read(op);
      if (failed(product) || failed(expand(*product)))
        return signalPassFailure();
      ++numProducts;
    }
  }

  LogicalResult expand(const BlockProduct &product);
};

} // namespace

LogicalResult ExpandBlockProductsPass::expand(const BlockProduct &product) {
  CustomOp op = product.op;
  // Beside the constants, outside of all bodies.
  ImplicitLocOpBuilder b(op.getLoc(), op);
  b.setInsertionPointAfterValue(op->getOperand(1));
  auto make =
      [&](ArrayRef<int64_t> shape, Type element, Attribute source,
          llvm::function_ref<void(MutableArrayRef<char>)> fill) -> Value {
    auto type = RankedTensorType::get(shape, element);
    llvm::Expected<ElementsAttr> value = writeConstant(
        type, deriveName(getTensorNames(source), "unpacked"), fill);
    if (value)
      return ConstantOp::create(b, type, *value);
    op.emitError("its weights cannot be unpacked: ")
        << toString(value.takeError());
    return Value();
  };
  Type byte = IntegerType::get(&getContext(), 8, IntegerType::Unsigned);
  SmallVector<char> packed = getBytes(product.numbers);
  Value numbers =
      make({product.rows, product.width}, byte, product.numbers,
           [&](MutableArrayRef<char> bytes) {
             int64_t rowBytes =
                 product.blocks * product.block * product.bits / 8;
             for (int64_t row = 0; row < product.rows; ++row)
               for (int64_t i = 0; i < product.width; ++i)
                 bytes[row * product.width + i] = static_cast<char>(
                     unpack(packed.data() + row * rowBytes, i, product.bits));
           });
  int64_t block = product.commonBlock(), perRow = product.width / block;
  int64_t repeat = product.block / block;
  SmallVector<char> scaleBytes = getBytes(product.scales);
  Type element = cast<ElementsAttr>(product.scales).getElementType();
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  Value scales =
      make({product.rows, perRow}, element, product.scales,
           [&](MutableArrayRef<char> bytes) {
             for (int64_t i = 0; i < product.rows * perRow; ++i) {
               int64_t from = i / perRow * product.blocks + i % perRow / repeat;
               llvm::copy(ArrayRef(scaleBytes).slice(from * size, size),
                          bytes.begin() + i * size);
             }
           });
  SmallVector<char> packedZeros;
  if (product.zeros)
    packedZeros = getBytes(product.zeros);
  Value zeros =
      make({product.rows, perRow}, byte, product.zeros,
           [&](MutableArrayRef<char> bytes) {
             for (int64_t i = 0; i < product.rows * perRow; ++i)
               bytes[i] = static_cast<char>(
                   product.zeros ? unpack(packedZeros.data() +
                                              i / perRow * product.zeroBytes(),
                                          i % perRow / repeat, product.bits)
                                 : 1 << (product.bits - 1));
           });
  if (!numbers || !scales || !zeros)
    return failure();
  auto wide = RankedTensorType::get({product.rows, product.width}, element);
  Value matrix = DequantizeLinearOp::create(
      b, wide, numbers, scales, zeros, /*axis=*/1, block, /*output_dtype=*/0);
  matrix = TransposeOp::create(b, wide.clone({product.width, product.rows}),
                               matrix, b.getDenseI64ArrayAttr({1, 0}));
  b.setInsertionPoint(op);
  Type type = op.getResult(0).getType();
  Value result = MatMulOp::create(b, type, op->getOperand(0), matrix);
  if (Value bias = getOptional(op, 5))
    result = AddOp::create(b, type, result, bias);
  op.getResult(0).replaceAllUsesWith(result);
  op.erase();
  return success();
}
