//===- Matmul.cpp - Matrix products through oneDNN ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A slot holds a list of sites, one for each number of threads it was used
// with (oneDNN fixes it when it makes a primitive), and a site a list of packs,
// one for each address of its constant operand. Both lists only grow while the
// slot lives, so that calls read them without a lock.
//
//===----------------------------------------------------------------------===//

#include "Support.h"
#include "Widen.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <new>

using namespace rwkvrt;
using namespace rwkvrt::onednn;

extern "C" {
// OpenMP's, and what only LLVM's has.
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
int omp_in_parallel(void);
__attribute__((weak)) void kmp_set_blocktime(int milliseconds);
// The core runtime's, absent where generated code runs without it.
__attribute__((weak)) int32_t rwkvrt_get_num_threads(void);
}

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

static thread_local int32_t firstFailure = RWKVRT_DNNL_OK;
static thread_local char lastMessage[1024];

static int32_t recordFailure(const rwkvrt_dnnl_matmul_desc *desc,
                             rwkvrt_dnnl_status status, const char *message) {
  if (firstFailure == RWKVRT_DNNL_OK)
    firstFailure = status;
  if (!desc || !desc->where) {
    std::snprintf(lastMessage, sizeof lastMessage, "%s", message);
    return status;
  }
  const rwkvrt_dnnl_matrix &a = desc->a, &c = desc->c;
  int32_t rank = desc->rank;
  std::snprintf(lastMessage, sizeof lastMessage,
                "%s (product of %lldx%lld by %lldx%lld matrices): %s",
                desc->where, static_cast<long long>(a.dims[rank - 2]),
                static_cast<long long>(a.dims[rank - 1]),
                static_cast<long long>(a.dims[rank - 1]),
                static_cast<long long>(c.dims[rank - 1]), message);
  return status;
}

int32_t rwkvrt_dnnl_take_status(void) {
  int32_t status = firstFailure;
  firstFailure = RWKVRT_DNNL_OK;
  return status;
}

const char *rwkvrt_dnnl_last_error(void) { return lastMessage; }

//===----------------------------------------------------------------------===//
// Threads and scratch memory
//===----------------------------------------------------------------------===//

namespace {

/// Sets the number of threads of the products of this scope.
class Threads {
public:
  Threads() {
    before = number = omp_get_max_threads();
    if (omp_in_parallel()) {
      number = 1; // oneDNN opens no region inside another
      return;
    }
    if (rwkvrt_get_num_threads)
      number = rwkvrt_get_num_threads();
    // The processors belong to the runtime's threads until the next product.
    if (kmp_set_blocktime)
      kmp_set_blocktime(0);
    if (number != before)
      omp_set_num_threads(number);
    restore = number != before;
  }
  ~Threads() {
    if (restore)
      omp_set_num_threads(before);
  }
  Threads(const Threads &) = delete;
  Threads &operator=(const Threads &) = delete;

  int number = 0;

private:
  int before = 0;
  bool restore = false;
};

constexpr size_t alignment = 64;

/// Most operands of post-ops.
constexpr int kMaxOthers = 2;

size_t aligned(size_t size) {
  return (size + alignment - 1) / alignment * alignment;
}

/// Memory of a thread for the time of a call, kept for the next one.
class Scratch {
public:
  ~Scratch() { std::free(data); }

  std::byte *reserve(size_t wanted) {
    if (wanted <= size)
      return data;
    std::free(data);
    size = 0;
    data = static_cast<std::byte *>(
        std::aligned_alloc(alignment, aligned(wanted)));
    if (!data)
      throw std::bad_alloc();
    size = wanted;
    return data;
  }

private:
  std::byte *data = nullptr;
  size_t size = 0;
};

thread_local Scratch scratch;

//===----------------------------------------------------------------------===//
// Sites
//===----------------------------------------------------------------------===//

/// The constant operand, laid out for the kernel.
struct Pack {
  std::atomic<const void *> source; ///< nullptr: forgotten, to be used again
  Memory memory;
  Pack *next;
};

dnnl_data_type_t dataType(int32_t dtype) {
  return dtype == RWKVRT_F32   ? dnnl_f32
         : dtype == RWKVRT_F16 ? dnnl_f16
                               : dnnl_bf16;
}

size_t elements(const rwkvrt_dnnl_matrix &matrix, int32_t rank) {
  size_t count = 1;
  for (int32_t i = 0; i < rank; ++i)
    count *= matrix.dims[i];
  return count;
}

/// \p matrix as oneDNN shall see it: where it is or, \p widened, as row-major
/// float32.
MemoryDesc describe(const rwkvrt_dnnl_matrix &matrix, int32_t rank,
                    bool widened) {
  dnnl_dims_t dims, strides;
  for (int32_t i = rank - 1; i >= 0; --i) {
    dims[i] = matrix.dims[i];
    // The stride of a single element means nothing, but oneDNN checks it.
    if (widened || dims[i] == 1)
      strides[i] = i == rank - 1 ? 1 : dims[i + 1] * strides[i + 1];
    else
      strides[i] = matrix.strides[i];
  }
  return make<MemoryDesc>(dnnl_memory_desc_create_with_strides,
                          "describe an operand", rank, dims,
                          widened ? dnnl_f32 : dataType(matrix.dtype), strides);
}

bool isBinary(int32_t postOp) {
  postOp &= ~RWKVRT_DNNL_ROW;
  return postOp == RWKVRT_DNNL_ADD || postOp == RWKVRT_DNNL_MUL;
}

/// What is prepared for one call site and number of threads. Immutable but for
/// the packs.
class Site {
public:
  Site(const rwkvrt_dnnl_matmul_desc &desc, int threads);
  ~Site();
  void run(const void *a, const void *b, void *c, const void *const *others);
  void forget(const std::byte *begin, size_t size);

  const int threads;
  Site *next = nullptr;                       ///< in the slot
  Site *previous = nullptr, *after = nullptr; ///< in the list of all

private:
  dnnl_status_t prepare(bool widened);
  void addPostOps(dnnl_primitive_attr_t attributes);
  dnnl_memory_t packed(const void *b, std::byte *buffer);

  const rwkvrt_dnnl_matmul_desc &desc;
  Engine engine;
  Primitive primitive;
  MemoryDesc aDesc, bDesc, cDesc, scratchDesc;
  /// Of the operands of post-ops, and their positions among those.
  MemoryDesc otherDescs[kMaxOthers];
  int otherPositions[kMaxOthers] = {}, numOthers = 0;
  MemoryDesc packedDesc; ///< null if b is used as it is
  bool widenAB = false, widenC = false;
  size_t bOffset = 0, cOffset = 0, scratchOffset = 0, scratchSize = 0;
  std::mutex mutex; ///< held to add a pack
  std::atomic<Pack *> packs{nullptr};
};

/// All sites, for rwkvrt_dnnl_forget(). The mutex also guards the making and
/// release of sites.
std::mutex registry;
Site *allSites = nullptr;
std::atomic<size_t> packedBytes{0};

/// When the process ends, destructors of models may run after oneDNN's own; the
/// system takes the memory back anyway.
std::atomic<bool> processEnds{false};
struct NoteEnd {
  ~NoteEnd() { processEnds = true; }
} noteEnd;

} // namespace

/// Tells \p attributes what happens to the sums.
void Site::addPostOps(dnnl_primitive_attr_t attributes) {
  bool accumulates = desc.flags & RWKVRT_DNNL_ACCUMULATE;
  if (!accumulates && desc.num_post_ops == 0)
    return;
  auto postOps = make<PostOps>(dnnl_post_ops_create, "set options");
  if (accumulates)
    check(dnnl_post_ops_append_sum(postOps.get(), 1, 0, dnnl_data_type_undef),
          "accumulate");
  numOthers = 0;
  for (uint32_t i = 0; i < desc.num_post_ops; ++i) {
    int32_t kind = desc.post_ops[i] & ~RWKVRT_DNNL_ROW;
    if (isBinary(kind)) {
      rwkvrt_dnnl_matrix other = desc.c;
      if (desc.post_ops[i] & RWKVRT_DNNL_ROW)
        for (int32_t axis = 0; axis < desc.rank - 1; ++axis)
          other.dims[axis] = 1;
      MemoryDesc &memory = otherDescs[numOthers];
      memory = describe(other, desc.rank, /*widened=*/true);
      otherPositions[numOthers++] = i + accumulates;
      check(dnnl_post_ops_append_binary(
                postOps.get(),
                kind == RWKVRT_DNNL_ADD ? dnnl_binary_add : dnnl_binary_mul,
                memory.get()),
            "combine the product with another matrix");
      continue;
    }
    dnnl_alg_kind_t algorithm =
        kind == RWKVRT_DNNL_RELU       ? dnnl_eltwise_relu
        : kind == RWKVRT_DNNL_SQUARE   ? dnnl_eltwise_square
        : kind == RWKVRT_DNNL_LOGISTIC ? dnnl_eltwise_logistic
        : kind == RWKVRT_DNNL_TANH     ? dnnl_eltwise_tanh
                                       : dnnl_eltwise_swish;
    // The parameter is relu's slope below 0 and swish's factor in logistic().
    float parameter = kind == RWKVRT_DNNL_SWISH ? 1 : 0;
    check(dnnl_post_ops_append_eltwise(postOps.get(), algorithm, parameter, 0),
          "apply a function to the product");
  }
  check(dnnl_primitive_attr_set_post_ops(attributes, postOps.get()),
        "set options");
}

/// Makes the primitive; \p widened, for float32 copies of 16-bit operands.
dnnl_status_t Site::prepare(bool widened) {
  int32_t rank = desc.rank;
  widenAB = widened;
  widenC = widened && desc.c.dtype != RWKVRT_F32;
  aDesc = describe(desc.a, rank, widenAB);
  bDesc = describe(desc.b, rank, widenAB);
  cDesc = describe(desc.c, rank, widenC);

  auto attributes = make<Attributes>(dnnl_primitive_attr_create, "set options");
  check(dnnl_primitive_attr_set_scratchpad_mode(attributes.get(),
                                                dnnl_scratchpad_mode_user),
        "set options");
  addPostOps(attributes.get());

  MemoryDesc any;
  if (desc.flags & RWKVRT_DNNL_CONSTANT_B)
    any = make<MemoryDesc>(dnnl_memory_desc_create_with_tag,
                           "describe an operand", rank, desc.b.dims,
                           widenAB ? dnnl_f32 : dataType(desc.b.dtype),
                           dnnl_format_tag_any);
  dnnl_primitive_desc_t handle = nullptr;
  dnnl_status_t status = dnnl_matmul_primitive_desc_create(
      &handle, engine.get(), aDesc.get(), any ? any.get() : bDesc.get(),
      nullptr, cDesc.get(), attributes.get());
  if (status != dnnl_success)
    return status;
  PrimitiveDesc description(handle);

  auto query = [&](dnnl_query_t what, int index) {
    return make<MemoryDesc>(dnnl_memory_desc_clone, "describe an operand",
                            dnnl_primitive_desc_query_md(handle, what, index));
  };
  scratchDesc = query(dnnl_query_scratchpad_md, 0);
  if (any) {
    packedDesc = query(dnnl_query_weights_md, 0);
    // A plain layout needs no copy.
    if (!widenAB && dnnl_memory_desc_equal(packedDesc.get(), bDesc.get()))
      packedDesc.reset();
  }
  primitive = make<Primitive>(dnnl_primitive_create, "make the kernel", handle);

  // One block of scratch: a, b and c widened, then oneDNN's own.
  auto room = [&](const rwkvrt_dnnl_matrix &matrix, bool used) {
    return used ? aligned(elements(matrix, rank) * sizeof(float)) : 0;
  };
  bOffset = room(desc.a, widenAB);
  cOffset = bOffset + room(desc.b, widenAB);
  scratchOffset = cOffset + room(desc.c, widenC);
  scratchSize = dnnl_memory_desc_get_size(scratchDesc.get());
  return dnnl_success;
}

Site::Site(const rwkvrt_dnnl_matmul_desc &desc, int threads)
    : threads(threads), desc(desc),
      engine(make<Engine>(dnnl_engine_create, "start", dnnl_cpu, size_t(0))) {
  dnnl_status_t status = prepare(/*widened=*/false);
  if (status == dnnl_unimplemented && desc.a.dtype != RWKVRT_F32)
    status = prepare(/*widened=*/true);
  check(status, "multiply these matrices");
}

Site::~Site() {
  for (Pack *pack = packs, *following; pack; pack = following) {
    following = pack->next;
    if (pack->memory)
      packedBytes -= dnnl_memory_desc_get_size(packedDesc.get());
    delete pack;
  }
}

void Site::forget(const std::byte *begin, size_t size) {
  std::lock_guard<std::mutex> lock(mutex);
  for (Pack *pack = packs; pack; pack = pack->next) {
    auto source = static_cast<const std::byte *>(pack->source.load());
    if (!source || std::less<>()(source, begin) ||
        !std::less<>()(source, begin + size))
      continue;
    pack->source = nullptr;
    pack->memory.reset();
    packedBytes -= dnnl_memory_desc_get_size(packedDesc.get());
  }
}

/// The constant operand at \p b in the kernel's layout. \p buffer has room to
/// widen it.
dnnl_memory_t Site::packed(const void *b, std::byte *buffer) {
  auto find = [&]() -> dnnl_memory_t {
    for (Pack *pack = packs.load(std::memory_order_acquire); pack;
         pack = pack->next)
      if (pack->source.load(std::memory_order_acquire) == b)
        return pack->memory.get();
    return nullptr;
  };
  if (dnnl_memory_t found = find())
    return found;
  std::lock_guard<std::mutex> lock(mutex);
  if (dnnl_memory_t found = find())
    return found; // another thread was faster

  void *data = const_cast<void *>(b);
  if (widenAB) {
    widen(desc.b, desc.rank, b, reinterpret_cast<float *>(buffer));
    data = buffer;
  }
  Memory source = makeMemory(bDesc.get(), engine.get(), data);
  Memory memory =
      makeMemory(packedDesc.get(), engine.get(), DNNL_MEMORY_ALLOCATE);
  auto reorder = make<PrimitiveDesc>(
      dnnl_reorder_primitive_desc_create, "lay out the constant operand",
      bDesc.get(), engine.get(), packedDesc.get(), engine.get(), nullptr);
  auto copy = make<Primitive>(dnnl_primitive_create,
                              "lay out the constant operand", reorder.get());
  auto stream = make<Stream>(dnnl_stream_create, "start", engine.get(),
                             unsigned(dnnl_stream_default_flags));
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source.get()},
                                 {DNNL_ARG_TO, memory.get()}};
  check(dnnl_primitive_execute(copy.get(), stream.get(), 2, arguments),
        "lay out the constant operand");
  check(dnnl_stream_wait(stream.get()), "lay out the constant operand");

  Pack *pack = packs.load();
  while (pack && pack->source.load())
    pack = pack->next;
  if (!pack) {
    pack = new Pack{{nullptr}, nullptr, packs.load()};
    packs.store(pack, std::memory_order_release);
  }
  packedBytes += dnnl_memory_desc_get_size(packedDesc.get());
  pack->memory = std::move(memory);
  // Who finds the source finds the memory.
  pack->source.store(b, std::memory_order_release);
  return pack->memory.get();
}

void Site::run(const void *a, const void *b, void *c,
               const void *const *others) {
  int32_t rank = desc.rank;
  std::byte *work = scratch.reserve(scratchOffset + scratchSize);
  auto wide = [&](size_t offset) {
    return reinterpret_cast<float *>(work + offset);
  };
  if (widenAB) {
    widen(desc.a, rank, a, wide(0));
    a = wide(0);
  }
  Memory plainB;
  dnnl_memory_t bMemory;
  if (packedDesc) {
    bMemory = packed(b, work + bOffset);
  } else {
    if (widenAB) {
      widen(desc.b, rank, b, wide(bOffset));
      b = wide(bOffset);
    }
    plainB = makeMemory(bDesc.get(), engine.get(), const_cast<void *>(b));
    bMemory = plainB.get();
  }
  void *result = c;
  if (widenC) {
    result = wide(cOffset);
    if (desc.flags & RWKVRT_DNNL_ACCUMULATE)
      widen(desc.c, rank, c, wide(cOffset));
  }

  Memory aMemory = makeMemory(aDesc.get(), engine.get(), const_cast<void *>(a));
  Memory cMemory = makeMemory(cDesc.get(), engine.get(), result);
  Memory scratchMemory =
      makeMemory(scratchDesc.get(), engine.get(),
                 scratchSize ? work + scratchOffset : nullptr);
  auto stream = make<Stream>(dnnl_stream_create, "start", engine.get(),
                             unsigned(dnnl_stream_default_flags));
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, aMemory.get()},
                                 {DNNL_ARG_WEIGHTS, bMemory},
                                 {DNNL_ARG_DST, cMemory.get()},
                                 {DNNL_ARG_SCRATCHPAD, scratchMemory.get()},
                                 {},
                                 {}};
  static_assert(std::size(arguments) == 4 + kMaxOthers);
  Memory otherMemories[kMaxOthers];
  for (int i = 0; i < numOthers; ++i) {
    otherMemories[i] = makeMemory(otherDescs[i].get(), engine.get(),
                                  const_cast<void *>(others[i]));
    arguments[4 + i] = {DNNL_ARG_ATTR_MULTIPLE_POST_OP(otherPositions[i]) |
                            DNNL_ARG_SRC_1,
                        otherMemories[i].get()};
  }
  check(dnnl_primitive_execute(primitive.get(), stream.get(), 4 + numOthers,
                               arguments),
        "multiply");
  check(dnnl_stream_wait(stream.get()), "multiply");
  if (widenC)
    narrow(desc.c, rank, wide(cOffset), c);
}

//===----------------------------------------------------------------------===//
// C API
//===----------------------------------------------------------------------===//

/// Slots live in the model's data: one pointer, written here only.
static std::atomic<Site *> &sitesOf(rwkvrt_dnnl_slot *slot) {
  static_assert(sizeof(std::atomic<Site *>) == sizeof(rwkvrt_dnnl_slot) &&
                std::atomic<Site *>::is_always_lock_free);
  return *reinterpret_cast<std::atomic<Site *> *>(slot);
}

static Site &findSite(rwkvrt_dnnl_slot *slot,
                      const rwkvrt_dnnl_matmul_desc &desc, int threads) {
  std::atomic<Site *> &sites = sitesOf(slot);
  auto find = [&]() -> Site * {
    Site *site = sites.load(std::memory_order_acquire);
    while (site && site->threads != threads)
      site = site->next;
    return site;
  };
  if (Site *found = find())
    return *found;
  std::lock_guard<std::mutex> lock(registry);
  if (Site *found = find())
    return *found; // another thread was faster
  auto *site = new Site(desc, threads);
  site->after = allSites;
  if (allSites)
    allSites->previous = site;
  allSites = site;
  site->next = sites.load();
  sites.store(site, std::memory_order_release);
  return *site;
}

/// What the compiler writes holds all of this; another version may not.
static void checkDescription(const rwkvrt_dnnl_slot *slot,
                             const rwkvrt_dnnl_matmul_desc *desc,
                             const void *const *others) {
  auto known = [](int32_t dtype) {
    return dtype == RWKVRT_F32 || dtype == RWKVRT_BF16 || dtype == RWKVRT_F16;
  };
  if (!slot || !desc)
    throw Error{RWKVRT_DNNL_BAD_DESCRIPTION,
                "a matrix product has no slot or no description"};
  if (desc->struct_size != sizeof *desc)
    throw Error{RWKVRT_DNNL_BAD_DESCRIPTION,
                "the model was compiled for another version of "
                "librwkvc-rt-dnnl: its description of a matrix product has " +
                    std::to_string(desc->struct_size) + " bytes, expected " +
                    std::to_string(sizeof *desc) +
                    "; compile the model with this version"};
  if (desc->rank < 2 || desc->rank > RWKVRT_DNNL_MAX_RANK ||
      !known(desc->a.dtype) || desc->b.dtype != desc->a.dtype ||
      (desc->c.dtype != desc->a.dtype && desc->c.dtype != RWKVRT_F32))
    throw Error{RWKVRT_DNNL_BAD_DESCRIPTION,
                "the model describes a matrix product with rank or element "
                "types that librwkvc-rt-dnnl does not know"};
  if (desc->num_post_ops > RWKVRT_DNNL_MAX_POST_OPS)
    throw Error{RWKVRT_DNNL_BAD_DESCRIPTION,
                "the model applies more functions to a matrix product than "
                "librwkvc-rt-dnnl can"};
  int numOthers = 0;
  for (uint32_t i = 0; i < desc->num_post_ops; ++i) {
    int32_t postOp = desc->post_ops[i];
    bool isKnown = postOp >= RWKVRT_DNNL_RELU && postOp <= RWKVRT_DNNL_SWISH;
    // oneDNN 3.2 reads beyond a row that it repeats over batches.
    if (isBinary(postOp)) {
      isKnown = numOthers < kMaxOthers && others[numOthers] &&
                (desc->rank == 2 || !(postOp & RWKVRT_DNNL_ROW));
      ++numOthers;
    }
    if (!isKnown)
      throw Error{RWKVRT_DNNL_BAD_DESCRIPTION,
                  "the model applies a function to a matrix product that "
                  "librwkvc-rt-dnnl does not know, or without its operand"};
  }
}

int32_t rwkvrt_dnnl_matmul(rwkvrt_dnnl_slot *slot,
                           const rwkvrt_dnnl_matmul_desc *desc, const void *a,
                           const void *b, void *c, const void *first,
                           const void *second) {
  const rwkvrt_dnnl_matmul_desc *checked = nullptr;
  const void *others[kMaxOthers] = {first, second};
  try {
    checkDescription(slot, desc, others);
    checked = desc;
    Threads threads;
    findSite(slot, *desc, threads.number).run(a, b, c, others);
    return RWKVRT_DNNL_OK;
  } catch (const Error &error) {
    return recordFailure(checked, error.status, error.message.c_str());
  } catch (const std::bad_alloc &) {
    return recordFailure(checked, RWKVRT_DNNL_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception &error) {
    return recordFailure(checked, RWKVRT_DNNL_FAILED, error.what());
  }
}

void rwkvrt_dnnl_release(rwkvrt_dnnl_slot *slot) {
  if (!slot || processEnds)
    return;
  std::lock_guard<std::mutex> lock(registry);
  Site *site = sitesOf(slot).exchange(nullptr);
  while (site) {
    Site *following = site->next;
    (site->previous ? site->previous->after : allSites) = site->after;
    if (site->after)
      site->after->previous = site->previous;
    delete site;
    site = following;
  }
}

void rwkvrt_dnnl_forget(const void *begin, size_t size) {
  std::lock_guard<std::mutex> lock(registry);
  for (Site *site = allSites; site; site = site->after)
    site->forget(static_cast<const std::byte *>(begin), size);
}

size_t rwkvrt_dnnl_packed_bytes(void) { return packedBytes; }
