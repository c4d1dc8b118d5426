//===- DnnlTest.cpp - Tests of librwkvc-rt-dnnl ---------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Compares products of many shapes, strides, types and flags with plain loops,
// uses one slot from many threads, and checks failures. Prints one line per
// group; exit status 1 if a check failed.
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/dnnl.h"
#include "../../../lib/Runtime/ElementTypes.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

using namespace rwkvrt;

static int failures = 0;

static void expect(bool condition, const std::string &what) {
  if (condition)
    return;
  std::printf("failed: %s\n", what.c_str());
  ++failures;
}

namespace {

/// A matrix with its memory; strides may leave gaps, which must stay untouched.
struct Matrix {
  rwkvrt_dnnl_matrix desc = {};
  int rank;
  std::vector<uint8_t> bytes;

  Matrix(int32_t dtype, std::vector<int64_t> dims, bool transposed, int64_t gap)
      : rank(dims.size()) {
    desc.dtype = dtype;
    int64_t size = 1;
    for (int i = 0; i < rank; ++i) {
      // From the fastest dimension outwards.
      int axis = rank - 1 - i;
      if (transposed && i < 2)
        axis = rank - 2 + i;
      desc.dims[axis] = dims[axis];
      desc.strides[axis] = size;
      size = size * dims[axis] + (i < rank - 1 ? gap : 0);
    }
    bytes.resize(size * sizeOf(dtype), 0x5a);
  }

  size_t count() const {
    size_t n = 1;
    for (int i = 0; i < rank; ++i)
      n *= desc.dims[i];
    return n;
  }
  /// Byte offset of the element with row-major number \p index.
  size_t at(size_t index) const {
    int64_t offset = 0;
    for (int i = rank - 1; i >= 0; --i) {
      offset += index % desc.dims[i] * desc.strides[i];
      index /= desc.dims[i];
    }
    return offset * sizeOf(desc.dtype);
  }
  float get(size_t index) const {
    const uint8_t *p = bytes.data() + at(index);
    uint16_t half;
    float value;
    if (desc.dtype == RWKVRT_F32) {
      std::memcpy(&value, p, 4);
      return value;
    }
    std::memcpy(&half, p, 2);
    return desc.dtype == RWKVRT_F16 ? halfToFloat(half) : bfloatToFloat(half);
  }
  void set(size_t index, float value) {
    uint8_t *p = bytes.data() + at(index);
    uint16_t half =
        desc.dtype == RWKVRT_F16 ? floatToHalf(value) : floatToBfloat(value);
    if (desc.dtype == RWKVRT_F32)
      std::memcpy(p, &value, 4);
    else
      std::memcpy(p, &half, 2);
  }
  void fill(std::mt19937 &random) {
    std::uniform_real_distribution<float> values(-1, 1);
    for (size_t i = 0, n = count(); i < n; ++i)
      set(i, values(random));
  }
};

struct Product {
  Matrix a, b, c;
  rwkvrt_dnnl_matmul_desc desc = {};
  rwkvrt_dnnl_slot slot = {};
  int64_t m, n, k, batches;
  std::vector<float> others[2]; ///< operands of post-ops

  Product(int32_t in, int32_t out, std::vector<int64_t> batch, int64_t m,
          int64_t n, int64_t k, bool transposeA, bool transposeB, int64_t gap,
          uint32_t flags)
      : a(in, join(batch, m, k), transposeA, gap),
        b(in, join(batch, k, n), transposeB, gap),
        c(out, join(batch, m, n), false, gap), m(m), n(n), k(k),
        batches(c.count() / (m * n)) {
    desc.struct_size = sizeof desc;
    desc.rank = batch.size() + 2;
    desc.flags = flags;
    desc.where = "node X";
    desc.a = a.desc;
    desc.b = b.desc;
    desc.c = c.desc;
  }
  Product(const Product &) = delete;
  ~Product() { rwkvrt_dnnl_release(&slot); }

  static std::vector<int64_t> join(std::vector<int64_t> batch, int64_t rows,
                                   int64_t columns) {
    batch.push_back(rows);
    batch.push_back(columns);
    return batch;
  }

  int32_t call(Matrix &c) {
    return rwkvrt_dnnl_matmul(&slot, &desc, a.bytes.data(), b.bytes.data(),
                              c.bytes.data(),
                              others[0].empty() ? nullptr : others[0].data(),
                              others[1].empty() ? nullptr : others[1].data());
  }

  /// Adds a post-op; one that takes an operand gets random values for it.
  void append(int32_t postOp, std::mt19937 &random) {
    desc.post_ops[desc.num_post_ops++] = postOp;
    int32_t kind = postOp & ~RWKVRT_DNNL_ROW;
    if (kind != RWKVRT_DNNL_ADD && kind != RWKVRT_DNNL_MUL)
      return;
    std::vector<float> &other = others[!others[0].empty()];
    other.resize(postOp & RWKVRT_DNNL_ROW ? n : c.count());
    std::uniform_real_distribution<float> values(-1, 1);
    for (float &value : other)
      value = values(random);
  }

  /// The post-ops for \p sum, which belongs to element \p at of c.
  double finish(double sum, size_t at) const {
    int other = 0;
    for (uint32_t i = 0; i < desc.num_post_ops; ++i) {
      int32_t kind = desc.post_ops[i] & ~RWKVRT_DNNL_ROW;
      double logistic = 1 / (1 + std::exp(-sum));
      if (kind == RWKVRT_DNNL_RELU)
        sum = std::max(sum, 0.0);
      else if (kind == RWKVRT_DNNL_SQUARE)
        sum *= sum;
      else if (kind == RWKVRT_DNNL_LOGISTIC)
        sum = logistic;
      else if (kind == RWKVRT_DNNL_TANH)
        sum = std::tanh(sum);
      else if (kind == RWKVRT_DNNL_SWISH)
        sum *= logistic;
      else {
        const std::vector<float> &values = others[other++];
        double y = values[desc.post_ops[i] & RWKVRT_DNNL_ROW ? at % n : at];
        sum = kind == RWKVRT_DNNL_ADD ? sum + y : sum * y;
      }
    }
    return sum;
  }

  /// What a call must make of \p old.
  Matrix reference(const Matrix &old) const {
    Matrix result = old;
    for (int64_t i = 0; i < batches; ++i)
      for (int64_t row = 0; row < m; ++row)
        for (int64_t column = 0; column < n; ++column) {
          size_t at = (i * m + row) * n + column;
          double sum = desc.flags & RWKVRT_DNNL_ACCUMULATE ? old.get(at) : 0.0;
          for (int64_t x = 0; x < k; ++x)
            sum += static_cast<double>(a.get((i * m + row) * k + x)) *
                   b.get((i * k + x) * n + column);
          result.set(at, finish(sum, at));
        }
    return result;
  }

  /// Largest error relative to the size of the sums, 0 or infinity outside the
  /// elements.
  double error(const Matrix &got, const Matrix &want) const {
    double largest = 0;
    std::vector<bool> element(got.bytes.size());
    for (size_t i = 0, count = got.count(); i < count; ++i) {
      double difference = std::fabs(got.get(i) - want.get(i));
      if (!(difference <= 1e30))
        return INFINITY;
      largest = std::max(largest, difference);
      std::fill_n(element.begin() + got.at(i), sizeOf(got.desc.dtype), true);
    }
    for (size_t i = 0; i < element.size(); ++i)
      if (!element[i] && got.bytes[i] != want.bytes[i])
        return INFINITY;
    return largest / std::sqrt(static_cast<double>(k));
  }
};

double tolerance(int32_t dtype) {
  return dtype == RWKVRT_F32 ? 1e-6 : dtype == RWKVRT_F16 ? 1e-3 : 8e-3;
}

} // namespace

static void testProducts() {
  std::mt19937 random(1);
  double worst[3] = {};
  int count = 0;
  const int64_t sizes[] = {1, 2, 7, 16, 33, 65};
  auto pick = [&] { return sizes[random() % 6]; };
  const std::vector<std::vector<int64_t>> batches = {
      {}, {}, {3}, {2, 3}, {1, 2, 1, 2}};
  const int32_t types[][2] = {{RWKVRT_F32, RWKVRT_F32},
                              {RWKVRT_BF16, RWKVRT_F32},
                              {RWKVRT_BF16, RWKVRT_BF16},
                              {RWKVRT_F16, RWKVRT_F32},
                              {RWKVRT_F16, RWKVRT_F16}};
  for (auto [in, out] : types)
    for (int trial = 0; trial < 40; ++trial) {
      std::vector<int64_t> batch = batches[random() % batches.size()];
      int64_t gap = random() % 2 ? 0 : 5;
      Product product(in, out, batch, pick(), pick(), pick(), random() % 2,
                      random() % 2, gap, random() % 4);
      product.a.fill(random);
      product.b.fill(random);
      product.c.fill(random);
      // Twice, so that what the first call prepared is used.
      for (int round = 0; round < 2; ++round) {
        Matrix want = product.reference(product.c);
        int32_t status = product.call(product.c);
        double error = product.error(product.c, want);
        expect(status == 0 && error <= tolerance(out),
               "types " + std::to_string(in) + ", " + std::to_string(out) +
                   ", batch rank " + std::to_string(batch.size()) + ", " +
                   std::to_string(product.m) + "x" + std::to_string(product.n) +
                   "x" + std::to_string(product.k) + ", gap " +
                   std::to_string(gap) + ", flags " +
                   std::to_string(product.desc.flags) + ": status " +
                   std::to_string(status) + ", error " + std::to_string(error) +
                   ", " + rwkvrt_dnnl_last_error());
        int which = out == RWKVRT_F32 ? 0 : out == RWKVRT_F16 ? 1 : 2;
        worst[which] = std::max(worst[which], error);
        ++count;
      }
    }
  std::printf(
      "products: %d, largest error float32 %.1e, float16 %.1e, bfloat16 "
      "%.1e\n",
      count, worst[0], worst[1], worst[2]);
}

static void testPostOps() {
  std::mt19937 random(4);
  double worst = 0;
  int count = 0;
  const int32_t row = RWKVRT_DNNL_ROW;
  const std::vector<std::vector<int32_t>> lists = {
      {RWKVRT_DNNL_RELU},
      {RWKVRT_DNNL_RELU, RWKVRT_DNNL_SQUARE},
      {RWKVRT_DNNL_LOGISTIC},
      {RWKVRT_DNNL_TANH},
      {RWKVRT_DNNL_SWISH},
      {RWKVRT_DNNL_ADD + row},
      {RWKVRT_DNNL_MUL},
      {RWKVRT_DNNL_LOGISTIC, RWKVRT_DNNL_MUL, RWKVRT_DNNL_ADD},
      {RWKVRT_DNNL_MUL + row, RWKVRT_DNNL_ADD + row, RWKVRT_DNNL_TANH}};
  const int32_t types[][2] = {{RWKVRT_F32, RWKVRT_F32},
                              {RWKVRT_BF16, RWKVRT_F32},
                              {RWKVRT_F16, RWKVRT_F16}};
  for (auto [in, out] : types)
    for (const std::vector<int32_t> &list : lists)
      for (uint32_t flags = 0; flags < 4; ++flags)
        for (int64_t gap : {0, 5})
          for (const std::vector<int64_t> &batch :
               {std::vector<int64_t>{}, std::vector<int64_t>{3},
                std::vector<int64_t>{2, 3}}) {
            if (!batch.empty() && (list[0] & row))
              continue;
            Product product(in, out, batch, 33, 65, 16, random() % 2,
                            random() % 2, gap, flags);
            product.a.fill(random);
            product.b.fill(random);
            product.c.fill(random);
            for (int32_t postOp : list)
              product.append(postOp, random);
            for (int round = 0; round < 2; ++round) {
              product.c.fill(random);
              Matrix want = product.reference(product.c);
              int32_t status = product.call(product.c);
              double error = product.error(product.c, want);
              // A square is as much less exact as it is larger than its root.
              expect(
                  status == 0 && error <= 20 * tolerance(out),
                  "post-op " + std::to_string(list[0]) + " of " +
                      std::to_string(list.size()) + ", type " +
                      std::to_string(in) + ", flags " + std::to_string(flags) +
                      ": status " + std::to_string(status) + ", error " +
                      std::to_string(error) + ", " + rwkvrt_dnnl_last_error());
              if (out == RWKVRT_F32)
                worst = std::max(worst, error);
              ++count;
            }
          }
  std::printf("post-ops: %d, largest error float32 %.1e\n", count, worst);
}

static void testThreads() {
  std::mt19937 random(2);
  for (int32_t type : {RWKVRT_F32, RWKVRT_BF16}) {
    Product product(type, RWKVRT_F32, {}, 48, 65, 33, false, true, 0,
                    RWKVRT_DNNL_CONSTANT_B);
    product.a.fill(random);
    product.b.fill(random);
    Matrix want = product.reference(product.c);
    const int threads = 8, rounds = 50;
    std::vector<std::thread> pool;
    std::vector<double> errors(threads);
    for (int i = 0; i < threads; ++i)
      pool.emplace_back([&, i] {
        for (int round = 0; round < rounds; ++round) {
          Matrix mine(RWKVRT_F32, {48, 65}, false, 0);
          if (product.call(mine) != 0)
            errors[i] = INFINITY;
          else
            errors[i] = std::max(errors[i], product.error(mine, want));
        }
        if (rwkvrt_dnnl_take_status() != 0)
          errors[i] = INFINITY;
      });
    for (std::thread &thread : pool)
      thread.join();
    for (double error : errors)
      expect(error <= tolerance(RWKVRT_F32),
             "thread with error " + std::to_string(error));
    expect(rwkvrt_dnnl_packed_bytes() > 0, "the threads share one pack");
    size_t once = rwkvrt_dnnl_packed_bytes();
    expect(once < 3 * 65 * 33 * sizeof(float), "there is one pack only");
  }
  expect(rwkvrt_dnnl_packed_bytes() == 0, "released slots hold nothing");
  std::printf("threads: done\n");
}

static void testWeights() {
  std::mt19937 random(3);
  Product product(RWKVRT_F32, RWKVRT_F32, {}, 16, 33, 65, false, true, 0,
                  RWKVRT_DNNL_CONSTANT_B);
  product.a.fill(random);
  // Two mappings of weights: each has its own pack.
  Matrix first = product.b, second = product.b;
  first.fill(random);
  second.fill(random);
  auto check = [&](Matrix &weights, const Matrix &meant, const char *what) {
    rwkvrt_dnnl_matmul(&product.slot, &product.desc, product.a.bytes.data(),
                       weights.bytes.data(), product.c.bytes.data(), nullptr,
                       nullptr);
    Matrix saved = product.b;
    product.b = meant;
    expect(product.error(product.c, product.reference(product.c)) < 1e-6, what);
    product.b = saved;
  };
  Matrix original = first;
  check(first, original, "first weights");
  size_t one = rwkvrt_dnnl_packed_bytes();
  check(second, second, "second weights");
  expect(one > 0 && rwkvrt_dnnl_packed_bytes() == 2 * one, "two packs");
  // New values at the old address are seen when the old ones are forgotten.
  first.fill(random);
  check(first, original, "the pack is used");
  rwkvrt_dnnl_forget(first.bytes.data(), first.bytes.size());
  expect(rwkvrt_dnnl_packed_bytes() == one, "one pack forgotten");
  check(first, first, "new weights");
  check(second, second, "second weights again");
  expect(rwkvrt_dnnl_packed_bytes() == 2 * one, "two packs again");
  rwkvrt_dnnl_release(&product.slot);
  expect(!product.slot.sites && rwkvrt_dnnl_packed_bytes() == 0, "released");
  check(first, first, "a released slot starts anew");
  std::printf("weights: done\n");
}

static void testFailures() {
  auto expectMessage = [](const char *part) {
    expect(std::strstr(rwkvrt_dnnl_last_error(), part),
           std::string("message with '") + part + "', got '" +
               rwkvrt_dnnl_last_error() + "'");
  };
  std::mt19937 random(5);
  expect(rwkvrt_dnnl_take_status() == 0, "no failure yet");
  Product product(RWKVRT_F32, RWKVRT_F32, {}, 4, 4, 4, false, false, 0, 0);
  product.desc.struct_size = 8;
  expect(product.call(product.c) == RWKVRT_DNNL_BAD_DESCRIPTION, "size");
  expectMessage("compiled for another version");
  product.desc.struct_size = sizeof product.desc;
  product.desc.rank = 7;
  expect(product.call(product.c) == RWKVRT_DNNL_BAD_DESCRIPTION, "rank");
  product.desc.rank = 2;
  product.desc.b.dtype = RWKVRT_I8;
  expect(product.call(product.c) == RWKVRT_DNNL_BAD_DESCRIPTION, "type");
  product.desc.b.dtype = RWKVRT_F32;
  for (int32_t unknown : {0, 8, RWKVRT_DNNL_TANH + RWKVRT_DNNL_ROW}) {
    product.desc.num_post_ops = 1;
    product.desc.post_ops[0] = unknown;
    expect(product.call(product.c) == RWKVRT_DNNL_BAD_DESCRIPTION, "post-op");
  }
  product.desc.post_ops[0] = RWKVRT_DNNL_ADD;
  expect(product.call(product.c) == RWKVRT_DNNL_BAD_DESCRIPTION, "no operand");
  expectMessage("without its operand");
  Product batched(RWKVRT_F32, RWKVRT_F32, {2}, 4, 4, 4, false, false, 0, 0);
  batched.append(RWKVRT_DNNL_ADD + RWKVRT_DNNL_ROW, random);
  expect(batched.call(batched.c) == RWKVRT_DNNL_BAD_DESCRIPTION, "batched row");
  product.desc.num_post_ops = RWKVRT_DNNL_MAX_POST_OPS + 1;
  expect(product.call(product.c) == RWKVRT_DNNL_BAD_DESCRIPTION, "too many");
  product.desc.num_post_ops = 0;
  // oneDNN itself refuses what does not fit.
  product.desc.b.dims[0] = 5;
  expect(product.call(product.c) == RWKVRT_DNNL_FAILED, "dimensions");
  expectMessage("node X (product of 4x4 by 4x4 matrices): oneDNN cannot");
  product.desc.b.dims[0] = 4;
  // The first failure stays until it is taken, whatever comes after it.
  expect(product.call(product.c) == 0, "a good call");
  std::thread([] {
    expect(rwkvrt_dnnl_take_status() == 0, "failures belong to a thread");
  }).join();
  expect(rwkvrt_dnnl_take_status() == RWKVRT_DNNL_BAD_DESCRIPTION, "first");
  expect(rwkvrt_dnnl_take_status() == 0, "taken");
  expect(rwkvrt_dnnl_matmul(nullptr, nullptr, nullptr, nullptr, nullptr,
                            nullptr, nullptr) == RWKVRT_DNNL_BAD_DESCRIPTION,
         "nothing");
  rwkvrt_dnnl_release(nullptr);
  rwkvrt_dnnl_take_status();
  std::printf("failures: done\n");
}

int main() {
  testProducts();
  testPostOps();
  testThreads();
  testWeights();
  testFailures();
  std::printf("%d failed\n", failures);
  return failures != 0;
}
