//===- Device.h - What a device must offer ----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The interface to OpenCL, CUDA and HIP. A driver lists its devices and says
// whether code can run on one; an open device holds the code of one model, and
// its memory; a queue belongs to one sequence or one call.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_GPU_DEVICE_H
#define RWKVC_LIB_RUNTIME_GPU_DEVICE_H

#include "../Support.h"

#include <vector>

namespace rwkvrt::gpu {

/// A place in a device's memory, as kernels see it.
using Address = uint64_t;

/// An argument of a kernel, resolved.
struct Argument {
  bool isAddress;
  uint64_t value;
};

/// One run of a kernel.
struct Launch {
  uint32_t kernel, groups;
  std::vector<Argument> arguments;
};

/// Launches that can be submitted again and again.
class Recording {
public:
  virtual ~Recording() = default;
};

/// Work for a device, done in the order in which it comes. What a call names
/// must stay as it is until finish() has returned, or abandon(). One of them is
/// also due before the queue's end.
class Queue {
public:
  virtual ~Queue() = default;

  virtual void upload(Address to, const void *from, size_t size) = 0;
  virtual void download(void *to, Address from, size_t size) = 0;
  virtual void copy(Address to, Address from, size_t size) = 0;

  virtual std::unique_ptr<Recording>
  record(const std::vector<Launch> &launches) = 0;
  /// Submits all launches of what this queue recorded.
  virtual void replay(const Recording &recording) = 0;

  /// Waits; throws what went wrong since the last time.
  virtual void finish() = 0;
  /// Waits where something went wrong already.
  virtual void abandon() noexcept = 0;
};

/// A device that is ready to run a model's code.
class Device {
public:
  explicit Device(std::string description)
      : description(std::move(description)) {}
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;
  virtual ~Device() = default;

  /// Memory of the device, at least 64-byte aligned.
  virtual Address allocate(size_t size) = 0;
  virtual void free(Address address) noexcept = 0;
  /// Memory of the host from and to which the device copies fast.
  virtual void *allocateHost(size_t size) = 0;
  virtual void freeHost(void *data) noexcept = 0;

  virtual std::unique_ptr<Queue> makeQueue() = 0;

  const std::string description; ///< as Driver::describe() gives it
};

/// The devices of one kind that the system offers.
class Driver {
public:
  virtual ~Driver() = default;

  virtual unsigned count() const = 0;
  /// "cuda:0 NVIDIA A100"; messages of the open device begin with it.
  virtual std::string describe(unsigned number) const = 0;
  /// Whether the device is the processor itself.
  virtual bool isProcessor(unsigned number) const = 0;
  /// Why \p code cannot run on the device; empty if it can.
  virtual std::string whyNot(unsigned number,
                             const rwkvrt_device_info &code) const = 0;
  /// \p largest: bytes of the largest piece of memory that will be asked for.
  virtual std::unique_ptr<Device> open(unsigned number,
                                       const rwkvrt_device_info &code,
                                       size_t largest) const = 0;
};

/// They throw why the system has no devices of the kind.
std::unique_ptr<Driver> loadOpenCL();
std::unique_ptr<Driver> loadCuda();
std::unique_ptr<Driver> loadHip();

/// Memory of a device; freed at the end.
class Memory {
public:
  Memory(Device &device, size_t size)
      : device(&device), start(device.allocate(size ? size : 1)) {}
  Memory(Memory &&other) noexcept
      : device(std::exchange(other.device, nullptr)), start(other.start) {}
  Memory &operator=(Memory &&) = delete;
  ~Memory() {
    if (device)
      device->free(start);
  }
  Address address() const { return start; }

private:
  Device *device;
  Address start;
};

/// Memory of the host for copies; freed at the end.
class HostMemory {
public:
  HostMemory(Device &device, size_t size)
      : device(device), start(device.allocateHost(size ? size : 1)) {}
  HostMemory(const HostMemory &) = delete;
  HostMemory &operator=(const HostMemory &) = delete;
  ~HostMemory() { device.freeHost(start); }
  std::byte *data() const { return static_cast<std::byte *>(start); }

private:
  Device &device;
  void *start;
};

/// A device and the model's code for it.
struct Choice {
  std::unique_ptr<Device> device; ///< null = the processor
  const rwkvrt_device_info *code = nullptr;
};

/// Finds and opens the device that \p wish names, as rwkvrt_model_load_on()
/// takes it. Throws if there is none; messages begin with \p origin.
Choice chooseDevice(const rwkvrt_model_info &info, const std::string &origin,
                    const char *wish);

} // namespace rwkvrt::gpu

#endif // RWKVC_LIB_RUNTIME_GPU_DEVICE_H
