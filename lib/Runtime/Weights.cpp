//===- Weights.cpp - Mapping the weights file -----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A weights file is a safetensors file: 8 bytes with the length of the JSON
// header, least significant byte first, the header, and the data section.
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace rwkvrt;

using ull = unsigned long long;

MappedWeights::MappedWeights(const rwkvrt_model_info &info,
                             const std::string &folder)
    : MappedWeights() { // delegating: if this one throws, the destructor runs
  path = folder + "/" + info.weights_file;
  const char *name = path.c_str();
  int descriptor = open(name, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    int reason = errno;
    fail(RWKVRT_IO_ERROR,
         "%s: cannot open the weights of model '%s': %s; the file belongs "
         "beside the compiled model",
         name, info.name, systemError(reason).c_str());
  }
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    fail(RWKVRT_BAD_FILE, "%s: not a file; expected the weights of model '%s'",
         name, info.name);
  }
  auto size = static_cast<uint64_t>(status.st_size);
  if (size < 8) {
    close(descriptor);
    fail(RWKVRT_BAD_FILE,
         "%s: damaged or cut short: %llu bytes, too few for a safetensors file",
         name, static_cast<ull>(size));
  }
  void *mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  int reason = errno;
  close(descriptor);
  if (mapped == MAP_FAILED)
    fail(RWKVRT_IO_ERROR, "%s: cannot map the weights: %s", name,
         systemError(reason).c_str());
  mapping = mapped;
  mappedSize = size;
#ifdef MADV_HUGEPAGE
  // What is not in memory yet is read in pieces of 2 MB then, each of which one
  // entry of the page tables maps. Systems without that say so; it is a wish.
  madvise(mapped, size, MADV_HUGEPAGE);
#endif

  auto refuse = [&](rwkvrt_status status, const std::string &why) {
    fail(status, "%s: %s", name, why.c_str());
  };
  const auto *bytes = static_cast<const unsigned char *>(mapped);
  uint64_t headerSize = 0;
  for (int i = 8; i-- > 0;)
    headerSize = headerSize << 8 | bytes[i];
  if (headerSize < 2 || headerSize > size - 8 || bytes[8] != '{')
    refuse(RWKVRT_BAD_FILE, "not a safetensors file, damaged or cut short: no "
                            "JSON header at its start");
  if (hashBytes(bytes + 8, headerSize) != info.weights_hash)
    refuse(RWKVRT_MISMATCH,
           std::string("weights of another model or another compilation: the "
                       "header differs from the one that model '") +
               info.name +
               "' was compiled with; copy model and weights together");
  if (size - 8 - headerSize != info.weights_size)
    refuse(RWKVRT_BAD_FILE,
           "damaged or cut short: " + std::to_string(size - 8 - headerSize) +
               " bytes of weights, expected " +
               std::to_string(info.weights_size));
  if ((8 + headerSize) % alignment != 0)
    refuse(RWKVRT_BAD_FILE,
           "the weights do not start at a multiple of 64 bytes");
  data = bytes + 8 + headerSize;
}

MappedWeights::~MappedWeights() {
  if (mapping)
    munmap(mapping, mappedSize);
}

void MappedWeights::giveBack(const void *from, size_t size) const {
  // Whole pages only.
  auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  auto begin = (reinterpret_cast<uintptr_t>(from) + page - 1) / page * page;
  auto end = (reinterpret_cast<uintptr_t>(from) + size) / page * page;
  if (begin < end)
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_DONTNEED);
}
