//===- failing-opencl.cpp - OpenCL of which calls fail --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// libOpenCL.so.1, which calls the real one, named by REAL_OPENCL. As the
// drivers of fake-driver.cpp it makes calls fail and counts what exists.
//
//===----------------------------------------------------------------------===//

#include "gpu/opencl/OpenCL.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <mutex>
#include <string>

using namespace rwkvrt::gpu::cl;

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

std::mutex lock;
int numCalls = 0, failingCall = 0, failure = 0, numLive = 0;
std::string failedFunction;

/// The real library's function.
template <typename Function> Function *real(Function *, const char *name) {
  static void *const library = dlopen(std::getenv("REAL_OPENCL"), RTLD_NOW);
  void *found = library ? dlsym(library, name) : nullptr;
  if (!found)
    std::abort();
  return reinterpret_cast<Function *>(found);
}

/// Counts a call; whether it is to fail.
bool fails(const char *function) {
  std::lock_guard<std::mutex> guard(lock);
  if (++numCalls != failingCall)
    return false;
  failedFunction = function;
  return true;
}

void count(int more) {
  std::lock_guard<std::mutex> guard(lock);
  numLive += more;
}

UnifiedMemory unified;

} // namespace

EXPORT void fake_fail(int call, int error) {
  numCalls = 0;
  failingCall = call;
  failure = error;
  failedFunction.clear();
}
EXPORT const char *fake_failed() { return failedFunction.c_str(); }
EXPORT int fake_live() { return numLive; }
EXPORT const char *fake_misuse() { return ""; }

#define REAL(name, arguments) real(&name, #name) arguments
/// Returns an error.
#define FORWARD(name, parameters, arguments)                                   \
  EXPORT Int name parameters {                                                 \
    return fails(#name) ? failure : REAL(name, arguments);                     \
  }
/// Makes an object, and sets *error.
#define CREATE(type, name, parameters, arguments)                              \
  EXPORT type name parameters {                                                \
    if (fails(#name)) {                                                        \
      *error = failure;                                                        \
      return nullptr;                                                          \
    }                                                                          \
    type made = REAL(name, arguments);                                         \
    count(made != nullptr);                                                    \
    return made;                                                               \
  }
/// Gives one back; never fails.
#define RELEASE(type, name)                                                    \
  EXPORT Int name(type object) {                                               \
    count(-1);                                                                 \
    return REAL(name, (object));                                               \
  }

FORWARD(clGetPlatformIDs, (UInt n, Platform *ids, UInt *count), (n, ids, count))
FORWARD(clGetDeviceIDs,
        (Platform platform, Bits type, UInt n, DeviceId *ids, UInt *count),
        (platform, type, n, ids, count))
FORWARD(clGetDeviceInfo,
        (DeviceId id, UInt what, size_t size, void *value, size_t *actual),
        (id, what, size, value, actual))
CREATE(Context, clCreateContext,
       (const Property *properties, UInt n, const DeviceId *ids,
        ContextCallback callback, void *data, Int *error),
       (properties, n, ids, callback, data, error))
RELEASE(Context, clReleaseContext)
CREATE(CommandQueue, clCreateCommandQueueWithProperties,
       (Context context, DeviceId id, const Bits *properties, Int *error),
       (context, id, properties, error))
RELEASE(CommandQueue, clReleaseCommandQueue)
FORWARD(clFlush, (CommandQueue queue), (queue))
FORWARD(clFinish, (CommandQueue queue), (queue))
CREATE(Program, clCreateProgramWithIL,
       (Context context, const void *code, size_t size, Int *error),
       (context, code, size, error))
FORWARD(clBuildProgram,
        (Program program, UInt n, const DeviceId *ids, const char *options,
         BuildCallback callback, void *data),
        (program, n, ids, options, callback, data))
FORWARD(clGetProgramBuildInfo,
        (Program program, DeviceId id, UInt what, size_t size, void *value,
         size_t *actual),
        (program, id, what, size, value, actual))
RELEASE(Program, clReleaseProgram)
CREATE(Kernel, clCreateKernel, (Program program, const char *name, Int *error),
       (program, name, error))
FORWARD(clGetKernelInfo,
        (Kernel kernel, UInt what, size_t size, void *value, size_t *actual),
        (kernel, what, size, value, actual))
FORWARD(clGetKernelWorkGroupInfo,
        (Kernel kernel, DeviceId id, UInt what, size_t size, void *value,
         size_t *actual),
        (kernel, id, what, size, value, actual))
RELEASE(Kernel, clReleaseKernel)
FORWARD(clSetKernelArg,
        (Kernel kernel, UInt index, size_t size, const void *value),
        (kernel, index, size, value))
FORWARD(clSetKernelArgSVMPointer,
        (Kernel kernel, UInt index, const void *value), (kernel, index, value))
FORWARD(clEnqueueSVMMemcpy,
        (CommandQueue queue, UInt blocking, void *to, const void *from,
         size_t size, UInt n, const Event *events, Event *event),
        (queue, blocking, to, from, size, n, events, event))
FORWARD(clGetEventInfo,
        (Event event, UInt what, size_t size, void *value, size_t *actual),
        (event, what, size, value, actual))
RELEASE(Event, clReleaseEvent)

EXPORT Int clEnqueueNDRangeKernel(CommandQueue queue, Kernel kernel,
                                  UInt dimensions, const size_t *offset,
                                  const size_t *global, const size_t *local,
                                  UInt n, const Event *events, Event *event) {
  if (fails("clEnqueueNDRangeKernel"))
    return failure;
  Int error = REAL(clEnqueueNDRangeKernel, (queue, kernel, dimensions, offset,
                                            global, local, n, events, event));
  count(error == success && event);
  return error;
}

EXPORT void *clSVMAlloc(Context context, Bits flags, size_t size,
                        UInt alignment) {
  if (fails("clSVMAlloc"))
    return nullptr;
  void *data = REAL(clSVMAlloc, (context, flags, size, alignment));
  count(data != nullptr);
  return data;
}

EXPORT void clSVMFree(Context context, void *data) {
  count(-1);
  REAL(clSVMFree, (context, data));
}

// The extension's.

static void *allocate(Context context, DeviceId id, const Bits *properties,
                      size_t size, UInt alignment, Int *error) {
  if (fails("clDeviceMemAllocINTEL")) {
    *error = failure;
    return nullptr;
  }
  void *data =
      unified.allocate(context, id, properties, size, alignment, error);
  count(data != nullptr);
  return data;
}

static Int release(Context context, void *data) {
  count(-1);
  return unified.free(context, data);
}

static Int copy(CommandQueue queue, UInt blocking, void *to, const void *from,
                size_t size, UInt n, const Event *events, Event *event) {
  return fails("clEnqueueMemcpyINTEL")
             ? failure
             : unified.copy(queue, blocking, to, from, size, n, events, event);
}

static Int setPointer(Kernel kernel, UInt index, const void *value) {
  return fails("clSetKernelArgMemPointerINTEL")
             ? failure
             : unified.setPointer(kernel, index, value);
}

EXPORT void *clGetExtensionFunctionAddressForPlatform(Platform platform,
                                                      const char *name) {
  if (fails("clGetExtensionFunctionAddressForPlatform"))
    return nullptr;
  void *found =
      REAL(clGetExtensionFunctionAddressForPlatform, (platform, name));
  auto replace = [&](auto *&original, auto *own, const char *wanted) {
    if (std::strcmp(name, wanted) != 0)
      return;
    original =
        reinterpret_cast<std::remove_reference_t<decltype(original)>>(found);
    found = reinterpret_cast<void *>(own);
  };
  replace(unified.allocate, allocate, "clDeviceMemAllocINTEL");
  replace(unified.free, release, "clMemBlockingFreeINTEL");
  replace(unified.copy, copy, "clEnqueueMemcpyINTEL");
  replace(unified.setPointer, setPointer, "clSetKernelArgMemPointerINTEL");
  return found;
}
