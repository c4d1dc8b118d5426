//===- Driver.cpp - Devices through HIP -----------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Streams.h"
#include "Hip.h"

#include <algorithm>

using namespace rwkvrt;
using namespace rwkvrt::gpu;

namespace {

struct HipApi final : StreamApi {
  HipApi();

  std::string describe(Result error) const override {
    const char *name = hipGetErrorName(error), *text = hipGetErrorString(error);
    return std::string(name ? name : "HIP's error") + " (" +
           (text ? text : std::to_string(error).c_str()) + ")";
  }
  // There are no contexts: the calling thread has a current device.
  Result retain(int, void **) const override { return success; }
  void release(int) const override {}
  Result enter(int device, void *, void **saved) const override {
    int old = 0;
    if (Result error = hipGetDevice(&old); error != success)
      return error;
    *saved = reinterpret_cast<void *>(static_cast<intptr_t>(old));
    return hipSetDevice(device);
  }
  void leave(void *saved) const override {
    hipSetDevice(static_cast<int>(reinterpret_cast<intptr_t>(saved)));
  }

#define RWKVRT_HIP(name, ...) std::add_pointer_t<__VA_ARGS__> name;
#include "Hip.def"
  Result (*hipGetDeviceProperties)(HipProperties *, int);
  size_t architecture = HipProperties::newArchitecture;
};

class HipDriver final : public StreamDriver {
public:
  explicit HipDriver(const HipApi &api) : StreamDriver(api, "hip"), hip(api) {}
  std::string whyNot(unsigned number,
                     const rwkvrt_device_info &code) const override;

private:
  const HipApi &hip;
};

} // namespace

HipApi::HipApi() {
  DriverLibrary library({"libamdhip64.so.7", "libamdhip64.so.6",
                         "libamdhip64.so.5", "libamdhip64.so"});
#define RWKVRT_STREAM(member, arguments, cuda, hip) library.find(member, #hip);
#include "../Streams.def"
#define RWKVRT_HIP(name, ...) library.find(name, #name);
#include "Hip.def"
  const char *properties = "hipGetDevicePropertiesR0600";
  if (!library.lookUp(properties)) {
    properties = "hipGetDeviceProperties";
    architecture = HipProperties::oldArchitecture;
  }
  library.find(hipGetDeviceProperties, properties);
}

std::string HipDriver::whyNot(unsigned number,
                              const rwkvrt_device_info &code) const {
  if (!*code.chip)
    return "";
  HipProperties properties;
  if (Result error = hip.hipGetDeviceProperties(&properties, devices[number]);
      error != success)
    return "does not tell its architecture: " + hip.describe(error);
  // "gfx90a:sramecc+:xnack-"
  std::string found = properties.bytes + hip.architecture;
  found.resize(std::min(found.find(':'), found.size()));
  if (found == code.chip)
    return "";
  return "is " + found + ", the code is for " + code.chip;
}

std::unique_ptr<Driver> gpu::loadHip() {
  // Never destroyed: models may be freed when the program ends.
  static const HipApi &api = *new HipApi;
  return std::make_unique<HipDriver>(api);
}
