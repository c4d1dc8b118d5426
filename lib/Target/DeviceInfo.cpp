//===- DeviceInfo.cpp - The device that code is made for ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Target/DeviceInfo.h"
#include "rwkvc-rt/abi.h"
#include "rwkvc/Target/TargetInfo.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/TargetParser/Triple.h"

using namespace rwkvc;

llvm::ArrayRef<MatrixUnits> rwkvc::getMatrixUnits() {
  static const MatrixUnits units[] = {
      {"tf32", "llvm.nvvm.wmma.m16n16k8", /*areOpaque=*/true,
       /*subgroupSize=*/32, /*precision=*/11, /*roundSums=*/false},
      {"mfma", "llvm.amdgcn.mfma.f32.16x16x4f32", /*areOpaque=*/false,
       /*subgroupSize=*/64, /*precision=*/24, /*roundSums=*/true},
  };
  return units;
}

const MatrixUnits *rwkvc::findMatrixUnits(llvm::StringRef name) {
  for (const MatrixUnits &units : getMatrixUnits())
    if (units.name == name)
      return &units;
  return nullptr;
}

std::string rwkvc::listMatrixUnits() {
  return llvm::join(llvm::map_range(getMatrixUnits(),
                                    [](const MatrixUnits &units) {
                                      return units.name.str();
                                    }),
                    ", ");
}

llvm::ArrayRef<DeviceKind> rwkvc::getDeviceKinds() {
  static const DeviceKind kinds[] = {
      // OpenCL's functions, which LLVM's back end knows by their mangled names;
      // 3: local and global memory.
      {"spirv", "spirv64-unknown-unknown", "", RWKVRT_OPENCL,
       llvm::CallingConv::SPIR_KERNEL, "_Z12get_local_idj", "_Z12get_group_idj",
       /*areFunctions=*/true, "_Z7barrierj", 3, "", /*privateSpace=*/0,
       /*hasMath=*/true,
       /*isPortable=*/true},
      {"nvptx", "nvptx64-nvidia-cuda", "sm_80", RWKVRT_CUDA,
       llvm::CallingConv::PTX_Kernel, "llvm.nvvm.read.ptx.sreg.tid.x",
       "llvm.nvvm.read.ptx.sreg.ctaid.x", /*areFunctions=*/false,
       "llvm.nvvm.barrier.cta.sync.aligned.all", 0, "", /*privateSpace=*/0,
       /*hasMath=*/false,
       /*isPortable=*/false, "tf32", /*matrixUnitsFrom=*/80},
      {"amdgpu", "amdgcn-amd-amdhsa", "gfx942", RWKVRT_HIP,
       llvm::CallingConv::AMDGPU_KERNEL, "llvm.amdgcn.workitem.id.x",
       "llvm.amdgcn.workgroup.id.x", /*areFunctions=*/false,
       "llvm.amdgcn.s.barrier", std::nullopt, "workgroup", /*privateSpace=*/5,
       /*hasMath=*/false,
       /*isPortable=*/false, "mfma", /*matrixUnitsFrom=*/0, "+mai-insts"},
  };
  return kinds;
}

const DeviceKind *rwkvc::findDeviceKind(llvm::StringRef name) {
  for (const DeviceKind &kind : getDeviceKinds())
    if (kind.name == name)
      return &kind;
  return nullptr;
}

std::string DeviceInfo::getName() const {
  std::string name = kind->name.str() + (chip.empty() ? "" : ":" + chip);
  for (const std::string &later : laterChips)
    name += "+" + later;
  return name;
}

/// 90 of "sm_90a"; 0 if it has no such number.
static unsigned getGeneration(llvm::StringRef chip) {
  unsigned number = 0;
  chip.consume_front("sm_");
  chip.consumeInteger(10, number);
  return number;
}

/// Whether LLVM's \p feature , "+name", is one of the chip's.
static bool hasFeature(const DeviceInfo &device, llvm::StringRef feature) {
  initializeTargets();
  llvm::Triple triple(device.kind->triple);
  std::string message;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return false; // which createMachine reports
  std::unique_ptr<llvm::MCSubtargetInfo> chip(
      target->createMCSubtargetInfo(triple, device.chip, ""));
  return chip->isCPUStringValid(device.chip) && chip->checkFeatures(feature);
}

const MatrixUnits *DeviceInfo::getMatrixUnits() const {
  bool areThere = kind->matrixUnitsFeature.empty()
                      ? getGeneration(chip) >= kind->matrixUnitsFrom
                      : hasFeature(*this, kind->matrixUnitsFeature);
  return areThere ? findMatrixUnits(kind->matrixUnits) : nullptr;
}

llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
DeviceInfo::createMachine() const {
  initializeTargets();
  llvm::Triple triple(kind->triple);
  std::string message;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return llvm::createStringError("this LLVM makes no code for '" +
                                   kind->name + "': " + message);
  std::unique_ptr<llvm::MCSubtargetInfo> probe(
      target->createMCSubtargetInfo(triple, "", ""));
  std::vector<std::string> chips = laterChips;
  if (!chip.empty())
    chips.push_back(chip);
  for (const std::string &name : chips)
    if (!probe->isCPUStringValid(name))
      return llvm::createStringError(
          "'" + kind->name + "' has no chip '" + name +
          "'; expected a name that 'llc -march=" + target->getName() +
          " -mcpu=help' lists");
  // What multiplies and adds may do so at once.
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, chip, "", options, llvm::Reloc::PIC_, std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
  if (!machine)
    return llvm::createStringError("LLVM has no code generator for '" +
                                   getName() + "'");
  return machine;
}

llvm::Expected<std::vector<DeviceInfo>>
DeviceInfo::parse(llvm::StringRef names) {
  std::vector<DeviceInfo> devices;
  for (llvm::StringRef name : llvm::split(names, ',')) {
    auto [kindName, chips] = name.split(':');
    auto [chip, later] = chips.split('+');
    const DeviceKind *kind = findDeviceKind(kindName);
    if (!kind)
      return llvm::createStringError(
          "no kind of device is called '" + kindName + "'; there are " +
          llvm::join(llvm::map_range(getDeviceKinds(),
                                     [](const DeviceKind &known) {
                                       return known.name.str();
                                     }),
                     ", "));
    if (kind->defaultChip.empty() && !chip.empty())
      return llvm::createStringError(
          "code for '" + kindName +
          "' is for any such device; leave out ':" + chip + "'");
    if (kind->runtime != RWKVRT_CUDA && !later.empty())
      return llvm::createStringError("code for '" + kindName +
                                     "' is for one chip each; separate '" +
                                     kindName + ":" + chip + "' and '" +
                                     kindName + ":" + later + "' by a comma");
    DeviceInfo device{
        kind, (chip.empty() ? kind->defaultChip : chip).str(), {}};
    if (!later.empty())
      for (llvm::StringRef laterChip : llvm::split(later, '+'))
        device.laterChips.push_back(laterChip.str());
    for (const std::string &laterChip : device.laterChips)
      if (getGeneration(laterChip) < getGeneration(device.chip))
        return llvm::createStringError(
            "'" + name + "': '" + laterChip + "' is older than '" +
            device.chip + "', which the code is for; name the oldest first");
    for (const DeviceInfo &other : devices)
      if (other.getName() == device.getName())
        return llvm::createStringError("the device '" + device.getName() +
                                       "' is named twice");
    devices.push_back(std::move(device));
  }
  return devices;
}
