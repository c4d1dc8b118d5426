//===- WeightFormats.cpp - Matrices in fewer bits -------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightFormats.h"
#include "rwkvc/Transforms/Passes.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/bit.h"
#include "llvm/Support/Parallel.h"
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

using namespace mlir;
using namespace rwkvc;

namespace {

struct FormatInfo {
  StringRef name;
  bool hasBlocks, hasZeros, hasNibbles;
};

} // namespace

/// In the order of WeightFormat.
static constexpr FormatInfo kFormats[] = {
    {"bf16", false, false, false}, {"fp16", false, false, false},
    {"int8", true, false, false},  {"int4", true, false, true},
    {"uint8", true, true, false},  {"uint4", true, true, true},
};

static const FormatInfo &getInfo(WeightFormat format) {
  return kFormats[static_cast<unsigned>(format)];
}

ArrayRef<StringRef> rwkvc::getWeightFormats() {
  static const SmallVector<StringRef> names = llvm::to_vector(llvm::map_range(
      kFormats, [](const FormatInfo &info) { return info.name; }));
  return names;
}

StringRef rwkvc::stringifyWeightFormat(WeightFormat format) {
  return getInfo(format).name;
}

std::optional<WeightFormat> rwkvc::symbolizeWeightFormat(StringRef name) {
  const auto *found = llvm::find_if(
      kFormats, [&](const FormatInfo &info) { return info.name == name; });
  if (found == std::end(kFormats))
    return std::nullopt;
  return static_cast<WeightFormat>(found - kFormats);
}

bool rwkvc::hasBlocks(WeightFormat format) { return getInfo(format).hasBlocks; }
bool rwkvc::hasZeros(WeightFormat format) { return getInfo(format).hasZeros; }
bool rwkvc::hasNibbles(WeightFormat format) {
  return getInfo(format).hasNibbles;
}

template <typename T> static T readAs(const char *from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// The 16 bits of \p value in \p semantics , rounded to nearest even.
static uint16_t round16(float value, const llvm::fltSemantics &semantics) {
  llvm::APFloat number(value);
  bool losesInfo = false;
  number.convert(semantics, llvm::APFloat::rmNearestTiesToEven, &losesInfo);
  return static_cast<uint16_t>(number.bitcastToAPInt().getZExtValue());
}

static float fromBF16(uint16_t bits) {
  return llvm::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

static float fromHalf(uint16_t bits) {
  return llvm::APFloat(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits))
      .convertToFloat();
}

/// The least bf16 that is not below \p value, which is not negative.
static uint16_t roundUpToBF16(float value) {
  auto bits = llvm::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0xffff) >> 16);
}

static uint16_t roundToBF16(float value) {
  return round16(value, llvm::APFloat::BFloat());
}

void MatrixView::read(int64_t first, int64_t stride,
                      MutableArrayRef<float> values) const {
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  const char *from = bytes.data() + first * size;
  int64_t step = stride * size;
  for (float &value : values) {
    if (element.isF32())
      value = readAs<float>(from);
    else if (element.isF64())
      value = static_cast<float>(readAs<double>(from));
    else if (element.isBF16())
      value = fromBF16(readAs<uint16_t>(from));
    else
      value = fromHalf(readAs<uint16_t>(from));
    from += step;
  }
}

float MatrixView::findLargest() const {
  bool byColumns = rowStride < columnStride;
  int64_t lines = byColumns ? columns : rows;
  std::vector<float> largest(lines);
  llvm::parallelFor(0, lines, [&](size_t line) {
    SmallVector<float> values(byColumns ? rows : columns);
    read(line * (byColumns ? columnStride : rowStride),
         byColumns ? rowStride : columnStride, values);
    for (float value : values)
      largest[line] = std::max(largest[line],
                               std::isnan(value) ? INFINITY : std::fabs(value));
  });
  return lines == 0 ? 0.0f : *llvm::max_element(largest);
}

void rwkvc::encode16(const MatrixView &matrix, Type element, Layout layout,
                     MutableArrayRef<char> target) {
  const llvm::fltSemantics &semantics =
      cast<FloatType>(element).getFloatSemantics();
  bool columnsFirst = layout == Layout::ColumnsFirst;
  int64_t lines = columnsFirst ? matrix.columns : matrix.rows;
  int64_t length = columnsFirst ? matrix.rows : matrix.columns;
  llvm::parallelFor(0, lines, [&](size_t line) {
    SmallVector<float> values(length);
    matrix.read(line * (columnsFirst ? matrix.columnStride : matrix.rowStride),
                columnsFirst ? matrix.rowStride : matrix.columnStride, values);
    char *to = target.data() + line * length * 2;
    for (float value : values) {
      uint16_t bits = round16(value, semantics);
      std::memcpy(to, &bits, 2);
      to += 2;
    }
  });
}

namespace {

/// A block's numbers, scale and zero point for a column.
struct Quantized {
  std::array<int, kBlockRows> numbers;
  uint16_t scale; ///< bf16
  int zero = 0;
  float error = 0.0f; ///< sum of squares
};

} // namespace

/// Rounds \p values to multiples of \p scale from \p lowest to \p highest ,
/// counted from \p zero ; returns the sum of squared errors.
static float roundTo(ArrayRef<float> values, float scale, int zero, int lowest,
                     int highest, MutableArrayRef<int> numbers) {
  float inverse = scale != 0.0f ? 1.0f / scale : 0.0f, error = 0.0f;
  for (auto [value, number] : llvm::zip_equal(values, numbers)) {
    // A tiny scale has no finite inverse.
    float quotient = std::isfinite(inverse) ? value * inverse : value / scale;
    number = zero + static_cast<int>(std::nearbyint(std::clamp<float>(
                        quotient, lowest - zero, highest - zero)));
    float difference = value - (number - zero) * scale;
    error += difference * difference;
  }
  return error;
}

static Quantized quantizeInt8(ArrayRef<float> values) {
  float largest = 0.0f;
  for (float value : values)
    largest = std::max(largest, std::fabs(value));
  Quantized result;
  result.scale = roundUpToBF16(largest / 127.0f);
  result.error =
      roundTo(values, fromBF16(result.scale), 0, -127, 127, result.numbers);
  return result;
}

/// What \p make gives for the number of \p steps between which the least
/// squared error is smallest.
static Quantized chooseSteps(ArrayRef<float> steps,
                             llvm::function_ref<Quantized(float)> make) {
  Quantized best = make(steps.front());
  for (float count : steps.drop_front())
    if (Quantized candidate = make(count); candidate.error < best.error)
      best = candidate;
  return best;
}

static Quantized quantizeInt4(ArrayRef<float> values) {
  float extreme = 0.0f;
  for (float value : values)
    if (std::fabs(value) > std::fabs(extreme))
      extreme = value;
  // There is one more number below zero than above, so the scale has the sign
  // that makes the extreme one negative. A shorter grid may fit the others
  // better.
  return chooseSteps({8.0f, 7.6f, 7.2f, 6.8f}, [&](float steps) {
    Quantized result;
    result.scale = roundToBF16(-extreme / steps);
    result.error =
        roundTo(values, fromBF16(result.scale), 0, -8, 7, result.numbers);
    return result;
  });
}

static Quantized quantizeUInt8(ArrayRef<float> values) {
  // The range includes 0, so that the zero point is a number of the grid.
  float low = 0.0f, high = 0.0f;
  for (float value : values) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  Quantized result;
  result.scale = roundUpToBF16((high - low) / 255.0f);
  float scale = fromBF16(result.scale);
  if (scale != 0.0f)
    result.zero =
        std::clamp(static_cast<int>(std::nearbyint(-low / scale)), 0, 255);
  result.error = roundTo(values, scale, result.zero, 0, 255, result.numbers);
  return result;
}

static Quantized quantizeUInt4(ArrayRef<float> values) {
  auto [low, high] = std::minmax_element(values.begin(), values.end());
  float middle = (*low + *high) / 2, range = *high - *low;
  // All equal: the grid reaches from 0 to the value.
  if (range == 0.0f)
    range = 2 * std::fabs(middle);
  return chooseSteps({15.0f, 15.8f, 16.6f, 14.2f}, [&](float steps) {
    Quantized result;
    result.scale = roundToBF16(range / steps);
    float scale = fromBF16(result.scale);
    if (scale != 0.0f)
      result.zero = static_cast<int>(
          std::nearbyint(std::clamp(7.5f - middle / scale, -128.0f, 127.0f)));
    result.error = roundTo(values, scale, result.zero, 0, 15, result.numbers);
    return result;
  });
}

/// Calls \p store with each block, column and what \p quantize gives for its
/// elements.
static void forEachBlock(
    const MatrixView &matrix, Quantized (*quantize)(ArrayRef<float>),
    llvm::function_ref<void(int64_t, int64_t, const Quantized &)> store) {
  int64_t blocks = matrix.rows / kBlockRows;
  // Along what lies side by side in memory.
  if (matrix.rowStride < matrix.columnStride) {
    llvm::parallelFor(0, matrix.columns, [&](size_t column) {
      std::vector<float> values(matrix.rows);
      matrix.read(column * matrix.columnStride, matrix.rowStride, values);
      for (int64_t block = 0; block < blocks; ++block)
        store(block, column,
              quantize(ArrayRef(values).slice(block * kBlockRows, kBlockRows)));
    });
    return;
  }
  llvm::parallelFor(0, blocks, [&](size_t block) {
    int64_t columns = matrix.columns;
    std::vector<float> rows(kBlockRows * columns);
    for (int64_t row = 0; row < kBlockRows; ++row)
      matrix.read((block * kBlockRows + row) * matrix.rowStride,
                  matrix.columnStride,
                  MutableArrayRef<float>(rows).slice(row * columns, columns));
    std::array<float, kBlockRows> values;
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t row = 0; row < kBlockRows; ++row)
        values[row] = rows[row * columns + column];
      store(block, column, quantize(values));
    }
  });
}

static Quantized (*getQuantizer(WeightFormat format))(ArrayRef<float>) {
  switch (format) {
  case WeightFormat::Int8:
    return quantizeInt8;
  case WeightFormat::Int4:
    return quantizeInt4;
  case WeightFormat::UInt8:
    return quantizeUInt8;
  case WeightFormat::UInt4:
    return quantizeUInt4;
  case WeightFormat::BF16:
  case WeightFormat::F16:
    break;
  }
  llvm_unreachable("a format without blocks");
}

void rwkvc::encodeBlocks(const MatrixView &matrix, WeightFormat format,
                         Layout layout, MutableArrayRef<char> numbers,
                         MutableArrayRef<char> scales,
                         MutableArrayRef<char> zeros) {
  bool columnsFirst = layout == Layout::ColumnsFirst;
  int64_t blocks = matrix.rows / kBlockRows, columns = matrix.columns;
  int64_t bytes = hasNibbles(format) ? kBlockRows / 2 : kBlockRows;
  int64_t step = columnsFirst ? 1 : columns; // from byte to byte of a block
  forEachBlock(matrix, getQuantizer(format),
               [&](int64_t block, int64_t column, const Quantized &quantized) {
                 int64_t place = columnsFirst ? column * blocks + block
                                              : block * columns + column;
                 char *to = numbers.data() +
                            (columnsFirst ? place * bytes
                                          : block * bytes * columns + column);
                 for (int64_t i = 0; i < bytes; ++i) {
                   int number = quantized.numbers[i];
                   if (hasNibbles(format))
                     number = (number & 15) |
                              (quantized.numbers[bytes + i] & 15) << 4;
                   to[i * step] = static_cast<char>(number);
                 }
                 std::memcpy(scales.data() + 2 * place, &quantized.scale, 2);
                 if (hasZeros(format))
                   zeros[place] = static_cast<char>(quantized.zero);
               });
}

double rwkvc::measureError(const MatrixView &matrix, WeightFormat format) {
  bool byColumns = matrix.rowStride < matrix.columnStride;
  int64_t lines = byColumns ? matrix.columns : matrix.rows;
  int64_t length = byColumns ? matrix.rows : matrix.columns;
  std::vector<double> squares(lines), errors(lines);
  llvm::parallelFor(0, lines, [&](size_t line) {
    SmallVector<float> values(length);
    matrix.read(line * (byColumns ? matrix.columnStride : matrix.rowStride),
                byColumns ? matrix.rowStride : matrix.columnStride, values);
    for (float value : values) {
      squares[line] += double(value) * value;
      if (hasBlocks(format))
        continue;
      float kept = format == WeightFormat::BF16
                       ? fromBF16(roundToBF16(value))
                       : fromHalf(round16(value, llvm::APFloat::IEEEhalf()));
      errors[line] += double(value - kept) * (value - kept);
    }
  });
  if (hasBlocks(format)) {
    // Each column's, or each block's, in an element of its own.
    errors.assign(std::max(matrix.columns, matrix.rows / kBlockRows), 0.0);
    forEachBlock(
        matrix, getQuantizer(format),
        [&](int64_t block, int64_t column, const Quantized &quantized) {
          errors[byColumns ? column : block] += quantized.error;
        });
  }
  auto sum = [](ArrayRef<double> values) {
    return std::accumulate(values.begin(), values.end(), 0.0);
  };
  double total = sum(squares);
  return total == 0.0 ? 0.0 : std::sqrt(sum(errors) / total);
}
