//===- TargetInfo.cpp - The machine that code is made for -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Target/TargetInfo.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"

using namespace rwkvc;

/// The width of \p machine's vector registers, asked as LLVM's vectoriser does.
static int64_t getRegisterBits(llvm::TargetMachine &machine) {
  llvm::LLVMContext context;
  llvm::Module module("probe", context);
  module.setDataLayout(machine.createDataLayout());
  auto *type = llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                                       /*isVarArg=*/false);
  auto *function = llvm::Function::Create(type, llvm::Function::ExternalLinkage,
                                          "probe", module);
  function->addFnAttr("target-cpu", machine.getTargetCPU());
  function->addFnAttr("target-features", machine.getTargetFeatureString());
  llvm::TargetTransformInfo info = machine.getTargetTransformInfo(*function);
  int64_t bits =
      info.getRegisterBitWidth(llvm::TargetTransformInfo::RGK_FixedWidthVector)
          .getFixedValue();
  return std::max<int64_t>(bits, 128);
}

llvm::Expected<TargetInfo> TargetInfo::create(llvm::StringRef tripleName,
                                              llvm::StringRef cpuName,
                                              llvm::StringRef featureList) {
  static const bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    llvm::InitializeAllAsmParsers();
    return true;
  }();
  (void)initialized;
  llvm::Triple triple(tripleName.empty() ? llvm::sys::getDefaultTargetTriple()
                                         : llvm::Triple::normalize(tripleName));
  std::string message;
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, message);
  if (!target)
    return llvm::createStringError("no target '" + triple.str() +
                                   "': " + message);
  if (!triple.isArch64Bit())
    return llvm::createStringError("target '" + triple.str() +
                                   "' has no 64-bit addresses, which compiled "
                                   "models need");
  std::string cpu = cpuName.str(), features = featureList.str();
  if (cpuName == "native") {
    if (triple.getArch() !=
        llvm::Triple(llvm::sys::getProcessTriple()).getArch())
      return llvm::createStringError(
          "the processor 'native' is this machine's, which is no " +
          triple.getArchName() + "; name a processor of the target");
    cpu = llvm::sys::getHostCPUName().str();
    llvm::SubtargetFeatures host;
    for (const auto &feature : llvm::sys::getHostCPUFeatures())
      host.AddFeature(feature.first(), feature.second);
    features = host.getString() + (features.empty() ? "" : ",") + features;
  } else if (cpuName.empty()) {
    cpu = triple.getArch() == llvm::Triple::x86_64 ? "x86-64-v3" : "generic";
  }
  std::unique_ptr<llvm::MCSubtargetInfo> probe(
      target->createMCSubtargetInfo(triple, "", ""));
  if (probe && !probe->isCPUStringValid(cpu))
    return llvm::createStringError(
        "the target " + triple.getArchName() + " has no processor '" + cpu +
        "'; use 'native', or a name that 'llc -march=" + target->getName() +
        " -mcpu=help' lists");
  // LLVM would only warn of these.
  for (llvm::StringRef feature : llvm::split(featureList, ',')) {
    llvm::StringRef name = feature;
    bool isSigned = name.consume_front("+") || name.consume_front("-");
    bool isKnown =
        probe && llvm::any_of(probe->getAllProcessorFeatures(),
                              [&](const llvm::SubtargetFeatureKV &entry) {
                                return name == entry.Key;
                              });
    if (!featureList.empty() && (!isSigned || !isKnown))
      return llvm::createStringError(
          "the target " + triple.getArchName() + " has no feature '" + feature +
          "'; expected + or - and a name that 'llc -march=" +
          target->getName() + " -mattr=help' lists");
  }
  TargetInfo info;
  info.machine.reset(target->createTargetMachine(
      triple, cpu, features, llvm::TargetOptions(), llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
  if (!info.machine)
    return llvm::createStringError("LLVM has no code generator for '" +
                                   triple.str() + "'");
  info.vectorBits = getRegisterBits(*info.machine);
  return info;
}

std::string TargetInfo::describe() const {
  return machine->getTargetTriple().str() + " " + machine->getTargetCPU().str();
}
