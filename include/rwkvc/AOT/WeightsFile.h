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
#include "rwkvc/Support/Constants.h"
#include "llvm/Support/Error.h"
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace rwkvc::aot {

/// Lets a model's code for processors and its code for devices read one weights
/// file: gives the weights that both modules list new places, those for
/// processors alone first, then equal ones, each once, then those for devices
/// alone. So what either reads is one range (findRange). Both are as
/// `rwkvc-externalize-weights` leaves them. Reports an error where one reads
/// them in another way.
mlir::LogicalResult shareWeights(mlir::ModuleOp processor,
                                 mlir::ModuleOp devices);

class WeightsFile {
public:
  /// The weights that \p modules list; see ExternalizeWeights. Several have
  /// been told by shareWeights() where those of all are; fails where something
  /// has changed that since.
  static llvm::Expected<WeightsFile>
  create(llvm::ArrayRef<mlir::ModuleOp> modules);

  /// Whether the file at \p path is such a file, and not another model's.
  static bool isOne(llvm::StringRef path);

  /// Bytes of the data section; 0: the model has no weights file.
  int64_t getDataSize() const { return dataSize; }
  /// Bytes before the data section.
  int64_t getDataOffset() const { return 8 + header.size(); }
  /// 64-bit FNV-1a of the header's JSON, padding included.
  uint64_t getHash() const;

private:
  friend class WeightsWriter;
  WeightsFile() = default;
  void writeHeader();
  llvm::SmallVector<WeightDescription> weights;
  int64_t dataSize = 0;
  std::string header;
};

/// Writes a weights file while other work goes on: values piece by piece, of
/// which those that are deferred are computed now.
class WeightsWriter {
public:
  /// Begins, in all threads but one. Fails where a value is not available, and
  /// where there is no room for \p file .
  static llvm::Expected<std::unique_ptr<WeightsWriter>>
  start(WeightsFile weights, PendingFile file);
  /// Gives up what is not written yet.
  ~WeightsWriter();

  const WeightsFile &getWeights() const { return weights; }
  const PendingFile &getFile() const { return file; }

  /// Goes on in all threads to the end. \p progress is told now and then how
  /// many bytes of data there are.
  llvm::Expected<PendingFile>
  finish(llvm::function_ref<void(int64_t)> progress);

private:
  /// What is large comes in pieces; what no piece can be read of is small.
  struct Job {
    const WeightDescription *weight;
    Piece piece;
    llvm::SmallVector<char> bytes;
  };

  WeightsWriter(WeightsFile weights, PendingFile file)
      : weights(std::move(weights)), file(std::move(file)) {}
  llvm::Error listJobs();
  void run(const Job &job);

  WeightsFile weights;
  PendingFile file;
  std::vector<Job> jobs;
  std::atomic<bool> isGood = true;
  std::mutex mutex;
  std::condition_variable changed;
  size_t numDone = 0; ///< jobs
  int64_t written = 0, released = 0;
  std::optional<OrderedLoop> loop;
};

} // namespace rwkvc::aot

#endif // RWKVC_AOT_WEIGHTSFILE_H
