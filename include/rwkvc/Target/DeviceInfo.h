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

/// LLVM's number for memory that a workgroup shares, on all its GPU targets.
inline constexpr unsigned kSharedSpace = 3;

/// Units of some chips that multiply a 16x8 matrix by an 8x16 one, of floats,
/// and add the 16x16 result to one of floats. What rwkvc knows of them is a
/// table entry of this type.
struct MatrixUnits {
  llvm::StringRef name; ///< "tf32"
  /// LLVM's intrinsic, or what its intrinsics' names begin with.
  llvm::StringRef intrinsic;
  /// Whether it is for these intrinsics to know which thread has what of a
  /// matrix. Otherwise one of them multiplies as many terms as groups of 16
  /// threads have a column each.
  bool areOpaque;
  int64_t subgroupSize; ///< neighbouring threads that have a matrix together
  /// Bits of a factor's significand that count; a float with more is two
  /// factors.
  unsigned precision;
  /// Whether sums are rounded as floats' are, and not cut off.
  bool roundSums;
};

llvm::ArrayRef<MatrixUnits> getMatrixUnits();
/// Null if there are none of that name.
const MatrixUnits *findMatrixUnits(llvm::StringRef name);
/// All names, as help texts and messages list them.
std::string listMatrixUnits();

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
  /// Units for small matrices of some of its chips; "": rwkvc knows none.
  /// These are the chips from a generation on (80: sm_80), or with a feature of
  /// LLVM's.
  llvm::StringRef matrixUnits = "";
  unsigned matrixUnitsFrom = 0;
  llvm::StringRef matrixUnitsFeature = "";
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

  /// The chip's units for small matrices; null if it has none that rwkvc knows.
  const MatrixUnits *getMatrixUnits() const;

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
