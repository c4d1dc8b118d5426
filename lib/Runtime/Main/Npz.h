//===- Npz.h - Reading numpy's .npz archives --------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_MAIN_NPZ_H
#define RWKVC_LIB_RUNTIME_MAIN_NPZ_H

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rwkvrt::cli {

/// A numpy array: row-major, little-endian.
struct Array {
  int32_t dtype; ///< rwkvrt_dtype
  std::vector<int64_t> shape;
  std::string data;
};

/// An archive as numpy.savez and savez_compressed write it: a zip file, members
/// stored or deflated, of .npy files of version 1 to 3.
class Npz {
public:
  /// Maps the file and reads its directory.
  explicit Npz(const std::string &path);
  Npz(const Npz &) = delete;
  Npz &operator=(const Npz &) = delete;
  ~Npz();

  /// The keys, without ".npy".
  std::vector<std::string> keys() const;
  /// Reads one array; its checksum is verified.
  Array read(const std::string &key) const;

private:
  struct Member {
    uint64_t offset, packedSize, size;
    uint32_t checksum;
    uint16_t method, flags;
  };
  /// \p size bytes at \p offset; throws beyond the end.
  std::string_view bytes(uint64_t offset, uint64_t size) const;
  uint64_t number(uint64_t offset, unsigned size) const;
  void readDirectory();
  void readMember(uint64_t offset, uint64_t nameSize, uint64_t extraSize);

  std::string path;
  void *mapping = nullptr;
  uint64_t fileSize = 0;
  std::map<std::string, Member> members;
};

} // namespace rwkvrt::cli

#endif // RWKVC_LIB_RUNTIME_MAIN_NPZ_H
