//===- StateFile.cpp - Saving and loading a sequence's state --------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A state file, in the machine's byte order:
//
//   offset 0   "RWKVSTAT"
//          8   uint32 version, uint32 number of states
//         16   uint64 identity of the model's weights
//         24   uint64 end of the table, where the data begins; a multiple of 64
//         32   uint64 end of the data; a multiple of 64
//         40   table: per state uint32 type (ONNX's number), uint32 rank,
//         uint64
//              dimensions, uint32 length of its name, the name
//   then       data: per state its elements, padded to a multiple of 64 bytes
//   then       uint64 FNV-1a hash of everything before
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace rwkvrt;

static constexpr char magic[8] = {'R', 'W', 'K', 'V', 'S', 'T', 'A', 'T'};
static constexpr uint32_t formatVersion = 1;
static constexpr size_t fixedHeaderSize = 40;

/// Tells models apart, also two trainings of one architecture, whose weights
/// files have equal headers: from the header's hash and samples of the weights.
static uint64_t identifyWeights(const Model &model) {
  constexpr uint64_t blockSize = 64, mostBlocks = 256;
  uint64_t size = model.info.weights_size, blocks = size / blockSize;
  uint64_t hash = hashBytes(&model.info.weights_hash, sizeof(uint64_t));
  hash = hashBytes(&size, sizeof size, hash);
  uint64_t count = blocks < mostBlocks ? blocks : mostBlocks;
  for (uint64_t i = 0; model.weightsData && i < count; ++i)
    hash = hashBytes(static_cast<const std::byte *>(model.weightsData) +
                         blocks / count * i * blockSize,
                     blockSize, hash);
  return hash;
}

namespace {
/// The part of a file before its data, for one model.
struct Header {
  explicit Header(const rwkvrt_sequence &sequence);

  template <typename T> void append(T value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof value);
  }
  template <typename T> void set(size_t offset, T value) {
    std::memcpy(&bytes[offset], &value, sizeof value);
  }

  std::string bytes;
  uint64_t fileSize;
};
} // namespace

Header::Header(const rwkvrt_sequence &sequence) {
  const Model &model = *sequence.model;
  bytes.append(magic, sizeof magic);
  append(formatVersion);
  append(sequence.numStates());
  append(identifyWeights(model));
  append(uint64_t(0));
  append(uint64_t(0));
  size_t dataSize = 0;
  for (uint32_t i = 0; i < sequence.numStates(); ++i) {
    const rwkvrt_tensor_info &tensor = model.holder().stateTensor(i);
    append(static_cast<uint32_t>(tensor.dtype));
    append(static_cast<uint32_t>(tensor.rank));
    for (int32_t k = 0; k < tensor.rank; ++k)
      append(static_cast<uint64_t>(tensor.dims[k]));
    append(static_cast<uint32_t>(std::strlen(tensor.name)));
    bytes += tensor.name;
    dataSize += alignedSize(sequence.stateBytes(i));
  }
  bytes.resize(alignedSize(bytes.size()));
  set(24, static_cast<uint64_t>(bytes.size()));
  set(32, static_cast<uint64_t>(bytes.size() + dataSize));
  fileSize = bytes.size() + dataSize + sizeof(uint64_t);
}

namespace {
/// The temporary file that becomes the state file; removed unless it did.
class NewFile {
public:
  explicit NewFile(const std::string &path) : path(path) {
    struct stat status;
    if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
      fail(RWKVRT_IO_ERROR,
           "%s: cannot save the state: it exists and is not a file",
           path.c_str());
    static std::atomic<unsigned> counter{0};
    do {
      temporary = path + "." + std::to_string(getpid()) + "-" +
                  std::to_string(counter++) + ".tmp";
      descriptor = open(temporary.c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor < 0 && errno == EEXIST);
    if (descriptor < 0)
      failSaving(errno);
  }
  NewFile(const NewFile &) = delete;
  NewFile &operator=(const NewFile &) = delete;
  ~NewFile() {
    if (descriptor >= 0)
      close(descriptor);
    if (!committed)
      unlink(temporary.c_str());
  }

  void write(const void *data, size_t size) {
    hash = hashBytes(data, size, hash);
    const char *next = static_cast<const char *>(data);
    while (size) {
      ssize_t written = ::write(descriptor, next, size);
      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0)
        failSaving(written < 0 ? errno : ENOSPC);
      next += written;
      size -= static_cast<size_t>(written);
    }
  }

  void commit() {
    uint64_t checksum = hash;
    write(&checksum, sizeof checksum);
    // Otherwise a crash of the machine could leave the new name without data.
    if (fsync(descriptor) != 0)
      failSaving(errno);
    int result = close(descriptor);
    descriptor = -1;
    if (result != 0 || rename(temporary.c_str(), path.c_str()) != 0)
      failSaving(errno);
    committed = true;
  }

private:
  [[noreturn]] void failSaving(int reason) {
    fail(RWKVRT_IO_ERROR, "%s: cannot save the state: %s", path.c_str(),
         systemError(reason).c_str());
  }

  const std::string &path;
  std::string temporary;
  int descriptor = -1;
  bool committed = false;
  uint64_t hash = fnvStart;
};
} // namespace

rwkvrt_status rwkvrt_sequence_save(const rwkvrt_sequence *sequence,
                                   const char *path) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    requireNotNull(path, "path");
    sequence->readStates();
    Header header(*sequence);
    std::string name = path;
    NewFile file(name);
    file.write(header.bytes.data(), header.bytes.size());
    static constexpr char padding[alignment] = {};
    for (uint32_t i = 0; i < sequence->numStates(); ++i) {
      size_t size = sequence->stateBytes(i);
      file.write(sequence->states[i].get(), size);
      file.write(padding, alignedSize(size) - size);
    }
    file.commit();
  });
}

namespace {
/// A state file being read.
class OldFile {
public:
  explicit OldFile(const char *path)
      : path(path), descriptor(open(path, O_RDONLY | O_CLOEXEC)) {
    if (descriptor < 0)
      failReading();
  }
  OldFile(const OldFile &) = delete;
  OldFile &operator=(const OldFile &) = delete;
  ~OldFile() { close(descriptor); }

  uint64_t size() const {
    struct stat status;
    if (fstat(descriptor, &status) != 0)
      failReading();
    if (!S_ISREG(status.st_mode))
      fail(RWKVRT_BAD_FILE, "%s: not a file; expected a saved state", path);
    return static_cast<uint64_t>(status.st_size);
  }

  void read(void *data, size_t size, uint64_t offset) const {
    char *next = static_cast<char *>(data);
    while (size) {
      ssize_t got = pread(descriptor, next, size, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0)
        failReading();
      if (got == 0)
        fail(RWKVRT_BAD_FILE, "%s: shorter than it just was", path);
      next += got;
      offset += static_cast<uint64_t>(got);
      size -= static_cast<size_t>(got);
    }
  }

private:
  [[noreturn]] void failReading() const {
    int reason = errno;
    fail(RWKVRT_IO_ERROR, "%s: cannot read the state: %s", path,
         systemError(reason).c_str());
  }

  const char *path;
  int descriptor;
};
} // namespace

/// Throws what is wrong with \p found, the beginning of an undamaged file.
static void checkIdentity(const Header &expected, const char *found,
                          const char *path, const Model &model) {
  if (std::memcmp(found, expected.bytes.data(), expected.bytes.size()) == 0)
    return;
  if (std::memcmp(found + 16, expected.bytes.data() + 16, sizeof(uint64_t)) !=
      0)
    fail(RWKVRT_MISMATCH,
         "%s: the state of a model with other weights than '%s'", path,
         model.info.name);
  fail(RWKVRT_MISMATCH, "%s: the state of a model with other states than '%s'",
       path, model.info.name);
}

rwkvrt_status rwkvrt_sequence_load(rwkvrt_sequence *sequence,
                                   const char *path) {
  return guard([&] {
    requireNotNull(sequence, "sequence");
    requireNotNull(path, "path");
    const Model &model = *sequence->model;
    Header expected(*sequence);
    OldFile file(path);
    uint64_t size = file.size();

    char start[fixedHeaderSize];
    if (size >= fixedHeaderSize)
      file.read(start, sizeof start, 0);
    if (size < fixedHeaderSize || std::memcmp(start, magic, sizeof magic) != 0)
      fail(RWKVRT_BAD_FILE, "%s: not a saved state", path);
    uint32_t version;
    std::memcpy(&version, start + 8, sizeof version);
    if (version != formatVersion)
      fail(RWKVRT_MISMATCH,
           "%s: version %u of the state format; this runtime reads version %u",
           path, version, formatVersion);
    uint64_t dataEnd;
    std::memcpy(&dataEnd, start + 32, sizeof dataEnd);
    if (dataEnd != size - sizeof(uint64_t))
      fail(RWKVRT_BAD_FILE,
           "%s: damaged or cut short: %llu bytes, but the data ends at %llu",
           path, static_cast<unsigned long long>(size),
           static_cast<unsigned long long>(dataEnd));
    if (size != expected.fileSize)
      fail(RWKVRT_MISMATCH,
           "%s: the state of a model with other states than '%s'", path,
           model.info.name);

    Buffer content = allocateBuffer(size);
    file.read(content.get(), size, 0);
    uint64_t checksum;
    std::memcpy(&checksum, content.get() + dataEnd, sizeof checksum);
    if (checksum != hashBytes(content.get(), dataEnd))
      fail(RWKVRT_BAD_FILE, "%s: damaged: its checksum does not fit", path);
    checkIdentity(expected, reinterpret_cast<const char *>(content.get()), path,
                  model);

    const std::byte *data = content.get() + expected.bytes.size();
    sequence->writeStates(/*whole=*/true);
    for (uint32_t i = 0; i < sequence->numStates(); ++i) {
      size_t bytes = sequence->stateBytes(i);
      std::memcpy(sequence->states[i].get(), data, bytes);
      data += alignedSize(bytes);
    }
  });
}
