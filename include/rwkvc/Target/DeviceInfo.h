//===- DeviceInfo.h - The device that code is made for ----------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TARGET_DEVICEINFO_H
#define RWKVC_TARGET_DEVICEINFO_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/IR/CallingConv.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace rwkvc {

/// How a kind of device does what LLVM's targets do differently. All that
/// rwkvc knows of a kind is a table entry of this type; see docs/GPU.md.
struct DeviceKind {
  llvm::StringRef name; ///< "spirv"
  llvm::StringRef triple;
  llvm::StringRef defaultChip; ///< as LLVM names it; "" if there is none
  int32_t runtime;             ///< rwkvrt_device_kind
  llvm::CallingConv::ID kernelConvention;
  /// Intrinsics, or functions that take the number 0 and give 64 bits, for the
  /// first coordinate of a thread in its workgroup and of the workgroup.
  llvm::StringRef threadId, groupId;
  bool areFunctions;
  /// Intrinsic or function that waits for all threads of the workgroup, and
  /// lets them see what each wrote; and what it takes, if anything.
  llvm::StringRef barrier;
  std::optional<int32_t> barrierArgument;
  /// Synchronisation scope of fences around the barrier, where it orders no
  /// memory accesses itself.
  llvm::StringRef fenceScope;
  /// LLVM's number for the memory of a thread alone.
  unsigned privateSpace;
  /// Whether its code generator knows sin, pow and the like, in double
  /// precision too.
  bool hasMath;
  /// Whether code is compiled once more where it is loaded: LLVM's optimiser is
  /// left out, and what lives across barriers is kept small.
  bool isPortable;
  /// From which generation on (80: sm_80) its chips have units for matrices of
  /// TF32 numbers, with the intrinsics of LLVM's nvvm.wmma; 0: none has.
  unsigned matrixUnitsFrom = 0;
};

/// The kinds that there are.
llvm::ArrayRef<DeviceKind> getDeviceKinds();
/// Null if there is none of that name.
const DeviceKind *findDeviceKind(llvm::StringRef name);

/// A device that an artefact is to have code for.
struct DeviceInfo {
  const DeviceKind *kind;
  std::string chip; ///< empty where the kind has none
  /// Later chips that PTX for \ref chip is assembled for ahead of time, as well
  /// as for that one; empty: the driver assembles it.
  std::vector<std::string> laterChips;

  /// Names the device in the artefact: "spirv", "nvptx:sm_80+sm_90".
  std::string getName() const;

  bool hasMatrixUnits() const;

  /// LLVM's code generator for the device.
  llvm::Expected<std::unique_ptr<llvm::TargetMachine>> createMachine() const;

  /// The devices that \p names lists, separated by commas: "nvptx:sm_90",
  /// "amdgpu:gfx90a,nvptx:sm_80+sm_90".
  static llvm::Expected<std::vector<DeviceInfo>> parse(llvm::StringRef names);
};

/// What the artefact says of a kernel.
struct DeviceKernel {
  std::string name;
  unsigned numArguments = 0;
  int64_t numThreads = 1;  ///< of a workgroup
  int64_t sharedBytes = 0; ///< of a workgroup
  int64_t maxGroups = 0;   ///< workgroups of its largest launch
};

} // namespace rwkvc

#endif // RWKVC_TARGET_DEVICEINFO_H
