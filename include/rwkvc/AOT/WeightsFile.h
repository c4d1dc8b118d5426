//===- WeightsFile.h - The file of a model's weights ------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The weights file has the safetensors layout: the header's length as 64 bits,
// little-endian; the header, JSON; the data. The header is padded so that the
// data starts at a multiple of 64 bytes, and so does every weight in it.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_AOT_WEIGHTSFILE_H
#define RWKVC_AOT_WEIGHTSFILE_H

#include "rwkvc/AOT/Artifact.h"
#include "rwkvc/AOT/Interface.h"
#include "llvm/Support/Error.h"
#include <string>

namespace rwkvc::aot {

class WeightsFile {
public:
  /// The weights listed in \p module's attribute; see ExternalizeWeights.
  explicit WeightsFile(mlir::ModuleOp module);

  /// Whether the file at \p path is such a file, and not another model's.
  static bool isOne(llvm::StringRef path);

  /// Bytes of the data section; 0: the model has no weights file.
  int64_t getDataSize() const { return dataSize; }
  /// Bytes before the data section.
  int64_t getDataOffset() const { return 8 + header.size(); }
  /// 64-bit FNV-1a of the header's JSON, padding included.
  uint64_t getHash() const;

  /// Writes the file: values piece by piece, in all threads, of which those
  /// that are deferred are computed now. \p progress is told how many bytes of
  /// data there are, from one thread at a time. Fails where a value is not
  /// available.
  llvm::Error write(PendingFile &file,
                    llvm::function_ref<void(int64_t)> progress) const;

private:
  llvm::SmallVector<WeightDescription> weights;
  int64_t dataSize = 0;
  std::string header;
};

} // namespace rwkvc::aot

#endif // RWKVC_AOT_WEIGHTSFILE_H
