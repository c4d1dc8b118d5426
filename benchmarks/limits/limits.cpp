//===- limits.cpp - What this machine can do at most ----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Measures the speed of reading memory and of oneDNN's matrix products, and
// prints both as one line of JSON. benchmarks/run.py relates models to them.
//
//===----------------------------------------------------------------------===//

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef RWKVC_HAVE_ONEDNN
#include "dnnl.h"

extern "C" void omp_set_num_threads(int threads);
#endif

namespace {

class Stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         start)
        .count();
  }

private:
  std::chrono::steady_clock::time_point start =
      std::chrono::steady_clock::now();
};

struct Options {
  int threads = 1;
  size_t megabytes = 512;
  long size = 1024;
  double seconds = 0.2;
  /// As long as text is decoded: where others take part of memory's speed, it
  /// changes within seconds.
  double readSeconds = 1;
};

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

using Vector = uint64_t __attribute__((vector_size(64)));

/// Reads all of it once, in so many places at a time: how many serve a machine
/// best depends on its prefetchers.
template <size_t Places> uint64_t readAll(const Vector *data, size_t count) {
  size_t part = count / Places;
  Vector sums[Places] = {};
  for (size_t i = 0; i < part; ++i)
    for (size_t place = 0; place < Places; ++place) {
      const Vector *next = &data[place * part + i];
      // Past the end, too: a prefetch cannot fault.
      __builtin_prefetch(next + 32);
      sums[place] += *next;
    }
  uint64_t total = 0;
  for (Vector sum : sums)
    for (int i = 0; i < 8; ++i)
      total += sum[i];
  return total;
}

/// What a thread reads between two looks at the clock: less than the smallest
/// token needs, so that some in a row are as much as a token.
constexpr size_t kPieceBytes = size_t{8} << 20;
constexpr size_t kPiece = kPieceBytes / sizeof(Vector);

/// Gigabytes (10^9 bytes) read per second, the best of the passes that the time
/// allows, each thread reading a part of its own. \p pieces gets the seconds
/// that each piece took the first thread, read in the better of the two ways.
double measureReads(const Options &options, std::vector<double> &pieces) {
  size_t count = options.megabytes * 1000000 / sizeof(Vector);
  auto threads = static_cast<size_t>(options.threads);
  size_t part = count / threads / 8 * 8;
  // Every thread touches its own part first, so that it lies near to it.
  std::unique_ptr<Vector[], decltype(&std::free)> data(
      static_cast<Vector *>(
          std::aligned_alloc(64, part * threads * sizeof(Vector))),
      &std::free);
  if (!data)
    return 0;
  std::vector<uint64_t> sums(threads);
  auto everywhere = [&](auto &&work) {
    std::vector<std::thread> others;
    for (size_t i = 1; i < threads; ++i)
      others.emplace_back(work, i);
    work(0);
    for (std::thread &other : others)
      other.join();
  };
  everywhere([&](size_t thread) {
    std::memset(static_cast<void *>(&data[thread * part]), 1,
                part * sizeof(Vector));
  });
  double best = 0;
  std::array<std::vector<double>, 2> found;
  Stopwatch all;
  for (bool several = false; all.seconds() < options.readSeconds;
       several = !several) {
    Stopwatch one;
    everywhere([&](size_t thread) {
      for (size_t first = 0; first < part; first += kPiece) {
        Stopwatch piece;
        size_t size = std::min(kPiece, part - first);
        sums[thread] +=
            (several ? readAll<4> : readAll<1>)(&data[thread * part + first],
                                                size);
        if (thread == 0 && size == kPiece)
          found[several].push_back(piece.seconds());
      }
    });
    best = std::max(best, static_cast<double>(part * threads * sizeof(Vector)) /
                              one.seconds() / 1e9);
  }
  // The sums are used, so that the reads cannot be left out.
  static volatile uint64_t sink;
  for (uint64_t sum : sums)
    sink = sink + sum;
  auto median = [](std::vector<double> seconds) {
    if (seconds.empty())
      return std::numeric_limits<double>::infinity();
    auto middle = seconds.begin() + seconds.size() / 2;
    std::nth_element(seconds.begin(), middle, seconds.end());
    return *middle;
  };
  pieces = std::move(found[median(found[1]) < median(found[0])]);
  return best;
}

//===----------------------------------------------------------------------===//
// Matrix products
//===----------------------------------------------------------------------===//

#ifdef RWKVC_HAVE_ONEDNN
/// A handle of oneDNN's with its function to free it.
template <typename T> using Handle = std::unique_ptr<T, dnnl_status_t (*)(T *)>;

template <typename T, typename Create>
Handle<T> make(dnnl_status_t (*destroy)(T *), Create &&create) {
  T *created = nullptr;
  if (create(&created) != dnnl_success)
    created = nullptr;
  return Handle<T>(created, destroy);
}

struct Types {
  const char *name;
  dnnl_data_type_t source, weights, result;
};

/// 10^9 operations per second of products of square matrices, 0 if there is no
/// such product; \p implementation gets the name of oneDNN's kernel.
double measureProducts(const Options &options, long extent, const Types &types,
                       std::string &implementation) {
  auto engine = make<dnnl_engine>(dnnl_engine_destroy, [](auto **out) {
    return dnnl_engine_create(out, dnnl_cpu, 0);
  });
  auto stream = make<dnnl_stream>(dnnl_stream_destroy, [&](auto **out) {
    return dnnl_stream_create(out, engine.get(), dnnl_stream_default_flags);
  });
  dnnl_dims_t dims = {extent, extent};
  auto describe = [&](dnnl_data_type_t type, dnnl_format_tag_t layout) {
    return make<dnnl_memory_desc>(dnnl_memory_desc_destroy, [&](auto **out) {
      return dnnl_memory_desc_create_with_tag(out, 2, dims, type, layout);
    });
  };
  // The library chooses the layout of the weights, as it may for constants.
  auto source = describe(types.source, dnnl_ab);
  auto weights = describe(types.weights, dnnl_format_tag_any);
  auto result = describe(types.result, dnnl_ab);
  auto kind =
      make<dnnl_primitive_desc>(dnnl_primitive_desc_destroy, [&](auto **out) {
        return dnnl_matmul_primitive_desc_create(
            out, engine.get(), source.get(), weights.get(), nullptr,
            result.get(), nullptr);
      });
  if (!kind)
    return 0;
  const char *name = nullptr;
  if (dnnl_primitive_desc_query(kind.get(), dnnl_query_impl_info_str, 0,
                                static_cast<void *>(&name)) == dnnl_success &&
      name)
    implementation = name;
  auto primitive =
      make<dnnl_primitive>(dnnl_primitive_destroy, [&](auto **out) {
        return dnnl_primitive_create(out, kind.get());
      });
  std::vector<Handle<dnnl_memory>> memories;
  std::vector<dnnl_exec_arg_t> arguments;
  for (auto [query, number] :
       {std::pair(dnnl_query_src_md, DNNL_ARG_SRC),
        std::pair(dnnl_query_weights_md, DNNL_ARG_WEIGHTS),
        std::pair(dnnl_query_dst_md, DNNL_ARG_DST)}) {
    const_dnnl_memory_desc_t layout =
        dnnl_primitive_desc_query_md(kind.get(), query, 0);
    memories.push_back(make<dnnl_memory>(dnnl_memory_destroy, [&](auto **out) {
      return dnnl_memory_create(out, layout, engine.get(),
                                DNNL_MEMORY_ALLOCATE);
    }));
    void *data = nullptr;
    if (!memories.back() || dnnl_memory_get_data_handle(memories.back().get(),
                                                        &data) != dnnl_success)
      return 0;
    std::memset(data, 0, dnnl_memory_desc_get_size(layout));
    arguments.push_back({number, memories.back().get()});
  }
  if (!primitive || !stream)
    return 0;
  auto run = [&] {
    return dnnl_primitive_execute(primitive.get(), stream.get(),
                                  static_cast<int>(arguments.size()),
                                  arguments.data()) == dnnl_success &&
           dnnl_stream_wait(stream.get()) == dnnl_success;
  };
  if (!run())
    return 0;
  double size = static_cast<double>(extent), best = 0;
  Stopwatch all;
  do {
    Stopwatch one;
    if (!run())
      return 0;
    best = std::max(best, 2 * size * size * size / one.seconds() / 1e9);
  } while (all.seconds() < options.seconds);
  return best;
}

void printProducts(const Options &options) {
  omp_set_num_threads(options.threads);
  const dnnl_version_t *version = dnnl_version();
  std::printf(", \"onednn\": \"%d.%d.%d\", \"gemm_gops\": {", version->major,
              version->minor, version->patch);
  const Types all[] = {{"fp32", dnnl_f32, dnnl_f32, dnnl_f32},
                       {"bf16", dnnl_bf16, dnnl_bf16, dnnl_f32},
                       {"int8", dnnl_u8, dnnl_s8, dnnl_s32}};
  std::string kernels;
  const char *separator = "";
  for (const Types &types : all) {
    std::string implementation = "none";
    // Which extent is faster depends on the caches.
    double speed =
        std::max(measureProducts(options, options.size, types, implementation),
                 measureProducts(options, std::max(1L, options.size / 2), types,
                                 implementation));
    if (speed > 0)
      std::printf("%s\"%s\": %.3f", separator, types.name, speed);
    else
      std::printf("%s\"%s\": null", separator, types.name);
    kernels += std::string(separator) + "\"" + types.name + "\": \"" +
               implementation + "\"";
    separator = ", ";
  }
  std::printf("}, \"gemm_kernels\": {%s}", kernels.c_str());
}
#else
void printProducts(const Options &) {
  std::printf(", \"onednn\": null, \"gemm_gops\": {}, \"gemm_kernels\": {}");
}
#endif

//===----------------------------------------------------------------------===//
// Command line
//===----------------------------------------------------------------------===//

[[noreturn]] void explain(bool asked = false) {
  std::fprintf(
      asked ? stdout : stderr,
      "usage: rwkvc-limits [options]\n"
      "Measures memory reads (GB/s) and oneDNN's square matrix products "
      "(GOP/s);\nprints a line of JSON.\n"
      "  --threads=N       threads of both (1)\n"
      "  --megabytes=N     memory to read, more than the caches hold (512)\n"
      "  --size=N          rows and columns of the matrices, also half as many "
      "(1024)\n"
      "  --seconds=S       least time of each product (0.2)\n"
      "  --read-seconds=S  the same of memory reads (1)\n");
  std::exit(asked ? 0 : 2);
}

Options parse(int argc, char **argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const char *equals = std::strchr(argv[i], '=');
    if (!equals)
      explain(std::strcmp(argv[i], "--help") == 0);
    std::string name(argv[i], static_cast<size_t>(equals - argv[i]));
    char *end;
    double value = std::strtod(equals + 1, &end);
    if (*end || end == equals + 1 || !(value > 0 && value < 1e6))
      explain();
    if (name == "--threads")
      options.threads = std::max(1, static_cast<int>(value));
    else if (name == "--megabytes")
      options.megabytes = std::max<size_t>(1, static_cast<size_t>(value));
    else if (name == "--size")
      options.size = std::max(1L, static_cast<long>(value));
    else if (name == "--seconds")
      options.seconds = value;
    else if (name == "--read-seconds")
      options.readSeconds = value;
    else
      explain();
  }
  return options;
}

} // namespace

int main(int argc, char **argv) {
  Options options = parse(argc, argv);
  std::vector<double> pieces;
  double best = measureReads(options, pieces);
  std::printf("{\"threads\": %d, \"read_gbps\": %.3f, \"piece_bytes\": %zu, "
              "\"piece_s\": [",
              options.threads, best, kPieceBytes);
  for (size_t i = 0; i < pieces.size(); ++i)
    std::printf("%s%.6f", i ? ", " : "", pieces[i]);
  std::printf("]");
  printProducts(options);
  std::printf("}\n");
}
