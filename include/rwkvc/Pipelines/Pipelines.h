//===- Pipelines.h - The phases of a compilation ----------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A compilation is a sequence of phases. Between two of them there is a point
// with a name, where users may insert passes and stop to look at the IR.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_PIPELINES_PIPELINES_H
#define RWKVC_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include <optional>
#include <string>
#include <vector>

namespace rwkvc {

/// The points between phases, in order.
enum class Phase {
  AfterImport,     ///< func, onnx; shapes static, shape arithmetic folded
  AfterRaise,      ///< func, onnx, wkv, tensor.empty
  AfterWKV,        ///< func, wkv, linalg, tensor, arith, math, scf
  BeforeBufferize, ///< func, linalg, dnnl, tensor, arith, math, scf
  AfterBufferize,  ///< func, memref, linalg, dnnl, arith, math, scf
  BeforeLLVM, ///< func, memref, vector, dnnl, arith, math, scf; devices: gpu
  LLVM,       ///< llvm; devices: and func, as lists of launches
};
inline constexpr Phase kLastPhase = Phase::LLVM;

/// The name of a phase on the command line, for instance "after-raise".
llvm::StringRef stringifyPhase(Phase phase);
std::optional<Phase> symbolizePhase(llvm::StringRef name);
/// What the phase's IR consists of, in a few words.
llvm::StringRef describePhase(Phase phase);

/// A processor that kernels are compiled for.
struct Level {
  std::string name;
  int64_t vectorBits = 0; ///< width of a vector register
  /// Instructions that add products of integers of 8 bits, as
  /// cpu-vectorize-kernels names them.
  std::string dotProducts = "generic";
  /// Bytes of all weights from which they are fetched past the larger caches;
  /// 0: never.
  int64_t streamedBytes = 0;
  /// Number of an earlier one whose code is as good here but where products of
  /// integers or of bf16 are added; -1: none.
  int64_t base = -1;
};

struct PipelineOptions {
  /// Kind of device (see Target/DeviceInfo.h) that the phases from
  /// BeforeBufferize on are for; empty: processors. All kinds are alike until
  /// AfterBufferize.
  std::string device;
  bool isForDevice() const { return !device.empty(); }
  /// Units for small matrices (see Target/DeviceInfo.h) by which large ones are
  /// multiplied, "": by none; and whether the device has these, or they are to
  /// be imitated.
  std::string matrixUnits;
  bool hasMatrixUnits = false;
  int64_t vectorBits = 256;            ///< width of a vector register
  std::string dotProducts = "generic"; ///< as for a level
  int64_t streamedBytes = 0;           ///< as for a level
  /// Several: there are kernels for each, in modules of their own; vectorBits,
  /// dotProducts and streamedBytes are of no account then.
  std::vector<Level> levels;
  int64_t minParallelWork = 1 << 18; ///< scalar operations; 0: one thread
  bool useDnnl = false;              ///< large matrix products by oneDNN
  bool preferDnnl = false; ///< and not only those that have no packed matrix
  int64_t dnnlMinFlops = 1 << 20; ///< operations that make a product large
  /// Of weights: a format's name or a recipe's file; empty: as they are.
  std::string quantize;
  std::string quantizeReport; ///< file that lists what became of them
  /// Bits of integers that activations become where integer weights are
  /// multiplied with them: 16 or 8; 0: they stay in floating point; none: 16,
  /// on devices 0.
  std::optional<int64_t> activationBits;
  /// Where weights are bf16, activations become that as well.
  bool roundActivations = false;
  int64_t batch = 0; ///< texts that derived forms compute; 0: the file's number
  int64_t prefillBlock = 64;    ///< tokens of a block; 0: no @prefill
  bool allLogits = false;       ///< @prefill gives the logits of every token
  std::string wkvForm = "auto"; ///< of recurrences: auto, recurrent, chunked
  int64_t wkvChunk = 0;         ///< tokens of a chunk; 0: by cost
  /// Functions to keep: "original", "step", "prefill"; empty: all that there
  /// are.
  std::vector<std::string> forms;
  /// Among `getOptionalPasses()`; left out, to see what they are worth.
  std::vector<std::string> skippedPasses;
};

/// Names of the passes that only make code faster.
llvm::ArrayRef<llvm::StringRef> getOptionalPasses();

/// Adds the passes that lead from the phase before to \p phase, and a check
/// that only the phase's dialects are left. AfterImport starts from what the
/// importer makes.
void buildPhase(mlir::OpPassManager &pm, Phase phase,
                const PipelineOptions &options);

/// Registers each phase's passes as a pipeline, `rwkvc-to-<phase>`, and the
/// passes of this library.
void registerPipelines();

} // namespace rwkvc

#endif // RWKVC_PIPELINES_PIPELINES_H
