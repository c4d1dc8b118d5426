//===- Artifact.h - Files that a compilation produces -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_ARTIFACT_H
#define RWKVC_AOT_ARTIFACT_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <vector>

namespace rwkvc::aot {

/// Where linking finds what it needs.
struct LinkOptions {
  std::string compiler;   ///< C compiler that links; empty: search for one
  std::string runtimeDir; ///< folder of librwkvc-rt.*
  bool usesDnnl = false;  ///< the code calls the oneDNN part of the runtime
};

/// A file that is being made under another name beside its own. Nothing is seen
/// of it until it is committed; what is not committed vanishes.
class PendingFile {
public:
  static llvm::Expected<PendingFile> create(llvm::StringRef path);
  PendingFile(PendingFile &&other);
  ~PendingFile();

  llvm::StringRef getPath() const { return path; }
  /// The name under which to make it; an empty file at first.
  llvm::StringRef getTemporary() const { return temporary; }

  /// Writes the contents. \p write may fail; so may the disk.
  llvm::Error
  write(llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write);

  /// Makes the file \p size bytes long, zeros until `writeAt` gives it others;
  /// fails where there is no room.
  llvm::Error open(int64_t size);
  /// Writes bytes at a place of an open file, perhaps from several threads at a
  /// time; false once that failed for any, until `close` says why. Small pieces
  /// leave the file in huge pages of the system's cache, too.
  bool writeAt(int64_t offset, llvm::ArrayRef<char> bytes);
  llvm::Error close();

  /// Gives the file its own name, in the place of one that had it.
  llvm::Error commit();

private:
  PendingFile(llvm::StringRef path, llvm::StringRef temporary)
      : path(path), temporary(temporary) {}
  llvm::Error describeFailure() const;

  /// What is written place by place.
  struct Places {
    Places(int64_t size);
    /// Zeros in a block that a piece shares with others: once, before the
    /// first.
    std::error_code begin(int64_t block);

    int descriptor = -1;
    int64_t size;
    std::vector<std::once_flag> begun; ///< of each block
    std::mutex mutex;
    std::error_code failure; ///< the first: there is no point in going on
  };
  std::string path, temporary;
  std::unique_ptr<Places> places;
};

/// Puts \p objects into a static library.
llvm::Error writeStaticLibrary(llvm::ArrayRef<std::string> objects,
                               PendingFile &file);

/// Links \p objects to a shared library, or with the runtime to a program.
llvm::Error linkSharedLibrary(llvm::ArrayRef<std::string> objects,
                              PendingFile &file, const LinkOptions &options);
llvm::Error linkExecutable(llvm::ArrayRef<std::string> objects,
                           PendingFile &file, const LinkOptions &options);

} // namespace rwkvc::aot

#endif // RWKVC_AOT_ARTIFACT_H
