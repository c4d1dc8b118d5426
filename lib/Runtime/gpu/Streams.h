//===- Streams.h - What CUDA and HIP have in common -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// HIP is made after CUDA: most functions differ in their names only. They are
// listed here once, and Streams.cpp makes devices of them. What differs is up
// to the two drivers: contexts, texts for errors, and what a device is.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_STREAMS_H
#define RWKVC_LIB_RUNTIME_GPU_STREAMS_H

#include "Device.h"
#include "DriverLibrary.h"

namespace rwkvrt::gpu {

/// CUresult and hipError_t.
using Result = int;
using Module = struct ModuleTag *;
using Kernel = struct KernelTag *;
using Stream = struct StreamTag *;
using Graph = struct GraphTag *;
using GraphExec = struct GraphExecTag *;

enum : Result { success = 0, outOfMemory = 2 };
enum { maxThreadsPerBlock = 0 };           ///< attribute of a function
enum : unsigned { nonBlockingStream = 1 }; ///< independent of the default one
enum { captureThreadLocal = 1 }; ///< other threads may do what they like

/// member, arguments, CUDA's name, HIP's name
#define RWKVRT_STREAM_FUNCTIONS(F)                                             \
  F(init, (unsigned), cuInit, hipInit)                                         \
  F(getDeviceCount, (int *), cuDeviceGetCount, hipGetDeviceCount)              \
  F(getDevice, (int *, int), cuDeviceGet, hipDeviceGet)                        \
  F(getDeviceName, (char *, int, int), cuDeviceGetName, hipDeviceGetName)      \
  F(loadModule, (Module *, const void *, unsigned, int *, void **),            \
    cuModuleLoadDataEx, hipModuleLoadDataEx)                                   \
  F(unloadModule, (Module), cuModuleUnload, hipModuleUnload)                   \
  F(getKernel, (Kernel *, Module, const char *), cuModuleGetFunction,          \
    hipModuleGetFunction)                                                      \
  F(getKernelAttribute, (int *, int, Kernel), cuFuncGetAttribute,              \
    hipFuncGetAttribute)                                                       \
  F(getMemory, (size_t *, size_t *), cuMemGetInfo_v2, hipMemGetInfo)           \
  F(allocate, (Address *, size_t), cuMemAlloc_v2, hipMalloc)                   \
  F(free, (Address), cuMemFree_v2, hipFree)                                    \
  F(allocateHost, (void **, size_t, unsigned), cuMemHostAlloc, hipHostMalloc)  \
  F(freeHost, (void *), cuMemFreeHost, hipHostFree)                            \
  F(upload, (Address, const void *, size_t, Stream), cuMemcpyHtoDAsync_v2,     \
    hipMemcpyHtoDAsync)                                                        \
  F(download, (void *, Address, size_t, Stream), cuMemcpyDtoHAsync_v2,         \
    hipMemcpyDtoHAsync)                                                        \
  F(copy, (Address, Address, size_t, Stream), cuMemcpyDtoDAsync_v2,            \
    hipMemcpyDtoDAsync)                                                        \
  F(createStream, (Stream *, unsigned), cuStreamCreate,                        \
    hipStreamCreateWithFlags)                                                  \
  F(destroyStream, (Stream), cuStreamDestroy_v2, hipStreamDestroy)             \
  F(synchronize, (Stream), cuStreamSynchronize, hipStreamSynchronize)          \
  F(beginCapture, (Stream, int), cuStreamBeginCapture_v2,                      \
    hipStreamBeginCapture)                                                     \
  F(endCapture, (Stream, Graph *), cuStreamEndCapture, hipStreamEndCapture)    \
  F(launch,                                                                    \
    (Kernel, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,       \
     unsigned, Stream, void **, void **),                                      \
    cuLaunchKernel, hipModuleLaunchKernel)                                     \
  F(instantiate, (GraphExec *, Graph, unsigned long long),                     \
    cuGraphInstantiateWithFlags, hipGraphInstantiateWithFlags)                 \
  F(launchGraph, (GraphExec, Stream), cuGraphLaunch, hipGraphLaunch)           \
  F(destroyGraph, (Graph), cuGraphDestroy, hipGraphDestroy)                    \
  F(destroyGraphExec, (GraphExec), cuGraphExecDestroy, hipGraphExecDestroy)

/// The functions of one of the two. HIP takes addresses on the device as
/// pointers, which are passed like numbers of 64 bits.
struct StreamApi {
#define RWKVRT_MEMBER(member, arguments, cuda, hip) Result(*member) arguments;
  RWKVRT_STREAM_FUNCTIONS(RWKVRT_MEMBER)
#undef RWKVRT_MEMBER

  virtual ~StreamApi() = default;

  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)"
  virtual std::string describe(Result error) const = 0;

  /// Takes hold of a device for good, until released.
  virtual Result retain(int device, void **context) const = 0;
  virtual void release(int device) const = 0;
  /// Makes a device the calling thread's. \p saved is for the way back.
  virtual Result enter(int device, void *context, void **saved) const = 0;
  virtual void leave(void *saved) const = 0;
};

/// The devices of one of the two.
class StreamDriver : public Driver {
public:
  /// \p name: "cuda"
  StreamDriver(const StreamApi &api, const char *name);

  unsigned count() const override {
    return static_cast<unsigned>(devices.size());
  }
  std::string describe(unsigned number) const override;
  bool isProcessor(unsigned) const override { return false; }
  std::unique_ptr<Device> open(unsigned number, const rwkvrt_device_info &code,
                               size_t largest) const override;

protected:
  std::vector<int> devices; ///< the driver's numbers

private:
  const StreamApi &api;
  const char *name;
};

} // namespace rwkvrt::gpu

#endif // RWKVC_LIB_RUNTIME_GPU_STREAMS_H
