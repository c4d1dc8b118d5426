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
#include <type_traits>

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

/// The functions, from the loader's library.
struct Api {
#define RWKVRT_OPENCL(name, ...) std::add_pointer_t<__VA_ARGS__> name;
#include "OpenCL.def"
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
