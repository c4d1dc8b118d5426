//===- OpenCL.h - The part of OpenCL's interface that is used ---*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Types, numbers and functions of OpenCL 2.1 and
// cl_intel_unified_shared_memory, so that nothing needs to be installed to
// build the runtime.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_OPENCL_OPENCL_H
#define RWKVC_LIB_RUNTIME_GPU_OPENCL_OPENCL_H

#include <cstddef>
#include <cstdint>

namespace rwkvrt::gpu::cl {

using Int = int32_t;
using UInt = uint32_t;
using Bits = uint64_t;
using Property = intptr_t;
using Platform = struct PlatformTag *;
using DeviceId = struct DeviceTag *;
using Context = struct ContextTag *;
using CommandQueue = struct CommandQueueTag *;
using Program = struct ProgramTag *;
using Kernel = struct KernelTag *;
using Event = struct EventTag *;

enum : Int {
  success = 0,
  deviceNotFound = -1,
  memObjectAllocationFailure = -4,
  outOfHostMemory = -6,
  noPlatform = -1001,
  complete = 0, ///< status of a command; negative = it failed
};

enum : UInt {
  deviceTypeInfo = 0x1000,
  deviceAddressBits = 0x100D,
  deviceMaxAllocation = 0x1010,
  deviceIsAvailable = 0x1027,
  deviceName = 0x102B,
  deviceExtensions = 0x1030,
  deviceSvmCapabilities = 0x1053,
  deviceIlVersion = 0x105B,
  contextPlatform = 0x1084,
  programBuildLog = 0x1183,
  kernelNumArguments = 0x1191,
  kernelWorkGroupSize = 0x11B0,
  eventStatus = 0x11D3,
  memFlagsIntel = 0x10001,
};

enum : Bits {
  typeCpu = 1 << 1,
  typeAll = 0xFFFFFFFF,
  svmCoarseGrain = 1 << 0,
  memReadWrite = 1 << 0,
  allowUnrestrictedSizeIntel = 1 << 23,
};

using BuildCallback = void (*)(Program, void *);
using ContextCallback = void (*)(const char *, const void *, size_t, void *);

/// Copies between addresses of one space, of the host and of the device.
using EnqueueCopy = Int(CommandQueue, UInt blocking, void *to, const void *from,
                        size_t, UInt, const Event *, Event *);
using SetPointer = Int(Kernel, UInt, const void *);

#define RWKVRT_OPENCL_FUNCTIONS(F)                                             \
  F(Int, clGetPlatformIDs, (UInt, Platform *, UInt *))                         \
  F(Int, clGetPlatformInfo, (Platform, UInt, size_t, void *, size_t *))        \
  F(Int, clGetDeviceIDs, (Platform, Bits, UInt, DeviceId *, UInt *))           \
  F(Int, clGetDeviceInfo, (DeviceId, UInt, size_t, void *, size_t *))          \
  F(void *, clGetExtensionFunctionAddressForPlatform,                          \
    (Platform, const char *))                                                  \
  F(Context, clCreateContext,                                                  \
    (const Property *, UInt, const DeviceId *, ContextCallback, void *,        \
     Int *))                                                                   \
  F(Int, clReleaseContext, (Context))                                          \
  F(CommandQueue, clCreateCommandQueueWithProperties,                          \
    (Context, DeviceId, const Bits *, Int *))                                  \
  F(Int, clReleaseCommandQueue, (CommandQueue))                                \
  F(Int, clFlush, (CommandQueue))                                              \
  F(Int, clFinish, (CommandQueue))                                             \
  F(Program, clCreateProgramWithIL, (Context, const void *, size_t, Int *))    \
  F(Int, clBuildProgram,                                                       \
    (Program, UInt, const DeviceId *, const char *, BuildCallback, void *))    \
  F(Int, clGetProgramBuildInfo,                                                \
    (Program, DeviceId, UInt, size_t, void *, size_t *))                       \
  F(Int, clReleaseProgram, (Program))                                          \
  F(Kernel, clCreateKernel, (Program, const char *, Int *))                    \
  F(Int, clGetKernelInfo, (Kernel, UInt, size_t, void *, size_t *))            \
  F(Int, clGetKernelWorkGroupInfo,                                             \
    (Kernel, DeviceId, UInt, size_t, void *, size_t *))                        \
  F(Int, clReleaseKernel, (Kernel))                                            \
  F(Int, clSetKernelArg, (Kernel, UInt, size_t, const void *))                 \
  F(Int, clSetKernelArgSVMPointer, (Kernel, UInt, const void *))               \
  F(Int, clEnqueueNDRangeKernel,                                               \
    (CommandQueue, Kernel, UInt, const size_t *, const size_t *,               \
     const size_t *, UInt, const Event *, Event *))                            \
  F(Int, clEnqueueSVMMemcpy,                                                   \
    (CommandQueue, UInt, void *, const void *, size_t, UInt, const Event *,    \
     Event *))                                                                 \
  F(void *, clSVMAlloc, (Context, Bits, size_t, UInt))                         \
  F(void, clSVMFree, (Context, void *))                                        \
  F(Int, clGetEventInfo, (Event, UInt, size_t, void *, size_t *))              \
  F(Int, clReleaseEvent, (Event))

/// The functions, from the loader's library.
struct Api {
#define RWKVRT_MEMBER(result, name, arguments) result(*name) arguments;
  RWKVRT_OPENCL_FUNCTIONS(RWKVRT_MEMBER)
#undef RWKVRT_MEMBER
};

/// Memory of the device proper, where a platform has it.
struct UnifiedMemory {
  void *(*allocate)(Context, DeviceId, const Bits *properties, size_t size,
                    UInt alignment, Int *error) = nullptr;
  Int (*free)(Context, void *) = nullptr; ///< waits until it is not in use
  EnqueueCopy *copy = nullptr;
  SetPointer *setPointer = nullptr;
};

} // namespace rwkvrt::gpu::cl

#endif // RWKVC_LIB_RUNTIME_GPU_OPENCL_OPENCL_H
