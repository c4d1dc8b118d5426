//===- WeightFormats.cpp - Matrices in fewer bits -------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightFormats.h"
#include "rwkvc/Transforms/Passes.h"
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

// The same numbers whatever the processor: no product is added unrounded.
#pragma STDC FP_CONTRACT OFF

// For functions in which a compilation spends its time: made for several
// processors, of which the machine's is chosen at load. They need what they
// call inlined.
#if defined(__x86_64__) && defined(__ELF__)
#define RWKVC_CLONES                                                           \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define RWKVC_CLONES
#endif

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

/// Without branches too.
static float fromHalf(uint16_t bits) {
  uint32_t sign = (bits & 0x8000u) << 16, size = (bits & 0x7fffu) << 13;
  // With a float's exponents it is 2^112 times too small, subnormal or not.
  auto finite =
      llvm::bit_cast<uint32_t>(llvm::bit_cast<float>(size) * 0x1p112f);
  bool isFinite = size < 0x7c00u << 13;
  return llvm::bit_cast<float>(sign | (isFinite ? finite : size | 0x7f800000u));
}

/// The least bf16 that is not below \p value, which is not negative.
static uint16_t roundUpToBF16(float value) {
  auto bits = llvm::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0xffff) >> 16);
}

namespace {
enum class Element { F64, F32, F16, BF16 };
} // namespace

static Element getElement(Type type) {
  if (type.isF64())
    return Element::F64;
  if (type.isF32())
    return Element::F32;
  return type.isF16() ? Element::F16 : Element::BF16;
}

static int64_t getSize(Element element) {
  return element == Element::F64 ? 8 : element == Element::F32 ? 4 : 2;
}

template <typename T, typename Convert>
LLVM_ATTRIBUTE_ALWAYS_INLINE static void readAll(const char *from, int64_t step,
                                                 int64_t count, float *to,
                                                 Convert convert) {
  // A constant step lets several be read at once.
  if (step == sizeof(T))
    for (int64_t i = 0; i < count; ++i)
      to[i] = convert(readAs<T>(from + i * sizeof(T)));
  else
    for (int64_t i = 0; i < count; ++i)
      to[i] = convert(readAs<T>(from + i * step));
}

/// Reads \p count elements, \p step bytes apart.
LLVM_ATTRIBUTE_ALWAYS_INLINE static void readLine(const char *from,
                                                  int64_t step, Element element,
                                                  int64_t count, float *to) {
  switch (element) {
  case Element::F64:
    return readAll<double>(from, step, count, to, [](double value) {
      return static_cast<float>(value);
    });
  case Element::F32:
    return readAll<float>(from, step, count, to,
                          [](float value) { return value; });
  case Element::F16:
    return readAll<uint16_t>(from, step, count, to, fromHalf);
  case Element::BF16:
    return readAll<uint16_t>(from, step, count, to, fromBF16);
  }
}

/// Without a sign the bits of numbers have the order of the numbers, and what
/// is none comes last.
RWKVC_CLONES static int32_t findLargestBits(const char *from, Element element,
                                            int64_t count) {
  constexpr int64_t kChunk = 256;
  int64_t size = getSize(element);
  int32_t largest = 0;
  for (int64_t at = 0; at < count; at += kChunk) {
    float values[kChunk] = {};
    readLine(from + at * size, size, element, std::min(kChunk, count - at),
             values);
    for (float value : values)
      largest = std::max(largest, llvm::bit_cast<int32_t>(value) & 0x7fffffff);
  }
  return largest;
}

float rwkvc::findLargest(ArrayRef<char> bytes, Type type) {
  Element element = getElement(type);
  auto largest = llvm::bit_cast<float>(
      findLargestBits(bytes.data(), element, bytes.size() / getSize(element)));
  return std::isnan(largest) ? INFINITY : largest;
}

/// Rounds elements, \p step bytes apart, to 16 bits.
RWKVC_CLONES static void round16(const char *from, int64_t step,
                                 Element element, bool isBF16, int64_t count,
                                 uint16_t *numbers) {
  constexpr int64_t kChunk = 256;
  for (int64_t at = 0; at < count; at += kChunk) {
    int64_t length = std::min(kChunk, count - at);
    float values[kChunk];
    readLine(from + at * step, step, element, length, values);
    if (isBF16)
      for (int64_t i = 0; i < length; ++i)
        numbers[at + i] = roundToBF16(values[i]);
    else
      for (int64_t i = 0; i < length; ++i)
        numbers[at + i] = roundToHalf(values[i]);
  }
}

void rwkvc::encode16(const MatrixView &matrix, Type type, Layout layout,
                     MutableArrayRef<char> target) {
  Element element = getElement(matrix.element);
  int64_t size = getSize(element);
  bool columnsFirst = layout == Layout::ColumnsFirst;
  int64_t lines = columnsFirst ? matrix.columns : matrix.rows;
  int64_t length = columnsFirst ? matrix.rows : matrix.columns;
  int64_t outer = columnsFirst ? matrix.columnStride : matrix.rowStride;
  int64_t inner = columnsFirst ? matrix.rowStride : matrix.columnStride;
  llvm::parallelFor(0, lines, [&](size_t line) {
    std::vector<uint16_t> numbers(length);
    round16(matrix.bytes.data() + line * outer * size, inner * size, element,
            type.isBF16(), length, numbers.data());
    std::memcpy(target.data() + line * length * 2, numbers.data(), 2 * length);
  });
}

namespace {

/// Columns that are computed at once, an instruction for several.
constexpr int64_t kLanes = 16;

template <typename T> using Lanes = std::array<T, kLanes>;

/// So many columns of a block, and what they become.
struct Tile {
  std::array<Lanes<float>, kBlockRows> values;
  std::array<Lanes<int8_t>, kBlockRows> numbers; ///< bits, if without a sign
  Lanes<uint16_t> scales;                        ///< bf16
  Lanes<float> zeros;                            ///< zero points
  Lanes<float> errors;                           ///< sums of squares
};

/// Which numbers there are.
struct Grid {
  float lowest, highest;
};

} // namespace

static Grid getGrid(WeightFormat format) {
  switch (format) {
  case WeightFormat::Int8:
    return {-127.0f, 127.0f};
  case WeightFormat::Int4:
    return {-8.0f, 7.0f};
  case WeightFormat::UInt8:
    return {0.0f, 255.0f};
  case WeightFormat::UInt4:
    return {0.0f, 15.0f};
  case WeightFormat::BF16:
  case WeightFormat::F16:
    break;
  }
  llvm_unreachable("a format without blocks");
}

/// Rounds the values of \p tile to multiples of \p scaleBits on \p grid,
/// counted from \p zeros , and gives them to \p store ; returns the sum of
/// squared errors of each column. A tiny scale has no finite inverse.
template <bool kHasInverses, typename Store>
LLVM_ATTRIBUTE_ALWAYS_INLINE static Lanes<float>
roundTo(const Tile &tile, const Lanes<float> &scales,
        const Lanes<float> &inverses, const Lanes<float> &zeros, Grid grid,
        Store store) {
  // Adding it leaves no room for a fraction, rounded to nearest even.
  constexpr float kUnits = 12582912.0f;
  Lanes<float> errors{};
  for (int64_t row = 0; row < kBlockRows; ++row)
    for (int64_t i = 0; i < kLanes; ++i) {
      float value = tile.values[row][i], quotient = value * inverses[i];
      if (!kHasInverses && !std::isfinite(inverses[i]))
        quotient = value / scales[i];
      float lowest = grid.lowest - zeros[i], highest = grid.highest - zeros[i];
      float rounded = std::min(std::max(quotient, lowest), highest) + kUnits;
      rounded -= kUnits;
      store(row, i, rounded);
      float difference = value - rounded * scales[i];
      errors[i] += difference * difference;
    }
  return errors;
}

template <typename Store>
LLVM_ATTRIBUTE_ALWAYS_INLINE static Lanes<float>
roundTo(const Tile &tile, const Lanes<uint16_t> &scaleBits,
        const Lanes<float> &zeros, Grid grid, Store store) {
  Lanes<float> scales, inverses;
  bool hasInverses = true;
  for (int64_t i = 0; i < kLanes; ++i) {
    scales[i] = fromBF16(scaleBits[i]);
    inverses[i] = scales[i] != 0.0f ? 1.0f / scales[i] : 0.0f;
    hasInverses &= std::isfinite(inverses[i]);
  }
  return hasInverses
             ? roundTo<true>(tile, scales, inverses, zeros, grid, store)
             : roundTo<false>(tile, scales, inverses, zeros, grid, store);
}

/// Keeps \p scales and \p zeros for those columns of \p tile where they are
/// better than what it has.
LLVM_ATTRIBUTE_ALWAYS_INLINE static void improve(Tile &tile,
                                                 const Lanes<uint16_t> &scales,
                                                 const Lanes<float> &zeros,
                                                 Grid grid) {
  Lanes<float> errors =
      roundTo(tile, scales, zeros, grid, [](int64_t, int64_t, float) {});
  for (int64_t i = 0; i < kLanes; ++i) {
    bool isBetter = !(errors[i] >= tile.errors[i]);
    tile.scales[i] = isBetter ? scales[i] : tile.scales[i];
    tile.zeros[i] = isBetter ? zeros[i] : tile.zeros[i];
    tile.errors[i] = isBetter ? errors[i] : tile.errors[i];
  }
}

LLVM_ATTRIBUTE_ALWAYS_INLINE static void fitInt8(Tile &tile) {
  Lanes<float> largest{};
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i)
      largest[i] = std::max(largest[i], std::fabs(row[i]));
  for (int64_t i = 0; i < kLanes; ++i)
    tile.scales[i] = roundUpToBF16(largest[i] / 127.0f);
  tile.zeros = {};
}

LLVM_ATTRIBUTE_ALWAYS_INLINE static void fitInt4(Tile &tile) {
  Lanes<float> extremes{};
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i)
      extremes[i] =
          std::fabs(row[i]) > std::fabs(extremes[i]) ? row[i] : extremes[i];
  // There is one more number below zero than above, so the scale has the sign
  // that makes the extreme one negative. A shorter grid may fit the others
  // better.
  tile.errors.fill(NAN); // none yet
  for (float steps : {8.0f, 7.6f, 7.2f, 6.8f}) {
    Lanes<uint16_t> scales;
    for (int64_t i = 0; i < kLanes; ++i)
      scales[i] = roundToBF16(-extremes[i] / steps);
    improve(tile, scales, {}, getGrid(WeightFormat::Int4));
  }
}

/// The least and the largest element of each column.
LLVM_ATTRIBUTE_ALWAYS_INLINE static void
findRanges(const Tile &tile, Lanes<float> &low, Lanes<float> &high) {
  low = high = tile.values[0];
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i) {
      low[i] = std::min(low[i], row[i]);
      high[i] = std::max(high[i], row[i]);
    }
}

LLVM_ATTRIBUTE_ALWAYS_INLINE static void fitUInt8(Tile &tile) {
  Lanes<float> low, high;
  findRanges(tile, low, high);
  for (int64_t i = 0; i < kLanes; ++i) {
    // The range includes 0, so that the zero point is a number of the grid.
    float least = std::min(low[i], 0.0f), most = std::max(high[i], 0.0f);
    tile.scales[i] = roundUpToBF16((most - least) / 255.0f);
    float scale = fromBF16(tile.scales[i]);
    tile.zeros[i] = scale == 0.0f ? 0.0f
                                  : std::clamp(std::nearbyint(-least / scale),
                                               0.0f, 255.0f);
  }
}

LLVM_ATTRIBUTE_ALWAYS_INLINE static void fitUInt4(Tile &tile) {
  Lanes<float> low, high;
  findRanges(tile, low, high);
  tile.errors.fill(NAN); // none yet
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
    improve(tile, scales, zeros, getGrid(WeightFormat::UInt4));
  }
}

/// Finds scales and zero points for the values of \p tile.
LLVM_ATTRIBUTE_ALWAYS_INLINE static void fit(Tile &tile, WeightFormat format) {
  switch (format) {
  case WeightFormat::Int8:
    return fitInt8(tile);
  case WeightFormat::Int4:
    return fitInt4(tile);
  case WeightFormat::UInt8:
    return fitUInt8(tile);
  case WeightFormat::UInt4:
    return fitUInt4(tile);
  case WeightFormat::BF16:
  case WeightFormat::F16:
    break;
  }
  llvm_unreachable("a format without blocks");
}

/// Computes \p tile for \p count columns whose first element is at \p from.
/// Numbers, and errors with them, only if they are wanted.
RWKVC_CLONES static void quantize(const char *from, Element element,
                                  int64_t rowStep, int64_t columnStep,
                                  int64_t count, WeightFormat format,
                                  bool wantsNumbers, Tile &tile) {
  if (rowStep < columnStep)
    for (int64_t i = 0; i < count; ++i) {
      float column[kBlockRows];
      readLine(from + i * columnStep, rowStep, element, kBlockRows, column);
      for (int64_t row = 0; row < kBlockRows; ++row)
        tile.values[row][i] = column[row];
    }
  else
    for (int64_t row = 0; row < kBlockRows; ++row) {
      float *to = tile.values[row].data();
      if (count == kLanes)
        readLine(from + row * rowStep, columnStep, element, kLanes, to);
      else
        readLine(from + row * rowStep, columnStep, element, count, to);
    }
  fit(tile, format);
  if (!wantsNumbers)
    return;
  auto store = [&](int64_t row, int64_t i, float rounded) {
    tile.numbers[row][i] =
        static_cast<int8_t>(static_cast<int32_t>(rounded + tile.zeros[i]));
  };
  tile.errors = roundTo(tile, tile.scales, tile.zeros, getGrid(format), store);
}

/// Calls \p store with each block, the first of some columns, how many there
/// are, and what they become in \p format .
static void forEachTile(
    const MatrixView &matrix, WeightFormat format, bool wantsNumbers,
    llvm::function_ref<void(int64_t, int64_t, int64_t, const Tile &)> store) {
  Element element = getElement(matrix.element);
  int64_t rowStep = matrix.rowStride * getSize(element);
  int64_t columnStep = matrix.columnStride * getSize(element);
  llvm::parallelFor(0, matrix.rows / kBlockRows, [&](size_t block) {
    const char *first = matrix.bytes.data() + block * kBlockRows * rowStep;
    Tile tile{};
    for (int64_t column = 0; column < matrix.columns; column += kLanes) {
      int64_t count = std::min(kLanes, matrix.columns - column);
      quantize(first + column * columnStep, element, rowStep, columnStep, count,
               format, wantsNumbers, tile);
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
  int64_t perColumn = columnsFirst ? blocks * bytes : 1;
  auto storeNumbers = [&](char *to, int64_t count, const Tile &tile) {
    for (int64_t row = 0; row < bytes; ++row, to += byteStep) {
      Lanes<int8_t> line = tile.numbers[row];
      if (hasNibbles(format))
        for (int64_t i = 0; i < kLanes; ++i)
          line[i] = static_cast<int8_t>((line[i] & 15) |
                                        tile.numbers[bytes + row][i] << 4);
      if (!columnsFirst && count == kLanes)
        std::memcpy(to, line.data(), kLanes);
      else
        for (int64_t i = 0; i < count; ++i)
          to[i * perColumn] = static_cast<char>(line[i]);
    }
  };
  forEachTile(
      matrix, format, !numbers.empty(),
      [&](int64_t block, int64_t column, int64_t count, const Tile &tile) {
        int64_t place =
            columnsFirst ? column * blocks + block : block * columns + column;
        if (!numbers.empty())
          storeNumbers(numbers.data() +
                           (columnsFirst ? place * bytes
                                         : block * bytes * columns + column),
                       count, tile);
        for (int64_t i = 0; i < count; ++i) {
          int64_t at = place + i * columnStep;
          if (!scales.empty())
            std::memcpy(scales.data() + 2 * at, &tile.scales[i], 2);
          if (!zeros.empty())
            zeros[at] = static_cast<char>(static_cast<int32_t>(tile.zeros[i]));
        }
      });
}

double WeightError::relative() const {
  return squares == 0.0 ? 0.0 : std::sqrt(errors / squares);
}

/// Reads a row as float.
static std::vector<float> readRow(const MatrixView &matrix, int64_t row) {
  std::vector<float> values(matrix.columns);
  Element element = getElement(matrix.element);
  int64_t size = getSize(element);
  readLine(matrix.bytes.data() + row * matrix.rowStride * size,
           matrix.columnStride * size, element, matrix.columns, values.data());
  return values;
}

WeightError rwkvc::measureError(const MatrixView &matrix, WeightFormat format) {
  // Those of each row, or of each block, in an element of its own.
  std::vector<WeightError> parts(matrix.rows);
  llvm::parallelFor(0, matrix.rows, [&](size_t row) {
    for (float value : readRow(matrix, row)) {
      parts[row].squares += double(value) * value;
      if (hasBlocks(format))
        continue;
      double kept = format == WeightFormat::BF16 ? fromBF16(roundToBF16(value))
                                                 : fromHalf(roundToHalf(value));
      parts[row].errors += (value - kept) * (value - kept);
    }
  });
  if (hasBlocks(format))
    forEachTile(matrix, format, /*wantsNumbers=*/true,
                [&](int64_t block, int64_t, int64_t count, const Tile &tile) {
                  for (int64_t i = 0; i < count; ++i)
                    parts[block].errors += tile.errors[i];
                });
  WeightError total;
  for (const WeightError &part : parts)
    total += part;
  return total;
}
