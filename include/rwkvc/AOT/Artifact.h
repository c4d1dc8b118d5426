//===- Artifact.h - Files that a compilation produces -----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_ARTIFACT_H
#define RWKVC_AOT_ARTIFACT_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <string>

namespace rwkvc::aot {

/// Where linking finds what it needs.
struct LinkOptions {
  std::string compiler;   ///< C compiler that links; empty: search for one
  std::string runtimeDir; ///< folder of librwkvc-rt.*
  bool usesDnnl = false;  ///< the code calls the oneDNN part of the runtime
};

/// Writes \p path through a temporary file beside it, so that it is either
/// complete or as it was before. \p write may fail; so may the disk.
llvm::Error
writeFile(llvm::StringRef path,
          llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write);

/// Puts \p object into the static library \p path.
llvm::Error writeStaticLibrary(llvm::StringRef object, llvm::StringRef path);

/// Links \p object to a shared library, or with the runtime to a program.
llvm::Error linkSharedLibrary(llvm::StringRef object, llvm::StringRef path,
                              const LinkOptions &options);
llvm::Error linkExecutable(llvm::StringRef object, llvm::StringRef path,
                           const LinkOptions &options);

} // namespace rwkvc::aot

#endif // RWKVC_AOT_ARTIFACT_H
