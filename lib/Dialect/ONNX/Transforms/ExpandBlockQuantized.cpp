//===- ExpandBlockQuantized.cpp - Blocks of numbers as ONNX operators -----===//
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
#define GEN_PASS_DEF_EXPANDBLOCKQUANTIZED
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h.inc"
} // namespace rwkvc::onnx

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::onnx;

namespace {

/// A matrix of numbers that share a scale by blocks of a row, an operand of
/// \ref op .
struct BlockMatrix {
  CustomOp op;
  int64_t rows, width;
  int64_t block, bits;  ///< numbers of a block, bits of a number
  int64_t blocks = 0;   ///< of a row; the last one may be longer than the row
  int64_t rowBytes = 0; ///< of a row's numbers
  Attribute numbers = {}, scales = {};
  Attribute zeros = {}; ///< null: half of the range

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

static int64_t getInteger(CustomOp op, StringRef name, int64_t otherwise) {
  auto attr = op.getAttrs().getAs<IntegerAttr>(name);
  return attr ? attr.getInt() : otherwise;
}

/// The constant operand \p index of \p op , which is \p what .
static FailureOr<Attribute> getConstant(CustomOp op, unsigned index,
                                        StringRef what) {
  Value value = getOptional(op, index);
  auto def = value ? value.getDefiningOp<ConstantOp>() : ConstantOp();
  if (!def)
    return op.emitError() << op.getOpType() << ": its " << what
                          << " must be a constant";
  return Attribute(def.getValue());
}

/// Reads the operands of \p matrix : numbers, scales and, perhaps, zero points.
static LogicalResult readOperands(BlockMatrix &matrix, unsigned numbers,
                                  unsigned scales, unsigned zeros) {
  CustomOp op = matrix.op;
  auto read = [&](unsigned index, StringRef what, int64_t elements,
                  Attribute &result) -> LogicalResult {
    FailureOr<Attribute> value = getConstant(op, index, what);
    if (failed(value))
      return failure();
    int64_t found = cast<ElementsAttr>(*value).getNumElements();
    if (found != elements)
      return op.emitError() << op.getOpType() << ": its " << what << " have "
                            << found << " elements; expected " << elements;
    result = *value;
    return success();
  };
  int64_t total = matrix.rows * matrix.blocks;
  if (failed(read(scales, "scales", total, matrix.scales)))
    return failure();
  if (failed(read(numbers, "numbers", matrix.rows * matrix.rowBytes,
                  matrix.numbers)))
    return failure();
  Value packed = getOptional(op, zeros);
  if (!packed)
    return success();
  if (!isa<IntegerType>(getElementTypeOrSelf(packed.getType())))
    return op.emitError() << op.getOpType()
                          << ": zero points in floating point are not "
                             "supported; quantise with integers";
  return read(zeros, "zero points", matrix.rows * matrix.zeroBytes(),
              matrix.zeros);
}

/// The matrix of a MatMulNBits node: Y[., N] = A[., K] times the transpose of N
/// rows of K numbers.
static FailureOr<BlockMatrix> readProduct(CustomOp op) {
  BlockMatrix matrix{op, getInteger(op, "N", 0), getInteger(op, "K", 0),
                     getInteger(op, "block_size", 0),
                     getInteger(op, "bits", 4)};
  if (matrix.rows < 1 || matrix.width < 1 || matrix.block < 1 ||
      !llvm::is_contained({2, 4, 8}, matrix.bits) ||
      matrix.block * matrix.bits % 8 != 0)
    return op.emitError("MatMulNBits: expected N, K and block_size of at least "
                        "1 and bits of 2, 4 or 8");
  matrix.blocks = llvm::divideCeil(matrix.width, matrix.block);
  matrix.rowBytes = matrix.blocks * matrix.block * matrix.bits / 8;
  if (getOptional(op, 4))
    return op.emitError(
        "MatMulNBits: groups of rows (g_idx) are not supported");
  if (failed(readOperands(matrix, 1, 2, 3)))
    return failure();
  return matrix;
}

/// The table of a GatherBlockQuantized node, whose numbers of \p bits are
/// packed in bytes.
static FailureOr<BlockMatrix> readTable(CustomOp op, RankedTensorType packed,
                                        int64_t block, int64_t bits) {
  BlockMatrix matrix{op, packed.getDimSize(0),
                     packed.getDimSize(1) * (8 / bits), block, bits};
  matrix.blocks = llvm::divideCeil(matrix.width, block);
  matrix.rowBytes = packed.getDimSize(1);
  if (failed(readOperands(matrix, 0, 2, 3)))
    return failure();
  return matrix;
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

/// Numbers, scales and zero points of \p matrix as constants with a byte for
/// each number, dequantised by \p b .
static Value dequantize(ImplicitLocOpBuilder &b, const BlockMatrix &matrix) {
  CustomOp op = matrix.op;
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
  Type byte = IntegerType::get(b.getContext(), 8, IntegerType::Unsigned);
  SmallVector<char> packed = getBytes(matrix.numbers);
  Value numbers =
      make({matrix.rows, matrix.width}, byte, matrix.numbers,
           [&](MutableArrayRef<char> bytes) {
             for (int64_t row = 0; row < matrix.rows; ++row)
               for (int64_t i = 0; i < matrix.width; ++i)
                 bytes[row * matrix.width + i] = static_cast<char>(unpack(
                     packed.data() + row * matrix.rowBytes, i, matrix.bits));
           });
  int64_t block = matrix.commonBlock(), perRow = matrix.width / block;
  int64_t repeat = matrix.block / block;
  SmallVector<char> scaleBytes = getBytes(matrix.scales);
  Type element = cast<ElementsAttr>(matrix.scales).getElementType();
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  Value scales =
      make({matrix.rows, perRow}, element, matrix.scales,
           [&](MutableArrayRef<char> bytes) {
             for (int64_t i = 0; i < matrix.rows * perRow; ++i) {
               int64_t from = i / perRow * matrix.blocks + i % perRow / repeat;
               llvm::copy(ArrayRef(scaleBytes).slice(from * size, size),
                          bytes.begin() + i * size);
             }
           });
  SmallVector<char> packedZeros;
  if (matrix.zeros)
    packedZeros = getBytes(matrix.zeros);
  Value zeros = make(
      {matrix.rows, perRow}, byte, matrix.zeros,
      [&](MutableArrayRef<char> bytes) {
        for (int64_t i = 0; i < matrix.rows * perRow; ++i)
          bytes[i] = static_cast<char>(
              matrix.zeros
                  ? unpack(packedZeros.data() + i / perRow * matrix.zeroBytes(),
                           i % perRow / repeat, matrix.bits)
                  : 1 << (matrix.bits - 1));
      });
  if (!numbers || !scales || !zeros)
    return Value();
  auto wide = RankedTensorType::get({matrix.rows, matrix.width}, element);
  return DequantizeLinearOp::create(b, wide, numbers, scales, zeros, /*axis=*/1,
                                    block, /*output_dtype=*/0);
}

static LogicalResult expandProduct(CustomOp op) {
  FailureOr<BlockMatrix> rows = readProduct(op);
  if (failed(rows))
    return failure();
  // Beside the constants, outside of all bodies.
  ImplicitLocOpBuilder b(op.getLoc(), op);
  b.setInsertionPointAfterValue(op->getOperand(1));
  Value matrix = dequantize(b, *rows);
  if (!matrix)
    return failure();
  auto type = cast<RankedTensorType>(matrix.getType());
  matrix = TransposeOp::create(b, type.clone({rows->width, rows->rows}), matrix,
                               b.getDenseI64ArrayAttr({1, 0}));
  b.setInsertionPoint(op);
  Type resultType = op.getResult(0).getType();
  Value result = MatMulOp::create(b, resultType, op->getOperand(0), matrix);
  if (Value bias = getOptional(op, 5))
    result = AddOp::create(b, resultType, result, bias);
  op.getResult(0).replaceAllUsesWith(result);
  op.erase();
  return success();
}

static LogicalResult expandGather(CustomOp op) {
  auto type = dyn_cast<RankedTensorType>(op->getOperand(0).getType());
  int64_t axis = getInteger(op, "gather_axis", 0);
  int64_t blockAxis = getInteger(op, "quantize_axis", 1);
  if (!type || type.getRank() != 2 || !type.hasStaticShape() ||
      (axis != 0 && axis != -2) || (blockAxis != 1 && blockAxis != -1))
    return op.emitError("GatherBlockQuantized: expected a matrix of which rows "
                        "are gathered (gather_axis 0) with blocks along them "
                        "(quantize_axis 1)");
  int64_t bits = getInteger(op, "bits", 4);
  int64_t block = getInteger(op, "block_size", 128);
  if (!llvm::is_contained({2, 4, 8}, bits) || block < 1)
    return op.emitError("GatherBlockQuantized: expected block_size of at least "
                        "1 and bits of 2, 4 or 8");
  ImplicitLocOpBuilder b(op.getLoc(), op);
  b.setInsertionPointAfterValue(op->getOperand(0));
  Value table;
  // Numbers of 4 bits by their type have a byte each since the import.
  auto result = dyn_cast<RankedTensorType>(op.getResult(0).getType());
  bool isPacked = getInteger(op, "bits", 4) == 8 || !result ||
                  result.getRank() == 0 ||
                  result.getShape().back() != type.getDimSize(1);
  if (isPacked) {
    FailureOr<BlockMatrix> rows = readTable(op, type, block, bits);
    if (failed(rows))
      return failure();
    table = dequantize(b, *rows);
    if (!table)
      return failure();
  } else {
    if (type.getDimSize(1) % block != 0)
      return op.emitError("GatherBlockQuantized: its rows of ")
             << type.getDimSize(1) << " numbers are no whole blocks of "
             << block;
    b.setInsertionPoint(op);
    Value zeros = getOptional(op, 3);
    if (!zeros)
      zeros = NoValueOp::create(b, b.getNoneType());
    table = DequantizeLinearOp::create(
        b, type.clone(getElementTypeOrSelf(op->getOperand(2).getType())),
        op->getOperand(0), op->getOperand(2), zeros, /*axis=*/1, block,
        /*output_dtype=*/0);
  }
  b.setInsertionPoint(op);
  op.getResult(0).replaceAllUsesWith(GatherOp::create(
      b, op.getResult(0).getType(), table, op->getOperand(1), /*axis=*/0));
  op.erase();
  return success();
}

namespace {

struct ExpandBlockQuantizedPass
    : onnx::impl::ExpandBlockQuantizedBase<ExpandBlockQuantizedPass> {
  void runOnOperation() override {
    SmallVector<CustomOp> products, gathers;
    getOperation().walk([&](CustomOp op) {
      if (op.getDomain() != "com.microsoft")
        return;
      if (op.getOpType() == "MatMulNBits")
        products.push_back(op);
      else if (op.getOpType() == "GatherBlockQuantized")
        gathers.push_back(op);
    });
    for (CustomOp op : products)
      if (failed(expandProduct(op)))
        return signalPassFailure();
    for (CustomOp op : gathers)
      if (failed(expandGather(op)))
        return signalPassFailure();
    numProducts += products.size();
    numGathers += gathers.size();
  }
};

} // namespace
