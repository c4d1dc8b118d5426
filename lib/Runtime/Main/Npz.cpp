//===- Npz.cpp - Reading numpy's .npz archives ----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sources: PKWARE's APPNOTE.TXT (zip, zip64); numpy.lib.format (.npy).
//
//===----------------------------------------------------------------------===//

#include "Npz.h"

#include "../ElementTypes.h"
#include "CommandLine.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

using namespace rwkvrt;
using namespace rwkvrt::cli;

Npz::Npz(const std::string &path) : path(path) {
  int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    fail("%s: cannot open: %s", path.c_str(), std::strerror(errno));
  struct stat status;
  bool isFile = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  void *mapped = MAP_FAILED;
  if (isFile && status.st_size > 0)
    mapped = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ,
                  MAP_PRIVATE, descriptor, 0);
  close(descriptor);
  if (mapped == MAP_FAILED)
    fail("%s: empty or not a file; expected a .npz archive", path.c_str());
  mapping = mapped;
  fileSize = static_cast<uint64_t>(status.st_size);
  try {
    readDirectory();
  } catch (...) {
    munmap(mapping, fileSize);
    throw;
  }
}

Npz::~Npz() { munmap(mapping, fileSize); }

std::string_view Npz::bytes(uint64_t offset, uint64_t size) const {
  if (offset > fileSize || size > fileSize - offset)
    fail("%s: damaged or cut short .npz archive", path.c_str());
  return {static_cast<const char *>(mapping) + offset, size};
}

uint64_t Npz::number(uint64_t offset, unsigned size) const {
  uint64_t value = 0;
  std::string_view text = bytes(offset, size);
  for (unsigned i = size; i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(text[i]);
  return value;
}

void Npz::readDirectory() {
  // The end record is last, but for a comment of at most 65535 bytes.
  std::string_view all = bytes(0, fileSize);
  size_t end = all.rfind("PK\5\6");
  if (end == std::string_view::npos || fileSize - end < 22 ||
      fileSize - end > 22 + 65535)
    fail("%s: not a .npz archive, damaged or cut short", path.c_str());
  uint64_t count = number(end + 10, 2), offset = number(end + 16, 4);
  if (end >= 20 && bytes(end - 20, 4) == "PK\6\7") { // zip64
    uint64_t end64 = number(end - 20 + 8, 8);
    if (bytes(end64, 4) != "PK\6\6")
      fail("%s: damaged .npz archive", path.c_str());
    count = number(end64 + 32, 8);
    offset = number(end64 + 48, 8);
  }
  for (uint64_t i = 0; i < count; ++i) {
    if (bytes(offset, 4) != "PK\1\2")
      fail("%s: damaged .npz archive: no entry %llu in its directory",
           path.c_str(), static_cast<unsigned long long>(i));
    uint64_t name = number(offset + 28, 2), extra = number(offset + 30, 2);
    uint64_t comment = number(offset + 32, 2);
    readMember(offset, name, extra);
    offset += 46 + name + extra + comment;
  }
}

void Npz::readMember(uint64_t offset, uint64_t nameSize, uint64_t extraSize) {
  Member member;
  member.flags = static_cast<uint16_t>(number(offset + 8, 2));
  member.method = static_cast<uint16_t>(number(offset + 10, 2));
  member.checksum = static_cast<uint32_t>(number(offset + 16, 4));
  member.packedSize = number(offset + 20, 4);
  member.size = number(offset + 24, 4);
  member.offset = number(offset + 42, 4);
  std::string name(bytes(offset + 46, nameSize));

  // Zip64 gives, in this order, those of the three that did not fit.
  uint64_t extra = offset + 46 + nameSize, extraEnd = extra + extraSize;
  while (extra + 4 <= extraEnd) {
    uint64_t id = number(extra, 2), next = extra + 4 + number(extra + 2, 2);
    uint64_t field = extra + 4;
    if (id == 1)
      for (uint64_t *value : {&member.size, &member.packedSize, &member.offset})
        if (*value == 0xffffffffu && field + 8 <= next) {
          *value = number(field, 8);
          field += 8;
        }
    extra = next;
  }
  if (name.size() > 4 && name.compare(name.size() - 4, 4, ".npy") == 0)
    members[name.substr(0, name.size() - 4)] = member;
}

std::vector<std::string> Npz::keys() const {
  std::vector<std::string> names;
  for (const auto &[name, member] : members)
    names.push_back(name);
  return names;
}

/// Inflates \p packed to exactly \p size bytes; false if that fails.
static bool inflateAll(std::string_view packed, uint64_t size,
                       std::string &content) {
  content.resize(size);
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) // no zlib header
    return false;
  constexpr uint64_t most = 1u << 30; // zlib counts in 32 bits
  uint64_t in = 0, out = 0;
  int result = Z_OK;
  while (result == Z_OK) {
    uint64_t inSize = std::min(most, packed.size() - in);
    uint64_t outSize = std::min(most, size - out);
    stream.next_in =
        reinterpret_cast<Bytef *>(const_cast<char *>(packed.data() + in));
    stream.avail_in = static_cast<uInt>(inSize);
    stream.next_out = reinterpret_cast<Bytef *>(content.data() + out);
    stream.avail_out = static_cast<uInt>(outSize);
    result = inflate(&stream, Z_NO_FLUSH);
    in += inSize - stream.avail_in;
    out += outSize - stream.avail_out;
  }
  inflateEnd(&stream);
  return result == Z_STREAM_END && out == size;
}

namespace {
/// The head of a .npy file: a Python dictionary of three entries.
struct NpyHeader {
  NpyHeader(std::string_view text, const std::string &where);

  /// What follows the key \p name, up to the text's end.
  std::string_view valueOf(const char *name) const {
    for (char quote : {'\'', '"'}) {
      std::string key = quote + std::string(name) + quote;
      size_t found = text.find(key);
      if (found == std::string_view::npos)
        continue;
      size_t value = text.find_first_not_of(" :", found + key.size());
      if (value != std::string_view::npos)
        return text.substr(value);
    }
    fail("%s: damaged .npy header: no '%s' in it", where.c_str(), name);
  }

  std::string_view text;
  const std::string &where;
  int32_t dtype = 0;
  std::vector<int64_t> shape;
};
} // namespace

static int32_t parseDtype(std::string_view name) {
  static constexpr std::pair<const char *, int32_t> names[] = {
      {"f2", RWKVRT_F16}, {"f4", RWKVRT_F32}, {"f8", RWKVRT_F64},
      {"i1", RWKVRT_I8},  {"i2", RWKVRT_I16}, {"i4", RWKVRT_I32},
      {"i8", RWKVRT_I64}, {"u1", RWKVRT_U8},  {"u2", RWKVRT_U16},
      {"u4", RWKVRT_U32}, {"u8", RWKVRT_U64}, {"b1", RWKVRT_BOOL},
      {"V2", RWKVRT_BF16}}; // bfloat16 as ml_dtypes has numpy save it
  for (auto [known, dtype] : names)
    if (name == known)
      return dtype;
  return 0;
}

NpyHeader::NpyHeader(std::string_view text, const std::string &where)
    : text(text), where(where) {
  std::string_view descr = valueOf("descr");
  size_t close =
      descr.empty() ? std::string_view::npos : descr.find(descr[0], 1);
  if (close == std::string_view::npos || (descr[0] != '\'' && descr[0] != '"'))
    fail("%s: arrays of records are not supported", where.c_str());
  std::string_view type = descr.substr(1, close - 1);
  if (!type.empty() && type[0] == '>')
    fail("%s: big-endian data is not supported; save it little-endian",
         where.c_str());
  if (!type.empty() && std::strchr("<|=", type[0]))
    type.remove_prefix(1);
  dtype = parseDtype(type);
  if (!dtype)
    fail("%s: element type '%.*s' is not supported", where.c_str(),
         static_cast<int>(type.size()), type.data());
  std::string_view order = valueOf("fortran_order");
  if (order.substr(0, 4) == "True")
    fail("%s: column-major (Fortran) order is not supported; save "
         "numpy.ascontiguousarray of it",
         where.c_str());
  if (order.substr(0, 5) != "False")
    fail("%s: damaged .npy header: 'fortran_order'", where.c_str());
  std::string_view dims = valueOf("shape");
  size_t end = dims.find(')');
  if (dims.empty() || dims[0] != '(' || end == std::string_view::npos)
    fail("%s: damaged .npy header: 'shape'", where.c_str());
  std::string numbers(dims.substr(1, end - 1));
  for (char *next = numbers.data();;) {
    next += std::strspn(next, " ,");
    if (!*next)
      break;
    char *stop;
    errno = 0;
    long long size = std::strtoll(next, &stop, 10);
    if (stop == next || errno || size < 0)
      fail("%s: damaged .npy header: 'shape'", where.c_str());
    shape.push_back(size);
    next = stop;
  }
}

Array Npz::read(const std::string &key) const {
  const Member &member = members.at(key);
  std::string where = path + ": '" + key + "'";
  if (member.flags & 1)
    fail("%s is encrypted", where.c_str());
  if (bytes(member.offset, 4) != "PK\3\4")
    fail("%s: damaged .npz archive", where.c_str());
  uint64_t begin = member.offset + 30 + number(member.offset + 26, 2) +
                   number(member.offset + 28, 2);
  std::string_view packed = bytes(begin, member.packedSize);
  std::string content;
  if (member.method == 0) {
    content = packed;
  } else if (member.method != 8) {
    fail("%s: compression method %d is not supported", where.c_str(),
         member.method);
    // Deflate cannot do better than 1032 to 1: a greater size is damage.
  } else if (member.size / 1032 > packed.size() ||
             !inflateAll(packed, member.size, content)) {
    fail("%s: damaged: cannot decompress it", where.c_str());
  }
  uLong checksum = crc32_z(0, reinterpret_cast<const Bytef *>(content.data()),
                           content.size());
  if (content.size() != member.size || checksum != member.checksum)
    fail("%s: damaged: its checksum does not fit", where.c_str());

  if (content.size() < 12 || content.compare(0, 6, "\x93NUMPY") != 0)
    fail("%s: not a .npy file", where.c_str());
  int version = static_cast<unsigned char>(content[6]);
  if (version < 1 || version > 3)
    fail("%s: version %d of .npy is not supported", where.c_str(), version);
  size_t lengthSize = version == 1 ? 2 : 4, length = 0;
  for (size_t i = lengthSize; i-- > 0;)
    length = length << 8 | static_cast<unsigned char>(content[8 + i]);
  size_t start = 8 + lengthSize;
  if (length > content.size() - start)
    fail("%s: damaged .npy header", where.c_str());
  NpyHeader header(std::string_view(content).substr(start, length), where);

  uint64_t size = sizeOf(header.dtype);
  for (int64_t dim : header.shape)
    if (__builtin_mul_overflow(size, static_cast<uint64_t>(dim), &size))
      fail("%s: damaged .npy header: 'shape'", where.c_str());
  if (size != content.size() - start - length)
    fail("%s: damaged: %zu bytes of data, its shape needs %llu", where.c_str(),
         content.size() - start - length,
         static_cast<unsigned long long>(size));
  return {header.dtype, header.shape, content.substr(start + length)};
}
