//===- TargetInfo.h - The machine that code is made for ---------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TARGET_TARGETINFO_H
#define RWKVC_TARGET_TARGETINFO_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"
#include <memory>
#include <string>
#include <vector>

namespace rwkvc {

/// Lets LLVM know all of its targets; as often as one likes.
void initializeTargets();

/// What code multiplies small weights with, where some processors have
/// instructions for that: integers of 8 bits, numbers of bf16, or others.
enum class ActivationKind { Others, Bytes, BF16 };

/// What a CPU target is, and LLVM's code generator for it.
class TargetInfo {
public:
  /// The processors that \p cpus names, separated by commas: one artefact is to
  /// hold code for all, of which the runtime chooses the last that it can run.
  /// The first one must be the least. Each is an LLVM processor name, or
  /// "native" for this machine's with all its features, and may have more:
  /// "x86-64-v4+avx512vnni". Empty: those that the project supports on the
  /// architecture, among them those with instructions for \p activations .
  /// \p triple empty: this machine's. \p features for all, as in LLVM
  /// ("+avx512f,-fma").
  static llvm::Expected<std::vector<TargetInfo>>
  createLevels(llvm::StringRef triple, llvm::StringRef cpus,
               llvm::StringRef features,
               ActivationKind activations = ActivationKind::Others);

  llvm::TargetMachine &getMachine() const { return *machine; }
  /// Another of the same kind: threads cannot share one.
  std::unique_ptr<llvm::TargetMachine> createMachine() const;
  /// As it was named, but the processor's own name for "native".
  llvm::StringRef getName() const { return name; }
  /// Instruction sets that code may use: a bit for each line of
  /// rwkvc-rt/x86-features.def; 0 on other architectures.
  uint64_t getFeatures() const { return features; }
  /// Width of the widest vector register that is worth using.
  int64_t getVectorBits() const { return vectorBits; }
  /// Whether code for \p other is as good here but where products of integers
  /// or of bf16 are added: all that this processor has more is instructions for
  /// that.
  bool extendsDotProducts(const TargetInfo &other) const;
  /// Instructions that add products of four integers of 8 bits or two of bf16,
  /// as cpu-vectorize-kernels names them.
  llvm::StringRef getDotProducts() const;
  /// Bytes of a model's weights from which what a token reads is fetched to the
  /// first-level cache alone, past the others, as it is gone from them before
  /// the next token anyway; 0: never, as far as is known.
  int64_t getStreamedBytes() const;

private:
  static llvm::Expected<TargetInfo>
  create(llvm::StringRef triple, llvm::StringRef cpu, llvm::StringRef features);

  std::unique_ptr<llvm::TargetMachine> machine;
  std::string name;
  uint64_t features = 0;
  int64_t vectorBits = 128;
};

} // namespace rwkvc

#endif // RWKVC_TARGET_TARGETINFO_H
