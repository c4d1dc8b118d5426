//===- Streams.h - What CUDA and HIP have in common -------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// HIP is made after CUDA: most functions differ in their names only. They are
// listed once, in Streams.def, and Streams.cpp makes devices of them. What
// differs is up to the two drivers: contexts, texts for errors, and what a
// device is.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_STREAMS_H
#define RWKVC_LIB_RUNTIME_GPU_STREAMS_H

#include "Device.h"
#include "DriverLibrary.h"

#include <type_traits>

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

/// The functions of one of the two. HIP takes addresses on the device as
/// pointers, which are passed like numbers of 64 bits.
struct StreamApi {
#define RWKVRT_STREAM(member, arguments, cuda, hip)                            \
  std::add_pointer_t<Result arguments> member;
#include "Streams.def"

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
