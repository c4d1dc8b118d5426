//===- Driver.cpp - Devices through CUDA's driver API ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "../Streams.h"

#include <cstdlib>
#include <cstring>

using namespace rwkvrt;
using namespace rwkvrt::gpu;

namespace {

struct CudaApi final : StreamApi {
  CudaApi();

  std::string describe(Result error) const override;
  // The context that the rest of the program uses too.
  Result retain(int device, void **context) const override {
    return cuDevicePrimaryCtxRetain(context, device);
  }
  void release(int device) const override {
    cuDevicePrimaryCtxRelease_v2(device);
  }
  Result enter(int, void *context, void **) const override {
    return cuCtxPushCurrent_v2(context);
  }
  void leave(void *) const override {
    void *context = nullptr;
    cuCtxPopCurrent_v2(&context);
  }

#define RWKVRT_CUDA(name, ...) std::add_pointer_t<__VA_ARGS__> name;
#include "Cuda.def"
};

class CudaDriver final : public StreamDriver {
public:
  explicit CudaDriver(const CudaApi &api)
      : StreamDriver(api, "cuda"), cuda(api) {}
  std::string whyNot(unsigned number,
                     const rwkvrt_device_info &code) const override;

private:
  const CudaApi &cuda;
};

} // namespace

CudaApi::CudaApi() {
  DriverLibrary library({"libcuda.so.1"});
#define RWKVRT_STREAM(member, arguments, cuda, hip) library.find(member, #cuda);
#include "../Streams.def"
#define RWKVRT_CUDA(name, ...) library.find(name, #name);
#include "Cuda.def"
}

std::string CudaApi::describe(Result error) const {
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName(error, &name) != success || !name)
    return "CUDA's error " + std::to_string(error);
  if (cuGetErrorString(error, &text) != success || !text)
    return name;
  return std::string(name) + " (" + text + ")";
}

std::string CudaDriver::whyNot(unsigned number,
                               const rwkvrt_device_info &code) const {
  enum { majorCapability = 75, minorCapability = 76 };
  int major = 0, minor = 0;
  if (std::strncmp(code.chip, "sm_", 3) != 0)
    return "";
  // sm_90a and the like are for that chip alone, which the driver knows.
  long needed = std::strtol(code.chip + 3, nullptr, 10);
  for (auto [value, attribute] :
       {std::pair{&major, majorCapability}, {&minor, minorCapability}})
    if (Result error =
            cuda.cuDeviceGetAttribute(value, attribute, devices[number]);
        error != success)
      return "does not tell its compute capability: " + cuda.describe(error);
  if (10 * major + minor >= needed)
    return "";
  return "has compute capability " + std::to_string(major) + "." +
         std::to_string(minor) + ", the code needs " +
         std::to_string(needed / 10) + "." + std::to_string(needed % 10) +
         " (" + code.chip + ")";
}

std::unique_ptr<Driver> gpu::loadCuda() {
  // Never destroyed: models may be freed when the program ends.
  static const CudaApi &api = *new CudaApi;
  return std::make_unique<CudaDriver>(api);
}
