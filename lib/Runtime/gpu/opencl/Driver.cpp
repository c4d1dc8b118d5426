//===- Driver.cpp - Devices through OpenCL --------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Arguments are addresses inside of memory, so buffers (cl_mem) will not do.
// Memory is either the device's of cl_intel_unified_shared_memory or shared
// virtual memory (SVM), which is used like it, by copies.
//
// A recording is one kernel object per launch with its arguments set.
//
//===----------------------------------------------------------------------===//

#include "../Device.h"
#include "../DriverLibrary.h"
#include "OpenCL.h"

#include <cstdlib>
#include <cstring>

using namespace rwkvrt;
using namespace rwkvrt::gpu;

static std::string describeError(cl::Int error) {
  static constexpr std::pair<cl::Int, const char *> names[] = {
      {-1, "CL_DEVICE_NOT_FOUND"},
      {-2, "CL_DEVICE_NOT_AVAILABLE"},
      {-3, "CL_COMPILER_NOT_AVAILABLE"},
      {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
      {-5, "CL_OUT_OF_RESOURCES"},
      {-6, "CL_OUT_OF_HOST_MEMORY"},
      {-11, "CL_BUILD_PROGRAM_FAILURE"},
      {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
      {-30, "CL_INVALID_VALUE"},
      {-42, "CL_INVALID_BINARY"},
      {-46, "CL_INVALID_KERNEL_NAME"},
      {-51, "CL_INVALID_ARG_SIZE"},
      {-50, "CL_INVALID_ARG_VALUE"},
      {-54, "CL_INVALID_WORK_GROUP_SIZE"},
      {-59, "CL_INVALID_OPERATION"},
      {-61, "CL_INVALID_BUFFER_SIZE"},
      {-1001, "no platform"}};
  for (auto [number, name] : names)
    if (number == error)
      return name;
  return "OpenCL's error " + std::to_string(error);
}

static bool isShortage(cl::Int error) {
  return error == cl::memObjectAllocationFailure ||
         error == cl::outOfHostMemory;
}

/// A text that OpenCL gives, by one of its functions for information.
template <typename Function, typename... Of>
static std::string getText(Function *get, cl::UInt what, Of... of) {
  size_t size = 0;
  if (get(of..., what, 0, nullptr, &size) != cl::success || size == 0)
    return "";
  std::string text(size, '\0');
  if (get(of..., what, size, text.data(), nullptr) != cl::success)
    return "";
  text.resize(std::strlen(text.c_str()));
  return text;
}

/// A number likewise; 0 if there is none.
template <typename T, typename Function, typename... Of>
static T getNumber(Function *get, cl::UInt what, Of... of) {
  T value = 0;
  return get(of..., what, sizeof value, &value, nullptr) == cl::success ? value
                                                                        : 0;
}

namespace {

struct OpenDevice final : Device {
  OpenDevice(const cl::Api &api, cl::Platform platform, cl::DeviceId id,
             const std::string &description, const rwkvrt_device_info &code,
             size_t largest);
  ~OpenDevice() override;

  Address allocate(size_t size) override;
  void free(Address address) noexcept override;
  void *allocateHost(size_t size) override {
    return allocateScratch(size).release();
  }
  void freeHost(void *data) noexcept override {
    FreeBuffer()(static_cast<std::byte *>(data));
  }
  std::unique_ptr<Queue> makeQueue() override;

  /// Throws unless \p error is success.
  void require(cl::Int error, rwkvrt_status status, const char *what,
               const char *object = "") const {
    if (error != cl::success)
      fail(isShortage(error) ? RWKVRT_OUT_OF_MEMORY : status,
           "%s: cannot %s%s: %s", description.c_str(), what, object,
           describeError(error).c_str());
  }

  const cl::Api &api;
  const cl::DeviceId id;
  const rwkvrt_device_info &code;
  cl::Bits largestAllocation = 0;
  cl::UnifiedMemory unified; ///< null members: SVM
  cl::Context context = nullptr;
  cl::Program program = nullptr;

private:
  void chooseMemory(cl::Platform platform);
  void build(size_t largest);
  /// Makes the program; returns how building it went.
  cl::Int compile(const char *options);
  void checkKernel(const rwkvrt_kernel_info &kernel) const;
  void release() noexcept;
};

/// A kernel object; released at the end.
class KernelObject {
public:
  KernelObject(const OpenDevice &device, const rwkvrt_kernel_info &info,
               rwkvrt_status status)
      : api(device.api) {
    cl::Int error = cl::success;
    kernel = api.clCreateKernel(device.program, info.name, &error);
    device.require(error, status, "make kernel ", info.name);
  }
  KernelObject(KernelObject &&other) noexcept
      : api(other.api), kernel(std::exchange(other.kernel, nullptr)) {}
  KernelObject &operator=(KernelObject &&) = delete;
  ~KernelObject() {
    if (kernel)
      api.clReleaseKernel(kernel);
  }
  cl::Kernel get() const { return kernel; }

private:
  const cl::Api &api;
  cl::Kernel kernel = nullptr;
};

struct BoundLaunch {
  KernelObject kernel;
  const rwkvrt_kernel_info &info;
  size_t threads;
};

struct BoundLaunches final : Recording {
  std::vector<BoundLaunch> launches;
};

class OpenQueue final : public Queue {
public:
  explicit OpenQueue(OpenDevice &device);
  ~OpenQueue() override;

  void upload(Address to, const void *from, size_t size) override {
    transfer(pointerTo(to), from, size);
  }
  void download(void *to, Address from, size_t size) override {
    transfer(to, pointerTo(from), size);
  }
  void copy(Address to, Address from, size_t size) override {
    transfer(pointerTo(to), pointerTo(from), size);
  }
  std::unique_ptr<Recording>
  record(const std::vector<Launch> &launches) override;
  void replay(const Recording &recording) override;
  void finish() override;
  void abandon() noexcept override {
    api.clFinish(queue);
    setLast(nullptr);
  }

private:
  static void *pointerTo(Address address) {
    return reinterpret_cast<void *>(address);
  }
  void transfer(void *to, const void *from, size_t size);
  /// Keeps the last launch's event, for its status.
  void setLast(cl::Event event);

  OpenDevice &device;
  const cl::Api &api;
  cl::CommandQueue queue = nullptr;
  cl::Event last = nullptr;
};

class OpenCLDriver final : public Driver {
public:
  explicit OpenCLDriver(const cl::Api &api);

  unsigned count() const override {
    return static_cast<unsigned>(devices.size());
  }
  std::string describe(unsigned number) const override {
    return "opencl:" + std::to_string(number) + " " +
           getText(api.clGetDeviceInfo, cl::deviceName, devices[number].id);
  }
  bool isProcessor(unsigned number) const override {
    return devices[number].type & cl::typeCpu;
  }
  std::string whyNot(unsigned number,
                     const rwkvrt_device_info &code) const override;
  std::unique_ptr<Device> open(unsigned number, const rwkvrt_device_info &code,
                               size_t largest) const override {
    const Found &found = devices[number];
    return std::make_unique<OpenDevice>(api, found.platform, found.id,
                                        describe(number), code, largest);
  }

private:
  struct Found {
    cl::Platform platform;
    cl::DeviceId id;
    cl::Bits type;
  };
  const cl::Api &api;
  std::vector<Found> devices; ///< processors last
};

} // namespace

OpenDevice::OpenDevice(const cl::Api &api, cl::Platform platform,
                       cl::DeviceId id, const std::string &description,
                       const rwkvrt_device_info &code, size_t largest)
    : Device(description), api(api), id(id), code(code) {
  require(api.clGetDeviceInfo(id, cl::deviceMaxAllocation,
                              sizeof largestAllocation, &largestAllocation,
                              nullptr),
          RWKVRT_IO_ERROR, "ask for the device's memory");
  chooseMemory(platform);
  try {
    const cl::Property properties[] = {
        cl::contextPlatform, reinterpret_cast<cl::Property>(platform), 0};
    cl::Int error = cl::success;
    context = api.clCreateContext(properties, 1, &id, nullptr, nullptr, &error);
    require(error, RWKVRT_IO_ERROR, "open the device");
    build(largest);
    for (uint32_t i = 0; i < code.num_kernels; ++i)
      checkKernel(code.kernels[i]);
  } catch (...) {
    release();
    throw;
  }
}

OpenDevice::~OpenDevice() { release(); }

void OpenDevice::release() noexcept {
  if (program)
    api.clReleaseProgram(program);
  if (context)
    api.clReleaseContext(context);
}

static bool hasWord(const std::string &text, const char *word) {
  return (" " + text + " ").find(" " + std::string(word) + " ") !=
         std::string::npos;
}

static bool hasUnifiedMemory(const cl::Api &api, cl::DeviceId id) {
  return hasWord(getText(api.clGetDeviceInfo, cl::deviceExtensions, id),
                 "cl_intel_unified_shared_memory");
}

static bool hasSharedMemory(const cl::Api &api, cl::DeviceId id) {
  return getNumber<cl::Bits>(api.clGetDeviceInfo, cl::deviceSvmCapabilities,
                             id) &
         cl::svmCoarseGrain;
}

void OpenDevice::chooseMemory(cl::Platform platform) {
  const char *wish = std::getenv("RWKVC_OPENCL_MEMORY");
  bool wantsShared = wish && std::strcmp(wish, "svm") == 0;
  if (!hasUnifiedMemory(api, id) || (wantsShared && hasSharedMemory(api, id)))
    return;
  auto find = [&](auto *&entry, const char *name) {
    entry = reinterpret_cast<std::remove_reference_t<decltype(entry)>>(
        api.clGetExtensionFunctionAddressForPlatform(platform, name));
    if (!entry)
      fail(RWKVRT_MISMATCH, "%s: the driver has no %s", description.c_str(),
           name);
  };
  find(unified.allocate, "clDeviceMemAllocINTEL");
  find(unified.free, "clMemBlockingFreeINTEL");
  find(unified.copy, "clEnqueueMemcpyINTEL");
  find(unified.setPointer, "clSetKernelArgMemPointerINTEL");
}

void OpenDevice::build(size_t largest) {
  // GPUs of Intel want to know that offsets may exceed 32 bits. Others do not
  // know the option, and may go on complaining about it.
  if (unified.allocate && largest > largestAllocation) {
    if (compile("-cl-intel-greater-than-4GB-buffer-required") == cl::success)
      return;
    api.clReleaseProgram(std::exchange(program, nullptr));
  }
  cl::Int error = compile("");
  if (error == cl::success)
    return;
  std::string log = shortenLog(
      getText(api.clGetProgramBuildInfo, cl::programBuildLog, program, id));
  fail(isShortage(error) ? RWKVRT_OUT_OF_MEMORY : RWKVRT_MISMATCH,
       "%s: cannot compile the model's kernels: %s%s%s", description.c_str(),
       describeError(error).c_str(), log.empty() ? "" : ": ", log.c_str());
}

cl::Int OpenDevice::compile(const char *options) {
  cl::Int error = cl::success;
  program =
      api.clCreateProgramWithIL(context, code.image, code.image_size, &error);
  require(error, RWKVRT_MISMATCH, "take the model's SPIR-V");
  return api.clBuildProgram(program, 1, &id, options, nullptr, nullptr);
}

void OpenDevice::checkKernel(const rwkvrt_kernel_info &info) const {
  KernelObject kernel(*this, info, RWKVRT_MISMATCH);
  cl::UInt arguments = 0;
  require(api.clGetKernelInfo(kernel.get(), cl::kernelNumArguments,
                              sizeof arguments, &arguments, nullptr),
          RWKVRT_MISMATCH, "look at kernel ", info.name);
  if (arguments != info.num_arguments)
    fail(RWKVRT_BAD_FILE, "%s: kernel %s has %u arguments, not %u",
         description.c_str(), info.name, arguments, info.num_arguments);
  size_t most = 0;
  require(api.clGetKernelWorkGroupInfo(kernel.get(), id,
                                       cl::kernelWorkGroupSize, sizeof most,
                                       &most, nullptr),
          RWKVRT_MISMATCH, "look at kernel ", info.name);
  if (most < info.group_size)
    fail(RWKVRT_MISMATCH,
         "%s: kernel %s needs groups of %u threads with %u bytes of shared "
         "memory, the device has %zu threads for it",
         description.c_str(), info.name, info.group_size, info.local_size,
         most);
}

Address OpenDevice::allocate(size_t size) {
  void *data = nullptr;
  cl::Int error = cl::memObjectAllocationFailure;
  if (unified.allocate) {
    const cl::Bits unrestricted[] = {cl::memFlagsIntel,
                                     cl::allowUnrestrictedSizeIntel, 0};
    data = unified.allocate(context, id,
                            size > largestAllocation ? unrestricted : nullptr,
                            size, alignment, &error);
  } else {
    data = api.clSVMAlloc(context, cl::memReadWrite, size, alignment);
    error = data ? cl::success : error;
  }
  if (error == cl::success)
    return reinterpret_cast<Address>(data);
  fail(RWKVRT_OUT_OF_MEMORY,
       "%s: no %zu bytes of memory (%s); the device gives %llu at once at most",
       description.c_str(), size, describeError(error).c_str(),
       static_cast<unsigned long long>(largestAllocation));
}

void OpenDevice::free(Address address) noexcept {
  auto *data = reinterpret_cast<void *>(address);
  if (unified.allocate)
    unified.free(context, data);
  else
    api.clSVMFree(context, data);
}

std::unique_ptr<Queue> OpenDevice::makeQueue() {
  return std::make_unique<OpenQueue>(*this);
}

OpenQueue::OpenQueue(OpenDevice &device) : device(device), api(device.api) {
  cl::Int error = cl::success;
  queue = api.clCreateCommandQueueWithProperties(device.context, device.id,
                                                 nullptr, &error);
  device.require(error, RWKVRT_IO_ERROR, "make a queue");
}

OpenQueue::~OpenQueue() {
  setLast(nullptr);
  api.clReleaseCommandQueue(queue);
}

void OpenQueue::setLast(cl::Event event) {
  if (last)
    api.clReleaseEvent(last);
  last = event;
}

void OpenQueue::transfer(void *to, const void *from, size_t size) {
  if (size == 0)
    return;
  auto *enqueue =
      device.unified.copy ? device.unified.copy : api.clEnqueueSVMMemcpy;
  device.require(enqueue(queue, 0, to, from, size, 0, nullptr, nullptr),
                 RWKVRT_RUN_FAILED, "copy");
}

std::unique_ptr<Recording>
OpenQueue::record(const std::vector<Launch> &launches) {
  auto *setPointer = device.unified.setPointer ? device.unified.setPointer
                                               : api.clSetKernelArgSVMPointer;
  auto recording = std::make_unique<BoundLaunches>();
  for (const Launch &launch : launches) {
    const rwkvrt_kernel_info &info = device.code.kernels[launch.kernel];
    KernelObject kernel(device, info, RWKVRT_RUN_FAILED);
    for (uint32_t i = 0; i < info.num_arguments; ++i) {
      const Argument &argument = launch.arguments[i];
      device.require(
          argument.isAddress
              ? setPointer(kernel.get(), i, pointerTo(argument.value))
              : api.clSetKernelArg(kernel.get(), i, sizeof argument.value,
                                   &argument.value),
          RWKVRT_RUN_FAILED, "set arguments of kernel ", info.name);
    }
    recording->launches.push_back(
        {std::move(kernel), info,
         static_cast<size_t>(launch.groups) * info.group_size});
  }
  return recording;
}

void OpenQueue::replay(const Recording &recording) {
  const auto &launches = static_cast<const BoundLaunches &>(recording).launches;
  for (const BoundLaunch &launch : launches) {
    size_t groupSize = launch.info.group_size;
    bool isLast = &launch == &launches.back();
    cl::Event event = nullptr;
    device.require(api.clEnqueueNDRangeKernel(
                       queue, launch.kernel.get(), 1, nullptr, &launch.threads,
                       &groupSize, 0, nullptr, isLast ? &event : nullptr),
                   RWKVRT_RUN_FAILED, "launch kernel ", launch.info.name);
    if (isLast)
      setLast(event);
  }
  device.require(api.clFlush(queue), RWKVRT_RUN_FAILED, "submit kernels");
}

void OpenQueue::finish() {
  cl::Int error = api.clFinish(queue);
  // A kernel that broke off may show in its event alone.
  if (last && error == cl::success) {
    cl::Int status = cl::complete;
    api.clGetEventInfo(last, cl::eventStatus, sizeof status, &status, nullptr);
    error = status < 0 ? status : cl::success;
  }
  setLast(nullptr);
  device.require(error, RWKVRT_RUN_FAILED, "run kernels");
}

OpenCLDriver::OpenCLDriver(const cl::Api &api) : api(api) {
  cl::UInt count = 0;
  cl::Int error = api.clGetPlatformIDs(0, nullptr, &count);
  std::vector<cl::Platform> platforms(count);
  if (error == cl::success && count)
    error = api.clGetPlatformIDs(count, platforms.data(), nullptr);
  if (error != cl::success && error != cl::noPlatform)
    fail(RWKVRT_MISMATCH, "the driver lists no platforms: %s",
         describeError(error).c_str());
  if (count == 0 || error == cl::noPlatform)
    fail(RWKVRT_MISMATCH, "no driver: no OpenCL platform is installed");
  std::vector<Found> processors;
  for (cl::Platform platform : platforms) {
    cl::Int failure =
        api.clGetDeviceIDs(platform, cl::typeAll, 0, nullptr, &count);
    std::vector<cl::DeviceId> ids(failure == cl::success ? count : 0);
    if (!ids.empty())
      failure =
          api.clGetDeviceIDs(platform, cl::typeAll, count, ids.data(), nullptr);
    if (failure != cl::success) {
      // Another platform may do.
      error = failure == cl::deviceNotFound ? error : failure;
      continue;
    }
    for (cl::DeviceId id : ids) {
      auto type =
          getNumber<cl::Bits>(api.clGetDeviceInfo, cl::deviceTypeInfo, id);
      (type & cl::typeCpu ? processors : devices)
          .push_back({platform, id, type});
    }
  }
  devices.insert(devices.end(), processors.begin(), processors.end());
  if (devices.empty() && error != cl::success)
    fail(RWKVRT_MISMATCH, "the driver lists no devices: %s",
         describeError(error).c_str());
}

std::string OpenCLDriver::whyNot(unsigned number,
                                 const rwkvrt_device_info &) const {
  cl::DeviceId id = devices[number].id;
  if (!getNumber<cl::UInt>(api.clGetDeviceInfo, cl::deviceIsAvailable, id))
    return "is not available";
  auto bits =
      getNumber<cl::UInt>(api.clGetDeviceInfo, cl::deviceAddressBits, id);
  if (bits != 64)
    return "has addresses of " + std::to_string(bits) + " bits, not 64";
  if (getText(api.clGetDeviceInfo, cl::deviceIlVersion, id).find("SPIR-V") ==
      std::string::npos)
    return "takes no SPIR-V";
  if (!hasUnifiedMemory(api, id) && !hasSharedMemory(api, id))
    return "has neither shared virtual memory (SVM) nor "
           "cl_intel_unified_shared_memory";
  return "";
}

std::unique_ptr<Driver> gpu::loadOpenCL() {
  static const cl::Api api = [] {
    DriverLibrary library({"libOpenCL.so.1"});
    cl::Api found;
#define RWKVRT_OPENCL(name, ...) library.find(found.name, #name);
#include "OpenCL.def"
    return found;
  }();
  return std::make_unique<OpenCLDriver>(api);
}
