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

namespace rwkvc {

/// What a CPU target is, and LLVM's code generator for it.
class TargetInfo {
public:
  /// \p triple empty: this machine's. \p cpu an LLVM processor name, or
  /// "native" for this machine's with all its features; empty: the least that
  /// the project requires of the architecture (x86-64-v3 on x86). \p features
  /// as in LLVM ("+avx512f,-fma").
  static llvm::Expected<TargetInfo>
  create(llvm::StringRef triple, llvm::StringRef cpu, llvm::StringRef features);

  llvm::TargetMachine &getMachine() const { return *machine; }
  /// "<triple> <cpu>", as a model describes itself.
  std::string describe() const;
  /// Width of the widest vector register that is worth using.
  int64_t getVectorBits() const { return vectorBits; }

private:
  std::unique_ptr<llvm::TargetMachine> machine;
  int64_t vectorBits = 128;
};

} // namespace rwkvc

#endif // RWKVC_TARGET_TARGETINFO_H
