//===- Choose.cpp - Which device runs a model -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"

#include <algorithm>
#include <cstdlib>

using namespace rwkvrt;
using namespace rwkvrt::gpu;

namespace {
struct Kind {
  int32_t kind;
  const char *name;
  std::unique_ptr<Driver> (*load)();
};

/// What the caller, or RWKVC_DEVICE, asks for.
struct Wish {
  std::string text; ///< empty = nothing
  bool isProcessor = false;
  const Kind *kind = nullptr;
  int number = -1; ///< -1 = any
};
} // namespace

static constexpr Kind kinds[] = {{RWKVRT_OPENCL, "opencl", loadOpenCL},
                                 {RWKVRT_CUDA, "cuda", loadCuda},
                                 {RWKVRT_HIP, "hip", loadHip}};

static const Kind &kindOf(const rwkvrt_device_info &code) {
  return *std::find_if(std::begin(kinds), std::end(kinds),
                       [&](const Kind &k) { return k.kind == code.kind; });
}

/// The number behind the colon; -1 if it is none.
static int parseNumber(const std::string &text) {
  if (text.empty() || text.size() > 4 ||
      text.find_first_not_of("0123456789") != std::string::npos)
    return -1;
  return std::stoi(text);
}

static Wish parseWish(const char *text, const std::string &origin) {
  Wish wish;
  const char *variable = "";
  if (!text || !*text) {
    text = std::getenv("RWKVC_DEVICE");
    variable = "RWKVC_DEVICE=";
  }
  if (!text || !*text)
    return wish;
  wish.text = std::string(variable) + text;
  std::string name = text;
  size_t colon = name.find(':');
  bool valid = true;
  if (colon != std::string::npos) {
    wish.number = parseNumber(name.substr(colon + 1));
    valid = wish.number >= 0;
    name.resize(colon);
  }
  wish.isProcessor = name == "cpu" && wish.number < 0;
  for (const Kind &kind : kinds)
    if (name == kind.name)
      wish.kind = &kind;
  if (!valid || (!wish.isProcessor && !wish.kind))
    fail(RWKVRT_INVALID_ARGUMENT,
         "%s: unknown device '%s'; expected cpu, opencl, cuda or hip, the last "
         "three with :N for device number N",
         origin.c_str(), wish.text.c_str());
  return wish;
}

/// "cuda code for sm_80"
static std::string describe(const rwkvrt_device_info &code) {
  std::string text = std::string(kindOf(code).name) + " code";
  return *code.chip ? text + " for " + code.chip : text;
}

static std::string describeAll(const rwkvrt_model_info &info) {
  std::string text;
  for (uint32_t i = 0; i < info.num_devices; ++i)
    text += (text.empty() ? "" : ", ") + describe(info.devices[i]);
  if (info.num_levels)
    text += (text.empty() ? "" : ", ") + std::string("code for processors");
  return text;
}

/// The memory that a model's code needs in one piece.
static size_t largestPiece(const rwkvrt_model_info &info,
                           const rwkvrt_device_info &code) {
  uint64_t largest = code.weights.size;
  for (uint32_t i = 0; i < info.num_functions; ++i)
    largest = std::max(largest, code.functions[i].workspace_size);
  return largest;
}

namespace {
/// Looks for devices for a model's codes, and keeps why there is none.
class Search {
public:
  Search(const rwkvrt_model_info &info, const std::string &origin)
      : info(info), origin(origin) {}

  /// Opens a device for \p code, number \p number if that is not negative; null
  /// if there is none.
  std::unique_ptr<Device> open(const rwkvrt_device_info &code, int number,
                               bool takeProcessors);

  std::string reasons;

private:
  /// Null, with the reason, if there is no driver.
  const Driver *load(const Kind &kind, std::string &reason);

  const rwkvrt_model_info &info;
  const std::string &origin;
  std::unique_ptr<Driver> drivers[std::size(kinds)];
};
} // namespace

const Driver *Search::load(const Kind &kind, std::string &reason) {
  std::unique_ptr<Driver> &driver = drivers[&kind - kinds];
  if (!driver)
    try {
      driver = kind.load();
    } catch (const Error &error) {
      reason = error.message;
    }
  return driver.get();
}

std::unique_ptr<Device> Search::open(const rwkvrt_device_info &code, int number,
                                     bool takeProcessors) {
  const Kind &kind = kindOf(code);
  std::string found;
  if (const Driver *driver = load(kind, found)) {
    unsigned count = driver->count();
    if (number >= static_cast<int>(count))
      found = "no device " + std::to_string(number) + " of " +
              std::to_string(count);
    else if (count == 0)
      found = "no device";
    for (unsigned i = 0; i < count; ++i) {
      if (number >= 0 && i != static_cast<unsigned>(number))
        continue;
      std::string why = driver->whyNot(i, code);
      if (why.empty() && !takeProcessors && driver->isProcessor(i))
        why = "is the processor, for which the model has better code";
      if (!why.empty()) {
        found += (found.empty() ? "" : ", ") + driver->describe(i) + " " + why;
        continue;
      }
      try {
        return driver->open(i, code, largestPiece(info, code));
      } catch (Error &error) {
        error.message = origin + ": " + error.message;
        throw;
      }
    }
  }
  reasons += (reasons.empty() ? "" : "; ") + describe(code) + ": " + found;
  return nullptr;
}

Choice gpu::chooseDevice(const rwkvrt_model_info &info,
                         const std::string &origin, const char *text) {
  Wish wish = parseWish(text, origin);
  const char *name = origin.c_str();
  bool isThere = wish.isProcessor ? info.num_levels > 0 : !wish.kind;
  Search search(info, origin);
  for (uint32_t i = 0; i < info.num_devices && !wish.isProcessor; ++i) {
    const rwkvrt_device_info &code = info.devices[i];
    if (wish.kind && wish.kind->kind != code.kind)
      continue;
    isThere = true;
    // A processor's OpenCL is slower than code made for the processor.
    bool takeProcessors = wish.kind || info.num_levels == 0;
    if (auto device = search.open(code, wish.number, takeProcessors))
      return {std::move(device), &code};
  }
  if (!isThere)
    fail(RWKVRT_MISMATCH,
         "%s: device '%s': the model has no code for it; it has %s", name,
         wish.text.c_str(), describeAll(info).c_str());
  if (wish.kind)
    fail(RWKVRT_MISMATCH, "%s: device '%s': %s", name, wish.text.c_str(),
         search.reasons.c_str());
  if (info.num_levels == 0)
    fail(RWKVRT_MISMATCH, "%s: nothing here can run the model: %s", name,
         search.reasons.c_str());
  return {};
}
