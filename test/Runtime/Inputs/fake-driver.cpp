//===- fake-driver.cpp - Drivers of devices that are not there ------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// libcuda.so.1, or with -DFAKE_HIP libamdhip64.so.6, with the functions that
// the runtime uses. There are two devices; their memory is the host's, their
// kernels those of devices.h. Work on a stream is done when somebody waits for
// it, as late as a device may. What a real driver would not take is reported
// by fake_misuse(), what has not been given back by fake_live(). fake_fail()
// makes a call fail, fake_break() all of them.
//
//===----------------------------------------------------------------------===//

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

enum Error {
  success = 0,
  invalidValue = 1,
  outOfMemory = 2,
  notInitialized = 3,
  invalidContext = 201,
  invalidImage = 218,
  launchFailed = 719,
  notFound = 500,
  captureInvalidated = 901,
};

struct KernelCode {
  const char *name;
  size_t numArguments;
  /// One thread of a group.
  void (*run)(const uint64_t *arguments, uint64_t group, uint64_t thread,
              uint64_t id);
};

struct Node {
  const KernelCode *kernel;
  unsigned groups, groupSize;
  std::vector<uint64_t> arguments;
};

struct Graph {
  std::vector<Node> nodes;
};

struct Stream {
  std::vector<std::function<void()>> work;
  Graph *captured = nullptr; ///< being recorded
};

struct Module {
  int device;
};

constexpr int numDevices = 2;
const char *const names[] = {"Fake Old", "Fake New"};
#ifdef FAKE_HIP
const char *const architectures[] = {"gfx906", "gfx942:sramecc+:xnack-"};
#else
const int capabilities[] = {75, 90};
int retained[numDevices];
#endif

std::recursive_mutex lock;
bool initialized = false, broken = false;
int numCalls = 0, failingCall = 0, failure = 0;
std::string failedFunction, misuse;
int numLive = 0;
size_t freeMemory = size_t(1) << 30;
std::map<uint64_t, size_t> memory;       ///< of devices
std::map<uint64_t, size_t> pinnedMemory; ///< of the host
std::vector<Stream *> streams;
/// A thread's contexts; with HIP the last is its device.
thread_local std::vector<int> contexts;

void report(const std::string &what) {
  if (misuse.size() < 1000)
    misuse += what + "; ";
}

/// Counts a call; whether it is to fail.
bool fails(const char *function) {
  if (++numCalls != failingCall)
    return false;
  failedFunction = function;
  return true;
}

void require(bool condition, const char *what) {
  if (!condition)
    report(what);
}

bool hasRange(const std::map<uint64_t, size_t> &ranges, uint64_t begin,
              size_t size) {
  auto next = ranges.upper_bound(begin);
  if (next == ranges.begin())
    return false;
  --next;
  return begin + size <= next->first + next->second;
}

void finish(Stream *stream) {
  for (auto &work : stream->work)
    work();
  stream->work.clear();
}

void finishAll() {
  for (Stream *stream : streams)
    finish(stream);
}

void execute(const Node &node) {
  for (uint64_t group = 0; group < node.groups; ++group)
    for (uint64_t thread = 0; thread < node.groupSize; ++thread)
      node.kernel->run(node.arguments.data(), group, thread,
                       group * node.groupSize + thread);
}

template <typename T> T *at(uint64_t address) {
  return reinterpret_cast<T *>(address);
}

void feed(uint64_t text, uint64_t k, const uint64_t *a, uint64_t count) {
  const auto *tokens = at<int64_t>(a[0]);
  const auto *weights = at<float>(a[1]);
  float *s = at<float>(a[2]), *m = at<float>(a[3]), *history = at<float>(a[6]);
  uint64_t element = text * 64 + k;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t position = text * a[4] + i;
    s[element] = s[element] / 2 + weights[tokens[position] * 64 + k];
    m[element] = std::max(m[element], s[element]);
    history[position * 64 + k] = s[element];
  }
}

const KernelCode kernelCodes[] = {
    {"advance", 7,
     [](const uint64_t *a, uint64_t text, uint64_t k, uint64_t) {
       feed(text, k, a, a[5]);
     }},
    {"advance_block", 7,
     [](const uint64_t *a, uint64_t text, uint64_t k, uint64_t) {
       feed(text, k, a, *at<uint64_t>(a[5]));
     }},
    {"head", 3,
     [](const uint64_t *a, uint64_t, uint64_t, uint64_t id) {
       const float *w = at<float>(a[0]) + id % 256 * 64;
       const float *s = at<float>(a[1]) + id / 256 * 64;
       float sum = 0;
       for (int k = 0; k < 64; ++k)
         sum += w[k] * s[k];
       at<float>(a[2])[id] = sum;
     }},
    {"count", 2,
     [](const uint64_t *a, uint64_t, uint64_t, uint64_t) {
       *at<int32_t>(a[1]) = static_cast<int32_t>(*at<int64_t>(a[0]));
     }},
    {"copy", 2, [](const uint64_t *a, uint64_t, uint64_t, uint64_t id) {
       at<float>(a[1])[id] = at<float>(a[0])[id];
     }}};

/// The calling thread's device; -1 if it has none.
int currentDevice() { return contexts.empty() ? -1 : contexts.back(); }

int checkCurrent() {
  if (!initialized)
    return notInitialized;
#ifdef FAKE_HIP
  if (contexts.empty())
    contexts.push_back(0);
#endif
  int device = currentDevice();
  if (device >= 0)
    return success;
  report("a call without a context");
  return invalidContext;
}

int checkStream(Stream *stream) {
  if (std::find(streams.begin(), streams.end(), stream) != streams.end())
    return success;
  report("a stream that is none");
  return invalidValue;
}

int enqueue(Stream *stream, std::function<void()> work) {
  if (int error = checkStream(stream))
    return error;
  require(!stream->captured, "a copy or graph while recording");
  stream->work.push_back(std::move(work));
  return success;
}

} // namespace

#define BEGIN()                                                                \
  std::lock_guard<std::recursive_mutex> guard(lock);                           \
  if (fails(__func__))                                                         \
  return failure
#define BEGIN_IN_CONTEXT()                                                     \
  BEGIN();                                                                     \
  if (int error = checkCurrent())                                              \
    return error;                                                              \
  if (broken)                                                                  \
  return launchFailed

// What a test asks and sets.

/// Call number \p call from now on, from 1, fails with \p error; 0 = none.
EXPORT void fake_fail(int call, int error) {
  numCalls = 0;
  failingCall = call;
  failure = error;
  failedFunction.clear();
}
/// The function that failed; "" if none was called.
EXPORT const char *fake_failed() { return failedFunction.c_str(); }
/// Everything fails as after a kernel that broke off, until the context is no
/// longer in use.
EXPORT void fake_break() { broken = true; }
/// Objects and pieces of memory that exist.
EXPORT int fake_live() { return numLive; }
EXPORT const char *fake_misuse() { return misuse.c_str(); }
/// Bytes that devices have.
EXPORT void fake_memory(size_t size) { freeMemory = size; }

#ifdef FAKE_HIP
#define NAME(cuda, hip) hip
#else
#define NAME(cuda, hip) cuda
#endif

EXPORT int NAME(cuInit, hipInit)(unsigned) {
  BEGIN();
  initialized = true;
  return success;
}

EXPORT int NAME(cuDeviceGetCount, hipGetDeviceCount)(int *count) {
  BEGIN();
  if (!initialized)
    return notInitialized;
  *count = std::getenv("FAKE_NO_DEVICE") ? 0 : numDevices;
  return *count ? success : 100;
}

EXPORT int NAME(cuDeviceGet, hipDeviceGet)(int *device, int number) {
  BEGIN();
  *device = number;
  return number < numDevices ? success : invalidValue;
}

EXPORT int NAME(cuDeviceGetName, hipDeviceGetName)(char *name, int size,
                                                   int device) {
  BEGIN();
  std::snprintf(name, size, "%s", names[device]);
  return success;
}

#ifdef FAKE_HIP
EXPORT const char *hipGetErrorName(int error) {
  return error == outOfMemory ? "hipErrorOutOfMemory" : "hipErrorFake";
}
EXPORT const char *hipGetErrorString(int) { return "made to fail"; }

EXPORT int hipGetDevicePropertiesR0600(char *properties, int device) {
  BEGIN();
  std::memset(properties, 0, 1472);
  std::strcpy(properties + 1160, architectures[device]);
  return success;
}

// These are not made to fail, nor is anything else that giving memory back
// needs: nothing could be done about it.
EXPORT int hipGetDevice(int *device) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  if (int error = checkCurrent())
    return error;
  *device = currentDevice();
  return success;
}

EXPORT int hipSetDevice(int device) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  contexts.assign(1, device);
  return success;
}
#else
EXPORT int cuGetErrorName(int error, const char **name) {
  *name = error == outOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_FAKE";
  return success;
}
EXPORT int cuGetErrorString(int, const char **text) {
  *text = "made to fail";
  return success;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  BEGIN();
  *value = attribute == 75   ? capabilities[device] / 10
           : attribute == 76 ? capabilities[device] % 10
                             : -1;
  return success;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
  BEGIN();
  if (!initialized)
    return notInitialized;
  ++retained[device];
  ++numLive;
  *context = reinterpret_cast<void *>(static_cast<intptr_t>(device + 1));
  return success;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  require(retained[device] > 0, "a context released too often");
  if (--retained[device] == 0)
    broken = false;
  --numLive;
  return success;
}

// Not made to fail, nor is anything else that gives memory back: nothing could
// be done about it.
EXPORT int cuCtxPushCurrent_v2(void *context) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  int device = static_cast<int>(reinterpret_cast<intptr_t>(context)) - 1;
  require(device >= 0 && device < numDevices && retained[device],
          "a context that is none");
  contexts.push_back(device);
  ++numLive;
  return success;
}

EXPORT int cuCtxPopCurrent_v2(void **context) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  require(!contexts.empty(), "a context popped too often");
  if (contexts.empty())
    return invalidContext;
  *context =
      reinterpret_cast<void *>(static_cast<intptr_t>(contexts.back() + 1));
  contexts.pop_back();
  --numLive;
  return success;
}
#endif

EXPORT int NAME(cuModuleLoadDataEx,
                hipModuleLoadDataEx)(Module **module, const char *image,
                                     unsigned numOptions, int *options,
                                     void **values) {
  BEGIN_IN_CONTEXT();
#ifdef FAKE_HIP
  bool valid = std::memcmp(image, "code object", 11) == 0;
#else
  // Read to its end, as a real driver would.
  bool valid = std::string(image) == "// PTX";
#endif
  if (!valid) {
    for (unsigned i = 0; i < numOptions; ++i)
      if (options[i] == 5)
        std::strcpy(static_cast<char *>(values[i]),
                    "ptxas application ptx input, line 1;\n\tfatal   : made "
                    "to fail\n");
    return invalidImage;
  }
  *module = new Module{currentDevice()};
  ++numLive;
  return success;
}

EXPORT int NAME(cuModuleUnload, hipModuleUnload)(Module *module) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  require(checkCurrent() == success && currentDevice() == module->device,
          "a module unloaded on another device");
  delete module;
  --numLive;
  return success;
}

EXPORT int NAME(cuModuleGetFunction,
                hipModuleGetFunction)(const KernelCode **kernel, Module *module,
                                      const char *name) {
  BEGIN_IN_CONTEXT();
  require(currentDevice() == module->device, "a module of another device");
  for (const KernelCode &code : kernelCodes)
    if (std::strcmp(code.name, name) == 0) {
      *kernel = &code;
      return success;
    }
  return notFound;
}

EXPORT int NAME(cuFuncGetAttribute, hipFuncGetAttribute)(int *value,
                                                         int attribute,
                                                         const KernelCode *) {
  BEGIN_IN_CONTEXT();
  require(attribute == 0, "an unknown attribute");
  *value = 1024;
  return success;
}

EXPORT int NAME(cuMemGetInfo_v2, hipMemGetInfo)(size_t *available,
                                                size_t *all) {
  BEGIN_IN_CONTEXT();
  *available = freeMemory;
  *all = freeMemory;
  return success;
}

static int allocate(std::map<uint64_t, size_t> &where, void **data,
                    size_t size) {
  require(size > 0, "no bytes of memory");
  *data = std::aligned_alloc(256, (size + 255) / 256 * 256);
  std::memset(*data, 0xff, size);
  where[reinterpret_cast<uint64_t>(*data)] = size;
  ++numLive;
  return success;
}

static int release(std::map<uint64_t, size_t> &where, void *data) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  require(checkCurrent() == success, "memory freed without a context");
  auto found = where.find(reinterpret_cast<uint64_t>(data));
  if (found == where.end()) {
    report("memory freed that is none");
    return invalidValue;
  }
  // As drivers do.
  finishAll();
  std::memset(data, 0xee, found->second);
  if (&where == &memory)
    freeMemory += found->second;
  where.erase(found);
  std::free(data);
  --numLive;
  return success;
}

EXPORT int NAME(cuMemAlloc_v2, hipMalloc)(void **data, size_t size) {
  BEGIN_IN_CONTEXT();
  if (size > freeMemory)
    return outOfMemory;
  freeMemory -= size;
  return allocate(memory, data, size);
}
EXPORT int NAME(cuMemFree_v2, hipFree)(void *data) {
  return release(memory, data);
}
EXPORT int NAME(cuMemHostAlloc, hipHostMalloc)(void **data, size_t size,
                                               unsigned) {
  BEGIN_IN_CONTEXT();
  return allocate(pinnedMemory, data, size);
}
EXPORT int NAME(cuMemFreeHost, hipHostFree)(void *data) {
  return release(pinnedMemory, data);
}

EXPORT int NAME(cuMemcpyHtoDAsync_v2,
                hipMemcpyHtoDAsync)(uint64_t to, const void *from, size_t size,
                                    Stream *stream) {
  BEGIN_IN_CONTEXT();
  require(hasRange(memory, to, size), "a copy to nowhere");
  // Pageable memory is read at once, pinned memory when its turn comes.
  if (hasRange(pinnedMemory, reinterpret_cast<uint64_t>(from), size))
    return enqueue(stream, [=] { std::memcpy(at<void>(to), from, size); });
  std::string content(static_cast<const char *>(from), size);
  return enqueue(stream,
                 [=] { std::memcpy(at<void>(to), content.data(), size); });
}

EXPORT int NAME(cuMemcpyDtoHAsync_v2,
                hipMemcpyDtoHAsync)(void *to, uint64_t from, size_t size,
                                    Stream *stream) {
  BEGIN_IN_CONTEXT();
  require(hasRange(memory, from, size), "a copy from nowhere");
  return enqueue(stream, [=] { std::memcpy(to, at<void>(from), size); });
}

EXPORT int NAME(cuMemcpyDtoDAsync_v2,
                hipMemcpyDtoDAsync)(uint64_t to, uint64_t from, size_t size,
                                    Stream *stream) {
  BEGIN_IN_CONTEXT();
  require(hasRange(memory, from, size) && hasRange(memory, to, size),
          "a copy from or to nowhere");
  return enqueue(stream,
                 [=] { std::memcpy(at<void>(to), at<void>(from), size); });
}

EXPORT int NAME(cuStreamCreate, hipStreamCreateWithFlags)(Stream **stream,
                                                          unsigned flags) {
  BEGIN_IN_CONTEXT();
  require(flags == 1, "a stream that waits for the default one");
  *stream = new Stream;
  streams.push_back(*stream);
  ++numLive;
  return success;
}

EXPORT int NAME(cuStreamDestroy_v2, hipStreamDestroy)(Stream *stream) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  if (int error = checkStream(stream))
    return error;
  require(!stream->captured, "a stream destroyed while recording");
  finish(stream);
  streams.erase(std::find(streams.begin(), streams.end(), stream));
  delete stream;
  --numLive;
  return success;
}

EXPORT int NAME(cuStreamSynchronize, hipStreamSynchronize)(Stream *stream) {
  BEGIN_IN_CONTEXT();
  if (int error = checkStream(stream))
    return error;
  require(!stream->captured, "a wait while recording");
  finish(stream);
  return success;
}

EXPORT int NAME(cuStreamBeginCapture_v2, hipStreamBeginCapture)(Stream *stream,
                                                                int mode) {
  BEGIN_IN_CONTEXT();
  if (int error = checkStream(stream))
    return error;
  require(mode == 1 && !stream->captured, "a recording in a recording");
  stream->captured = new Graph;
  ++numLive;
  return success;
}

EXPORT int NAME(cuStreamEndCapture, hipStreamEndCapture)(Stream *stream,
                                                         Graph **graph) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  if (int error = checkStream(stream))
    return error;
  require(stream->captured, "the end of no recording");
  Graph *captured = stream->captured;
  stream->captured = nullptr;
  if (fails(__func__)) {
    // Ends it all the same, without a graph.
    delete captured;
    --numLive;
    *graph = nullptr;
    return failure;
  }
  *graph = captured;
  return success;
}

EXPORT int NAME(cuLaunchKernel, hipModuleLaunchKernel)(
    const KernelCode *kernel, unsigned gridX, unsigned gridY, unsigned gridZ,
    unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
    Stream *stream, void **parameters, void **extra) {
  BEGIN_IN_CONTEXT();
  if (int error = checkStream(stream))
    return error;
  require(gridX && gridY == 1 && gridZ == 1 && blockX && blockY == 1 &&
              blockZ == 1 && !sharedBytes && !extra,
          "a launch of another kind");
  Node node{kernel, gridX, blockX, {}};
  for (size_t i = 0; i < kernel->numArguments; ++i)
    node.arguments.push_back(*static_cast<uint64_t *>(parameters[i]));
  if (stream->captured)
    stream->captured->nodes.push_back(std::move(node));
  else
    stream->work.push_back([node] { execute(node); });
  return success;
}

EXPORT int NAME(cuGraphInstantiateWithFlags,
                hipGraphInstantiateWithFlags)(Graph **exec, Graph *graph,
                                              unsigned long long flags) {
  BEGIN_IN_CONTEXT();
  require(flags == 0 && !graph->nodes.empty(), "an empty graph");
  *exec = new Graph(*graph);
  ++numLive;
  return success;
}

EXPORT int NAME(cuGraphLaunch, hipGraphLaunch)(Graph *exec, Stream *stream) {
  BEGIN_IN_CONTEXT();
  return enqueue(stream, [nodes = exec->nodes] {
    for (const Node &node : nodes)
      execute(node);
  });
}

static int destroyGraph(Graph *graph) {
  std::lock_guard<std::recursive_mutex> guard(lock);
  delete graph;
  --numLive;
  return success;
}
EXPORT int NAME(cuGraphDestroy, hipGraphDestroy)(Graph *graph) {
  return destroyGraph(graph);
}
EXPORT int NAME(cuGraphExecDestroy, hipGraphExecDestroy)(Graph *exec) {
  return destroyGraph(exec);
}
