//===- WeightFormats.cpp - Matrices in fewer bits -------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightFormats.h"
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

void MatrixView::readRow(int64_t row, MutableArrayRef<float> values) const {
  int64_t size = element.getIntOrFloatBitWidth() / 8;
  const char *from = bytes.data() + row * rowStride * size;
  int64_t step = columnStride * size;
  if (element.isF32() && columnStride == 1) {
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
  std::vector<float> largest(rows);
  llvm::parallelFor(0, rows, [&](size_t row) {
    SmallVector<float> values(columns);
    readRow(row, values);
    // Without a sign the bits of numbers have the order of the numbers, and
    // what is none comes last.
    int32_t bits = 0;
    for (float value : values)
      bits = std::max(bits, llvm::bit_cast<int32_t>(value) & 0x7fffffff);
    float found = llvm::bit_cast<float>(bits);
    largest[row] = std::isnan(found) ? INFINITY : found;
  });
  return rows == 0 ? 0.0f : *llvm::max_element(largest);
}

void rwkvc::encode16(const MatrixView &matrix, Type element,
                     MutableArrayRef<char> target) {
  bool isBF16 = element.isBF16();
  llvm::parallelFor(0, matrix.rows, [&](size_t row) {
    SmallVector<float> values(matrix.columns);
    matrix.readRow(row, values);
    SmallVector<uint16_t> bits(matrix.columns);
    if (isBF16)
      for (auto [value, number] : llvm::zip_equal(values, bits))
        number = roundToBF16(value);
    else
      for (auto [value, number] : llvm::zip_equal(values, bits))
        number = roundToHalf(value);
    llvm::copy(
        llvm::ArrayRef(reinterpret_cast<char *>(bits.data()), 2 * bits.size()),
        target.data() + row * matrix.columns * 2);
  });
}

namespace {

/// Columns that are computed at once, an instruction for several.
constexpr int64_t kLanes = 16;

template <typename T> using Lanes = std::array<T, kLanes>;

/// So many columns of a block, and what they become.
struct Tile {
  std::array<Lanes<float>, kBlockRows> values;
  std::array<Lanes<int8_t>, kBlockRows> numbers;
  Lanes<uint16_t> scales; ///< bf16
};

} // namespace

/// Rounds the values of \p tile to multiples of \p scales from \p lowest to
/// \p highest ; returns the sum of squared errors of each column.
static Lanes<float> roundTo(const Tile &tile, const Lanes<float> &scales,
                            float lowest, float highest,
                            std::array<Lanes<int8_t>, kBlockRows> &numbers) {
  Lanes<float> inverses, errors{};
  bool hasInverses = true;
  for (int64_t i = 0; i < kLanes; ++i) {
    inverses[i] = scales[i] != 0.0f ? 1.0f / scales[i] : 0.0f;
    hasInverses &= std::isfinite(inverses[i]);
  }
  // Adding it leaves no room for a fraction, rounded to nearest even.
  constexpr float kUnits = 12582912.0f;
  for (int64_t row = 0; row < kBlockRows; ++row)
    for (int64_t i = 0; i < kLanes; ++i) {
      float value = tile.values[row][i], quotient = value * inverses[i];
      // A tiny scale has no finite inverse.
      if (!hasInverses && !std::isfinite(inverses[i]))
        quotient = value / scales[i];
      float rounded = std::min(std::max(quotient, lowest), highest) + kUnits;
      rounded -= kUnits;
      numbers[row][i] = static_cast<int8_t>(static_cast<int32_t>(rounded));
      float difference = value - rounded * scales[i];
      errors[i] += difference * difference;
    }
  return errors;
}

static void quantize8(Tile &tile) {
  Lanes<float> largest{}, scales;
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i)
      largest[i] = std::max(largest[i], std::fabs(row[i]));
  for (int64_t i = 0; i < kLanes; ++i) {
    tile.scales[i] = roundUpToBF16(largest[i] / 127.0f);
    scales[i] = fromBF16(tile.scales[i]);
  }
  roundTo(tile, scales, -127.0f, 127.0f, tile.numbers);
}

static void quantize4(Tile &tile) {
  Lanes<float> extremes{}, least, scales;
  for (const Lanes<float> &row : tile.values)
    for (int64_t i = 0; i < kLanes; ++i)
      extremes[i] =
          std::fabs(row[i]) > std::fabs(extremes[i]) ? row[i] : extremes[i];
  // There is one more number below zero than above, so the scale has the sign
  // that makes the extreme one negative. A shorter grid may fit the others
  // better.
  least.fill(INFINITY);
  std::array<Lanes<int8_t>, kBlockRows> numbers;
  for (float steps : {8.0f, 7.6f, 7.2f, 6.8f}) {
    Lanes<uint16_t> candidates;
    for (int64_t i = 0; i < kLanes; ++i) {
      candidates[i] = roundToBF16(-extremes[i] / steps);
      scales[i] = fromBF16(candidates[i]);
    }
    Lanes<float> errors = roundTo(tile, scales, -8.0f, 7.0f, numbers);
    Lanes<int8_t> isBetter;
    for (int64_t i = 0; i < kLanes; ++i) {
      isBetter[i] = steps == 8.0f || errors[i] < least[i] ? -1 : 0;
      tile.scales[i] = isBetter[i] ? candidates[i] : tile.scales[i];
      least[i] = isBetter[i] ? errors[i] : least[i];
    }
    for (int64_t row = 0; row < kBlockRows; ++row)
      for (int64_t i = 0; i < kLanes; ++i)
        tile.numbers[row][i] =
            static_cast<int8_t>((numbers[row][i] & isBetter[i]) |
                                (tile.numbers[row][i] & ~isBetter[i]));
  }
}

/// Calls \p quantize for the columns of each block of rows, and \p store with
/// the block, the first column, how many there are, and what that gave.
static void forEachTile(
    const MatrixView &matrix, void (*quantize)(Tile &),
    llvm::function_ref<void(int64_t, int64_t, int64_t, const Tile &)> store) {
  int64_t columns = matrix.columns;
  llvm::parallelFor(0, matrix.rows / kBlockRows, [&](size_t block) {
    std::vector<float> rows(kBlockRows * columns);
    for (int64_t row = 0; row < kBlockRows; ++row)
      matrix.readRow(
          block * kBlockRows + row,
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

static void storeScales(MutableArrayRef<char> scales, int64_t position,
                        int64_t count, const Tile &tile) {
  std::memcpy(scales.data() + 2 * position, tile.scales.data(), 2 * count);
}

void rwkvc::encode8(const MatrixView &matrix, MutableArrayRef<char> numbers,
                    MutableArrayRef<char> scales) {
  int64_t columns = matrix.columns;
  forEachTile(
      matrix, quantize8,
      [&](int64_t block, int64_t column, int64_t count, const Tile &tile) {
        for (int64_t row = 0; row < kBlockRows; ++row)
          std::memcpy(numbers.data() + (block * kBlockRows + row) * columns +
                          column,
                      tile.numbers[row].data(), count);
        storeScales(scales, block * columns + column, count, tile);
      });
}

void rwkvc::encode4(const MatrixView &matrix, MutableArrayRef<char> numbers,
                    MutableArrayRef<char> scales) {
  int64_t columns = matrix.columns, half = kBlockRows / 2;
  forEachTile(
      matrix, quantize4,
      [&](int64_t block, int64_t column, int64_t count, const Tile &tile) {
        for (int64_t row = 0; row < half; ++row) {
          Lanes<char> bytes;
          for (int64_t i = 0; i < kLanes; ++i)
            bytes[i] = static_cast<char>((tile.numbers[row][i] & 15) |
                                         tile.numbers[half + row][i] << 4);
          std::memcpy(numbers.data() + (block * half + row) * columns + column,
                      bytes.data(), count);
        }
        storeScales(scales, block * columns + column, count, tile);
      });
}
