//===- Streams.cpp - What CUDA and HIP have in common ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A queue is a stream, a recording a graph: its launches are captured once, and
// then submitted by one call.
//
//===----------------------------------------------------------------------===//

#include "Streams.h"

#include <cstring>

using namespace rwkvrt;
using namespace rwkvrt::gpu;

namespace {

struct StreamDevice final : Device {
  StreamDevice(const StreamApi &api, int device, const std::string &description,
               const rwkvrt_device_info &code);
  ~StreamDevice() override;

  Address allocate(size_t size) override;
  void free(Address address) noexcept override;
  void *allocateHost(size_t size) override;
  void freeHost(void *data) noexcept override;
  std::unique_ptr<Queue> makeQueue() override;

  /// Throws unless \p error is success.
  void require(Result error, rwkvrt_status status, const char *what,
               const char *object = "") const {
    if (error != success)
      fail(error == outOfMemory ? RWKVRT_OUT_OF_MEMORY : status,
           "%s: cannot %s%s: %s", description.c_str(), what, object,
           api.describe(error).c_str());
  }

  const StreamApi &api;
  const int device;
  const rwkvrt_device_info &code;
  void *context = nullptr;
  std::vector<Kernel> kernels; ///< in the order of the code's

private:
  void load();
  void close() noexcept;

  Module module = nullptr;
};

/// Makes a device the calling thread's while it lives. Any thread may call, and
/// the program may use devices of its own.
class Current {
public:
  explicit Current(const StreamDevice &device, rwkvrt_status status)
      : api(device.api) {
    device.require(api.enter(device.device, device.context, &saved), status,
                   "use the device");
    entered = true;
  }
  /// Where nothing can be reported.
  explicit Current(const StreamDevice &device) noexcept : api(device.api) {
    entered = api.enter(device.device, device.context, &saved) == success;
  }
  Current(const Current &) = delete;
  Current &operator=(const Current &) = delete;
  ~Current() {
    if (entered)
      api.leave(saved);
  }

private:
  const StreamApi &api;
  void *saved = nullptr;
  bool entered = false;
};

struct RecordedGraph final : Recording {
  explicit RecordedGraph(const StreamDevice &device) : device(device) {}
  ~RecordedGraph() override {
    if (!exec)
      return;
    Current current(device);
    device.api.destroyGraphExec(exec);
  }
  const StreamDevice &device;
  GraphExec exec = nullptr; ///< null = no launches
};

class StreamQueue final : public Queue {
public:
  explicit StreamQueue(const StreamDevice &device)
      : device(device), api(device.api) {
    Current current(device, RWKVRT_IO_ERROR);
    device.require(api.createStream(&stream, nonBlockingStream),
                   RWKVRT_IO_ERROR, "make a stream");
  }
  ~StreamQueue() override {
    Current current(device);
    api.destroyStream(stream);
  }

  void upload(Address to, const void *from, size_t size) override {
    if (size)
      call("copy", [&] { return api.upload(to, from, size, stream); });
  }
  void download(void *to, Address from, size_t size) override {
    if (size)
      call("copy", [&] { return api.download(to, from, size, stream); });
  }
  void copy(Address to, Address from, size_t size) override {
    if (size)
      call("copy", [&] { return api.copy(to, from, size, stream); });
  }
  std::unique_ptr<Recording>
  record(const std::vector<Launch> &launches) override;
  void replay(const Recording &recording) override {
    if (GraphExec exec = static_cast<const RecordedGraph &>(recording).exec)
      call("launch kernels", [&] { return api.launchGraph(exec, stream); });
  }
  void finish() override {
    call("run kernels", [&] { return api.synchronize(stream); });
  }
  void abandon() noexcept override {
    Current current(device);
    api.synchronize(stream);
  }

private:
  template <typename Function>
  void call(const char *what, Function &&function) {
    Current current(device, RWKVRT_RUN_FAILED);
    device.require(function(), RWKVRT_RUN_FAILED, what);
  }
  void capture(const std::vector<Launch> &launches);

  const StreamDevice &device;
  const StreamApi &api;
  Stream stream = nullptr;
};

} // namespace

StreamDevice::StreamDevice(const StreamApi &api, int device,
                           const std::string &description,
                           const rwkvrt_device_info &code)
    : Device(description), api(api), device(device), code(code) {
  require(api.retain(device, &context), RWKVRT_IO_ERROR, "open the device");
  try {
    load();
  } catch (...) {
    close();
    throw;
  }
}

StreamDevice::~StreamDevice() { close(); }

void StreamDevice::close() noexcept {
  if (module) {
    Current current(*this);
    api.unloadModule(module);
  }
  api.release(device);
}

void StreamDevice::load() {
  Current current(*this, RWKVRT_IO_ERROR);
  // The numbers of CU_JIT_ERROR_LOG_BUFFER and its size; HIP's are the same.
  enum { errorLog = 5, errorLogSize = 6 };
  std::string log(4096, '\0');
  int options[] = {errorLog, errorLogSize};
  void *values[] = {log.data(), reinterpret_cast<void *>(log.size())};
  const void *image = code.image;
  std::string text;
  if (!std::memchr(image, '\0', code.image_size)) {
    // PTX must end with a null character.
    text.assign(static_cast<const char *>(image), code.image_size);
    image = text.c_str();
  }
  Result error = api.loadModule(&module, image, 2, options, values);
  log = shortenLog(log.c_str());
  if (error != success)
    fail(error == outOfMemory ? RWKVRT_OUT_OF_MEMORY : RWKVRT_MISMATCH,
         "%s: cannot load the model's kernels: %s%s%s", description.c_str(),
         api.describe(error).c_str(), log.empty() ? "" : ": ", log.c_str());
  for (uint32_t i = 0; i < code.num_kernels; ++i) {
    const rwkvrt_kernel_info &info = code.kernels[i];
    Kernel kernel = nullptr;
    require(api.getKernel(&kernel, module, info.name), RWKVRT_MISMATCH,
            "find kernel ", info.name);
    int most = 0;
    require(api.getKernelAttribute(&most, maxThreadsPerBlock, kernel),
            RWKVRT_MISMATCH, "load kernel ", info.name);
    if (static_cast<int64_t>(most) < info.group_size)
      fail(RWKVRT_MISMATCH,
           "%s: kernel %s needs groups of %u threads with %u bytes of shared "
           "memory, the device has %d threads for it",
           description.c_str(), info.name, info.group_size, info.local_size,
           most);
    kernels.push_back(kernel);
  }
}

Address StreamDevice::allocate(size_t size) {
  Current current(*this, RWKVRT_IO_ERROR);
  Address address = 0;
  Result error = api.allocate(&address, size);
  if (error == success)
    return address;
  size_t available = 0, all = 0;
  if (error != outOfMemory || api.getMemory(&available, &all) != success)
    require(error, RWKVRT_IO_ERROR, "get memory");
  fail(RWKVRT_OUT_OF_MEMORY, "%s: no %zu bytes of memory: %zu of %zu are free",
       description.c_str(), size, available, all);
}

void StreamDevice::free(Address address) noexcept {
  Current current(*this);
  api.free(address);
}

void *StreamDevice::allocateHost(size_t size) {
  Current current(*this, RWKVRT_IO_ERROR);
  void *data = nullptr;
  require(api.allocateHost(&data, size, 0), RWKVRT_IO_ERROR,
          "get memory of the host");
  return data;
}

void StreamDevice::freeHost(void *data) noexcept {
  Current current(*this);
  api.freeHost(data);
}

std::unique_ptr<Queue> StreamDevice::makeQueue() {
  return std::make_unique<StreamQueue>(*this);
}

void StreamQueue::capture(const std::vector<Launch> &launches) {
  std::vector<void *> arguments;
  for (const Launch &launch : launches) {
    const rwkvrt_kernel_info &info = device.code.kernels[launch.kernel];
    arguments.clear();
    for (const Argument &argument : launch.arguments)
      // It is read only; the type has no const.
      arguments.push_back(const_cast<uint64_t *>(&argument.value));
    device.require(api.launch(device.kernels[launch.kernel], launch.groups, 1,
                              1, info.group_size, 1, 1, 0, stream,
                              arguments.data(), nullptr),
                   RWKVRT_RUN_FAILED, "record kernel ", info.name);
  }
}

std::unique_ptr<Recording>
StreamQueue::record(const std::vector<Launch> &launches) {
  auto recording = std::make_unique<RecordedGraph>(device);
  if (launches.empty())
    return recording;
  Current current(device, RWKVRT_RUN_FAILED);
  device.require(api.beginCapture(stream, captureThreadLocal),
                 RWKVRT_RUN_FAILED, "record kernels");
  Graph graph = nullptr;
  try {
    capture(launches);
  } catch (...) {
    // Otherwise the stream would go on recording.
    api.endCapture(stream, &graph);
    if (graph)
      api.destroyGraph(graph);
    throw;
  }
  Result error = api.endCapture(stream, &graph);
  if (error == success)
    error = api.instantiate(&recording->exec, graph, 0);
  if (graph)
    api.destroyGraph(graph);
  device.require(error, RWKVRT_RUN_FAILED, "record kernels");
  return recording;
}

StreamDriver::StreamDriver(const StreamApi &api, const char *name)
    : api(api), name(name) {
  // 100: no device, which the driver may also say so.
  constexpr Result noDevice = 100;
  int count = 0;
  Result error = api.init(0);
  if (error == success)
    error = api.getDeviceCount(&count);
  if (error != success && error != noDevice)
    fail(RWKVRT_MISMATCH, "the driver does not start: %s",
         api.describe(error).c_str());
  for (int i = 0; error == success && i < count; ++i) {
    int device = 0;
    if (Result failure = api.getDevice(&device, i); failure != success)
      fail(RWKVRT_MISMATCH, "the driver does not show device %d: %s", i,
           api.describe(failure).c_str());
    devices.push_back(device);
  }
}

std::string StreamDriver::describe(unsigned number) const {
  char text[256] = "";
  if (api.getDeviceName(text, sizeof text, devices[number]) != success)
    text[0] = '\0';
  text[sizeof text - 1] = '\0';
  return std::string(name) + ":" + std::to_string(number) + " " + text;
}

std::unique_ptr<Device> StreamDriver::open(unsigned number,
                                           const rwkvrt_device_info &code,
                                           size_t) const {
  return std::make_unique<StreamDevice>(api, devices[number], describe(number),
                                        code);
}
