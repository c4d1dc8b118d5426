//===- prototypes.cpp - Check of drivers' functions against their headers -===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// CHECK_CUDA, CHECK_HIP or CHECK_OPENCL: the runtime calls the functions of
// that driver as its headers declare them. Types may have other names.
//
//===----------------------------------------------------------------------===//

#include "gpu/Streams.h"
#include "gpu/hip/Hip.h"
#include "gpu/opencl/OpenCL.h"

#include <type_traits>

#ifdef CHECK_CUDA
#include <cuda.h>
#endif
#ifdef CHECK_HIP
#define __HIP_PLATFORM_AMD__
#define __HIP_DISABLE_CPP_FUNCTIONS__ // overloads of the functions
#include <hip/hip_runtime_api.h>
#endif
#ifdef CHECK_OPENCL
#define CL_TARGET_OPENCL_VERSION 210
#include <CL/cl.h>
#endif

/// Passed in the same way.
template <typename A, typename B> constexpr bool isAlike() {
  constexpr auto isPlain = [](auto *tag) {
    using T = std::remove_pointer_t<decltype(tag)>;
    return std::is_pointer_v<T> || std::is_integral_v<T> || std::is_enum_v<T>;
  };
  if constexpr (std::is_void_v<A> || std::is_void_v<B>)
    return std::is_same_v<A, B>;
  else
    return sizeof(A) == sizeof(B) && isPlain(static_cast<A *>(nullptr)) &&
           isPlain(static_cast<B *>(nullptr));
}

template <typename R, typename... As, typename S, typename... Bs>
constexpr bool areAlike(R (*)(As...), S (*)(Bs...)) {
  if constexpr (sizeof...(As) == sizeof...(Bs))
    return isAlike<R, S>() && (isAlike<As, Bs>() && ...);
  return false;
}

using namespace rwkvrt::gpu;

/// The headers' function, and the type that the runtime gives it.
#define CHECK(name, ...)                                                       \
  static_assert(areAlike(static_cast<std::add_pointer_t<__VA_ARGS__>>(0),      \
                         static_cast<decltype(&name)>(0)),                     \
                #name);

#ifdef CHECK_CUDA
#define RWKVRT_STREAM(member, arguments, cuda, hip)                            \
  CHECK(cuda, Result arguments)
#include "gpu/Streams.def"
#define RWKVRT_CUDA CHECK
#include "gpu/cuda/Cuda.def"
static_assert(success == int(CUDA_SUCCESS) &&
              outOfMemory == int(CUDA_ERROR_OUT_OF_MEMORY) &&
              maxThreadsPerBlock ==
                  int(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK) &&
              nonBlockingStream == unsigned(CU_STREAM_NON_BLOCKING) &&
              captureThreadLocal == int(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
#endif
#ifdef CHECK_HIP
#define RWKVRT_STREAM(member, arguments, cuda, hip) CHECK(hip, Result arguments)
#include "gpu/Streams.def"
#define RWKVRT_HIP CHECK
#include "gpu/hip/Hip.def"
static_assert(success == int(hipSuccess) &&
              outOfMemory == int(hipErrorOutOfMemory) &&
              maxThreadsPerBlock ==
                  int(HIP_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK) &&
              nonBlockingStream == unsigned(hipStreamNonBlocking) &&
              captureThreadLocal == int(hipStreamCaptureModeThreadLocal));
static_assert(HipProperties::newArchitecture ==
                  offsetof(hipDeviceProp_tR0600, gcnArchName) &&
              sizeof(HipProperties) >= sizeof(hipDeviceProp_tR0600));
#endif
#ifdef CHECK_OPENCL
namespace rwkvrt::gpu::cl {
#define RWKVRT_OPENCL(name, ...) CHECK(::name, __VA_ARGS__)
#include "gpu/opencl/OpenCL.def"
static_assert(outOfHostMemory == CL_OUT_OF_HOST_MEMORY &&
              memObjectAllocationFailure == CL_MEM_OBJECT_ALLOCATION_FAILURE &&
              complete == CL_COMPLETE);
static_assert(deviceTypeInfo == CL_DEVICE_TYPE &&
              deviceAddressBits == CL_DEVICE_ADDRESS_BITS &&
              deviceMaxAllocation == CL_DEVICE_MAX_MEM_ALLOC_SIZE &&
              deviceIsAvailable == CL_DEVICE_AVAILABLE &&
              deviceName == CL_DEVICE_NAME &&
              deviceExtensions == CL_DEVICE_EXTENSIONS &&
              deviceSvmCapabilities == CL_DEVICE_SVM_CAPABILITIES &&
              deviceIlVersion == CL_DEVICE_IL_VERSION &&
              contextPlatform == CL_CONTEXT_PLATFORM &&
              programBuildLog == CL_PROGRAM_BUILD_LOG &&
              kernelNumArguments == CL_KERNEL_NUM_ARGS &&
              kernelWorkGroupSize == CL_KERNEL_WORK_GROUP_SIZE &&
              eventStatus == CL_EVENT_COMMAND_EXECUTION_STATUS);
static_assert(typeCpu == CL_DEVICE_TYPE_CPU && typeAll == CL_DEVICE_TYPE_ALL &&
              svmCoarseGrain == CL_DEVICE_SVM_COARSE_GRAIN_BUFFER &&
              memReadWrite == CL_MEM_READ_WRITE);
} // namespace rwkvrt::gpu::cl
#endif
