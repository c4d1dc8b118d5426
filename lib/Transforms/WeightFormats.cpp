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

/// The bits of finite \p value as f16, rounded to nearest even. Without
/// branches, as compilers need it to compute several at once.
static uint16_t roundToHalf(float value) {
  auto bits = llvm::bit_cast<uint32_t>(value);
  uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  // Below 2^-14 adding 1/2 leaves the bits of a subnormal number last.
  uint32_t small =
      llvm::bit_cast<uint32_t>(llvm::bit_cast<float>(size) + 0.5f) -
      llvm::bit_cast<uint32_t>(0.5f);
  uint32_t normal = (size - (112u << 23) + 0xfffu + (size >> 13 & 1u)) >> 13;
  uint32_t rounded = size < (113u << 23) ? small : normal;
  return static_cast<uint16_t>(sign |
                               (size >= (143u << 23) ? 0x7c00u : rounded));
}

/// The same as bf16.
static uint16_t roundToBF16(float value) {
  auto bits = llvm::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
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

void MatrixView::read(int64_t first, int64_t stride,
                      MutableArrayRef<float> values) const {
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  const char *from = bytes.data() + first * size;
  int64_t step = stride * size;
  if (element.isF32() && stride == 1) {
    std::memcpy(values.data(), from, values.size() * sizeof(float));
    return;
  }
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
    // Without a sign the bits of numbers have the order of the numbers, and
    // what is none comes last.
    int32_t bits = 0;
    for (float value : values)
      bits = std::max(bits, llvm::bit_cast<int32_t>(value) & 0x7fffffff);
    float found = llvm::bit_cast<float>(bits);
    largest[line] = std::isnan(found) ? INFINITY : found;
  });
  return lines == 0 ? 0.0f : *llvm::max_element(largest);
}

/// Rounds \p values to 16 bits.
static void round16(ArrayRef<float> values, bool isBF16,
                    MutableArrayRef<uint16_t> numbers) {
  if (isBF16)
    for (auto [value, number] : llvm::zip_equal(values, numbers))
      number = roundToBF16(value);
  else
    for (auto [value, number] : llvm::zip_equal(values, numbers))
      number = roundToHalf(value);
}

void rwkvc::encode16(const MatrixView &matrix, Type element, Layout layout,
                     MutableArrayRef<char> target) {
  bool columnsFirst = layout == Layout::ColumnsFirst;
  int64_t lines = columnsFirst ? matrix.columns : matrix.rows;
  int64_t length = columnsFirst ? matrix.rows : matrix.columns;
  llvm::parallelFor(0, lines, [&](size_t line) {
    SmallVector<float> values(length);
    matrix.read(line * (columnsFirst ? matrix.columnStride : matrix.rowStride),
                columnsFirst ? matrix.rowStride : matrix.columnStride, values);
    SmallVector<uint16_t> numbers(length);
    round16(values, element.isBF16(), numbers);
    std::memcpy(target.data() + line * length * 2, numbers.data(), 2 * length);
  });
}

namespace {

/// Columns that are computed at once, an instruction for several.
constexpr int64_t kLanes = 16;

template <typename T> using Lanes = std::array<T, kLanes>;
using Numbers = std::array<Lanes<int8_t>, kBlockRows>;

/// So many columns of a block, and what they become.
struct Tile {
  std::array<Lanes<float>, kBlockRows> values;
  Numbers numbers;        ///< their bits, where they have no sign
  Lanes<uint16_t> scales; ///< bf16
  Lanes<float> zeros;     ///< zero points
  Lanes<float> errors;    ///< sums of squares
};

/// Which numbers there are.
struct Grid {
  float lowest, highest;
};

} // namespace

/// Rounds the values of \p tile to multiples of \p scales on \p grid , counted
/// from \p zeros ; returns the sum of squared errors of each column.
static Lanes<float> roundTo(const Tile &tile, const Lanes<uint16_t> &scaleBits,
                            const Lanes<float> &zeros, Grid grid,
                            Numbers &numbers) {
  Lanes<float> scales, inverses, lowest, highest, errors{};
  bool hasInverses = true;
  for (int64_t i = 0; i < kLanes; ++i) {
    scales[i] = fromBF16(scaleBits[i]);
    inverses[i] = scales[i] != 0.0f ? 1.0f / scales[i] : 0.0f;
    hasInverses &= std::isfinite(inverses[i]);
    lowest[i] = grid.lowest - zeros[i];
    highest[i] = grid.highest - zeros[i];
  }
  // Adding it leaves no room for a fraction, rounded to nearest even.
  constexpr float kUnits = 12582912.0f;
  for (int64_t row = 0; row < kBlockRows; ++row)
    for (int64_t i = 0; i < kLanes; ++i) {
      float value = tile.values[row][i], quotient = value * inverses[i];
      // A tiny scale has no finite inverse.
      if (!hasInverses && !std::isfinite(inverses[i]))
        quotient = value / scales[i];
      float rounded =
          std::min(std::max(quotient, lowest[i]), highest[i]) + kUnits;
      rounded -= kUnits;
      numbers[row][i] =
          static_cast<int8_t>(static_cast<int32_t>(rounded + zeros[i]));
      float difference = value - rounded * scales[i];
      errors[i] += difference * difference;
    }
  return errors;
}

/// Keeps \p scales and \p zeros , and the numbers they give, for those columns
/// of \p tile where they are better than what it has.
static void improve(Tile &tile, const Lanes<uint16_t> &scales,
                    const Lanes<float> &zeros, Grid grid) {
  Numbers numbers;
  Lanes<float> errors = roundTo(tile, scales, zeros, grid, numbers);
  Lanes<int8_t> isBetter;
  for (int64_t i = 0; i < kLanes; ++i) {
    isBetter[i] = errors[i] < tile.errors[i] ? -1 : 0;
    tile.scales[i] = isBetter[i] ? scales[i] : tile.scales[i];
    tile.zeros[i] = isBetter[i] ? zeros[i] : tile.zeros[i];
    tile.errors[i] = isBetter[i] ? errors[i] : tile.errors[i];
  }
  for (int64_t row = 0; row < kBlockRows; ++row)
    for (int64_t i = 0; i < kLanes; ++i)
      tile.numbers[row][i] =
          static_cast<int8_t>((numbers[row][i] & isBetter[i]) |
                              (tile.numbers[row][i] & ~isBetter[i]));
}

static void quantizeInt8(Tile &tile) {
  Lanes<float> largest{};
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i)
      largest[i] = std::max(largest[i], std::fabs(row[i]));
  for (int64_t i = 0; i < kLanes; ++i)
    tile.scales[i] = roundUpToBF16(largest[i] / 127.0f);
  tile.zeros = {};
  tile.errors =
      roundTo(tile, tile.scales, tile.zeros, {-127.0f, 127.0f}, tile.numbers);
}

static void quantizeInt4(Tile &tile) {
  Lanes<float> extremes{};
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i)
      extremes[i] =
          std::fabs(row[i]) > std::fabs(extremes[i]) ? row[i] : extremes[i];
  // There is one more number below zero than above, so the scale has the sign
  // that makes the extreme one negative. A shorter grid may fit the others
  // better.
  tile.errors.fill(INFINITY);
  for (float steps : {8.0f, 7.6f, 7.2f, 6.8f}) {
    Lanes<uint16_t> scales;
    for (int64_t i = 0; i < kLanes; ++i)
      scales[i] = roundToBF16(-extremes[i] / steps);
    improve(tile, scales, {}, {-8.0f, 7.0f});
  }
}

/// The least and the largest element of each column.
static std::pair<Lanes<float>, Lanes<float>> findRanges(const Tile &tile) {
  Lanes<float> low = tile.values[0], high = tile.values[0];
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i) {
      low[i] = std::min(low[i], row[i]);
      high[i] = std::max(high[i], row[i]);
    }
  return {low, high};
}

static void quantizeUInt8(Tile &tile) {
  auto [low, high] = findRanges(tile);
  for (int64_t i = 0; i < kLanes; ++i) {
    // The range includes 0, so that the zero point is a number of the grid.
    float least = std::min(low[i], 0.0f), most = std::max(high[i], 0.0f);
    tile.scales[i] = roundUpToBF16((most - least) / 255.0f);
    float scale = fromBF16(tile.scales[i]);
    tile.zeros[i] = scale == 0.0f ? 0.0f
                                  : std::clamp(std::nearbyint(-least / scale),
                                               0.0f, 255.0f);
  }
  tile.errors =
      roundTo(tile, tile.scales, tile.zeros, {0.0f, 255.0f}, tile.numbers);
}

static void quantizeUInt4(Tile &tile) {
  auto [low, high] = findRanges(tile);
  tile.errors.fill(INFINITY);
  for (float steps : {15.0f, 15.8f, 16.6f, 14.2f}) {
    Lanes<uint16_t> scales;
    Lanes<float> zeros;
    for (int64_t i = 0; i < kLanes; ++i) {
      float middle = (low[i] + high[i]) / 2, range = high[i] - low[i];
      // All equal: the grid reaches from 0 to the value.
      if (range == 0.0f)
        range = 2 * std::fabs(middle);
      scales[i] = roundToBF16(range / steps);
      float scale = fromBF16(scales[i]);
      zeros[i] = scale == 0.0f ? 0.0f
                               : std::nearbyint(std::clamp(
                                     7.5f - middle / scale, -128.0f, 127.0f));
    }
    improve(tile, scales, zeros, {0.0f, 15.0f});
  }
}

static void (*getQuantizer(WeightFormat format))(Tile &) {
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

/// Calls \p store with each block, the first of some columns, how many there
/// are, and what they become in \p format .
static void forEachTile(
    const MatrixView &matrix, WeightFormat format,
    llvm::function_ref<void(int64_t, int64_t, int64_t, const Tile &)> store) {
  int64_t columns = matrix.columns;
  void (*quantize)(Tile &) = getQuantizer(format);
  llvm::parallelFor(0, matrix.rows / kBlockRows, [&](size_t block) {
    std::vector<float> rows(kBlockRows * columns);
    for (int64_t row = 0; row < kBlockRows; ++row)
      matrix.read((block * kBlockRows + row) * matrix.rowStride,
                  matrix.columnStride,
                  MutableArrayRef<float>(rows).slice(row * columns, columns));
    Tile tile{};
    for (int64_t column = 0; column < columns; column += kLanes) {
      int64_t count = std::min(kLanes, columns - column);
      for (int64_t row = 0; row < kBlockRows; ++row)
        std::copy_n(rows.begin() + row * columns + column, count,
                    tile.values[row].begin());
      quantize(tile);
      store(block, column, count, tile);
    }
  });
}

void rwkvc::encodeBlocks(const MatrixView &matrix, WeightFormat format,
                         Layout layout, MutableArrayRef<char> numbers,
                         MutableArrayRef<char> scales,
                         MutableArrayRef<char> zeros) {
  bool columnsFirst = layout == Layout::ColumnsFirst;
  int64_t blocks = matrix.rows / kBlockRows, columns = matrix.columns;
  int64_t bytes = hasNibbles(format) ? kBlockRows / 2 : kBlockRows;
  // From column to column, of scales, and from byte to byte of a block.
  int64_t columnStep = columnsFirst ? blocks : 1;
  int64_t byteStep = columnsFirst ? 1 : columns;
  forEachTile(
      matrix, format,
      [&](int64_t block, int64_t column, int64_t count, const Tile &tile) {
        int64_t place =
            columnsFirst ? column * blocks + block : block * columns + column;
        char *to =
            numbers.data() +
            (columnsFirst ? place * bytes : block * bytes * columns + column);
        int64_t perColumn = columnsFirst ? blocks * bytes : 1;
        for (int64_t row = 0; row < bytes; ++row) {
          Lanes<int8_t> line = tile.numbers[row];
          if (hasNibbles(format))
            for (int64_t i = 0; i < kLanes; ++i)
              line[i] = static_cast<int8_t>((line[i] & 15) |
                                            tile.numbers[bytes + row][i] << 4);
          for (int64_t i = 0; i < count; ++i)
            to[row * byteStep + i * perColumn] = static_cast<char>(line[i]);
        }
        for (int64_t i = 0; i < count; ++i) {
          int64_t at = place + i * columnStep;
          std::memcpy(scales.data() + 2 * at, &tile.scales[i], 2);
          if (hasZeros(format))
            zeros[at] = static_cast<char>(static_cast<int32_t>(tile.zeros[i]));
        }
      });
}

double WeightError::relative() const {
  return squares == 0.0 ? 0.0 : std::sqrt(errors / squares);
}

WeightError rwkvc::measureError(const MatrixView &matrix, WeightFormat format) {
  // Those of each row, or of each block, in an element of its own.
  std::vector<WeightError> parts(matrix.rows);
  llvm::parallelFor(0, matrix.rows, [&](size_t row) {
    SmallVector<float> values(matrix.columns);
    matrix.read(row * matrix.rowStride, matrix.columnStride, values);
    for (float value : values)
      parts[row].squares += double(value) * value;
    if (hasBlocks(format))
      return;
    bool isBF16 = format == WeightFormat::BF16;
    SmallVector<uint16_t> numbers(matrix.columns);
    round16(values, isBF16, numbers);
    for (auto [value, number] : llvm::zip_equal(values, numbers)) {
      double kept = isBF16 ? fromBF16(number) : fromHalf(number);
      parts[row].errors += (value - kept) * (value - kept);
    }
  });
  if (hasBlocks(format))
    forEachTile(matrix, format,
                [&](int64_t block, int64_t, int64_t count, const Tile &tile) {
                  for (int64_t i = 0; i < count; ++i)
                    parts[block].errors += tile.errors[i];
                });
  WeightError total;
  for (const WeightError &part : parts)
    total += part;
  return total;
}
