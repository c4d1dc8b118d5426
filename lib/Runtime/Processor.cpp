//===- Processor.cpp - Which code this processor can run ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

using namespace rwkvrt;

namespace {
struct Feature {
  const char *name;
  uint32_t leaf, subleaf;
  char reg; ///< 'a' to 'd'
  uint32_t mask, least, state;
};
} // namespace

#define RWKVRT_X86_FEATURE(name, leaf, subleaf, reg, mask, least, state)       \
  {name, leaf, subleaf, #reg[1], mask, least, state},
static constexpr Feature knownFeatures[] = {
#include "rwkvc-rt/x86-features.def"
};
constexpr size_t numFeatures = sizeof knownFeatures / sizeof *knownFeatures;
static_assert(numFeatures < 64, "one bit each");

#if defined(__x86_64__)
/// XCR0: the registers that the system keeps for a thread.
static uint64_t keptRegisters() {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
    return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

static uint64_t detectFeatures() {
  uint64_t kept = keptRegisters(), found = 0;
  for (size_t i = 0; i < numFeatures; ++i) {
    const Feature &feature = knownFeatures[i];
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(feature.leaf, feature.subleaf, &a, &b, &c, &d))
      continue;
    uint32_t value = feature.reg == 'a'   ? a
                     : feature.reg == 'b' ? b
                     : feature.reg == 'c' ? c
                                          : d;
    if ((value & feature.mask) >= feature.least &&
        (kept & feature.state) == feature.state)
      found |= uint64_t(1) << i;
  }
  return found;
}
#else
static uint64_t detectFeatures() { return 0; }
#endif

/// XCR0's bit for what AMX's tiles hold.
constexpr uint32_t tileData = 1u << 18;

/// Those of \p features that need tiles.
static uint64_t findTileFeatures(uint64_t features) {
  uint64_t found = 0;
  for (size_t i = 0; i < numFeatures; ++i)
    if ((knownFeatures[i].state & tileData) && (features >> i & 1))
      found |= uint64_t(1) << i;
  return found;
}

/// Whether threads may use tiles: Linux makes room for what they hold only in
/// processes that ask, and kills others at the first use.
static bool permitTiles() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr int requestPermission = 0x1023, ofTileData = 18;
  static const bool isPermitted =
      syscall(SYS_arch_prctl, requestPermission, ofTileData) == 0;
  return isPermitted;
#else
  return true;
#endif
}

/// The names of \p features, " avx2 fma" for instance.
static std::string describe(uint64_t features) {
  std::string text;
  for (size_t i = 0; i < numFeatures; ++i)
    if (features >> i & 1)
      text += std::string(" ") + knownFeatures[i].name;
  if (features >> numFeatures)
    text += " (unknown)";
  return text;
}

const rwkvrt_level_info &rwkvrt::chooseLevel(const rwkvrt_model_info &info,
                                             const std::string &origin) {
  static const uint64_t available = detectFeatures();
  auto lacking = [](const rwkvrt_level_info &level) {
    uint64_t missing = level.features & ~available;
    uint64_t ofTiles = missing ? 0 : findTileFeatures(level.features);
    return ofTiles && !permitTiles() ? ofTiles : missing;
  };
  const rwkvrt_level_info *best = nullptr, *named = nullptr;
  const char *wanted = std::getenv("RWKVC_ISA");
  if (wanted && !*wanted)
    wanted = nullptr;
  std::string usable;
  for (uint32_t i = 0; i < info.num_levels; ++i) {
    const rwkvrt_level_info &level = info.levels[i];
    if (wanted && std::strcmp(wanted, level.name) == 0)
      named = &level;
    if (lacking(level))
      continue;
    best = &level;
    usable += std::string(usable.empty() ? "" : ", ") + level.name;
  }
  if (!best)
    fail(RWKVRT_MISMATCH,
         "%s: compiled for %s processors; this one lacks%s. Compile the model "
         "for this machine",
         origin.c_str(), info.levels[0].name,
         describe(lacking(info.levels[0])).c_str());
  if (!wanted)
    return *best;
  if (!named)
    fail(RWKVRT_MISMATCH,
         "%s: RWKVC_ISA=%s: the model has no such code; of what it has, this "
         "processor can run %s",
         origin.c_str(), wanted, usable.c_str());
  if (lacking(*named))
    fail(RWKVRT_MISMATCH,
         "%s: RWKVC_ISA=%s: this processor lacks%s; of what the model has, it "
         "can run %s",
         origin.c_str(), wanted, describe(lacking(*named)).c_str(),
         usable.c_str());
  return *named;
}
