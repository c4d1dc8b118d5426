//===- TargetInfo.cpp - The machine that code is made for -----------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Target/TargetInfo.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Analysis/TargetTransformInfo.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"

using namespace rwkvc;

static std::unique_ptr<llvm::TargetMachine>
createMachine(const llvm::Target &target, const llvm::Triple &triple,
              llvm::StringRef cpu, llvm::StringRef features) {
  return std::unique_ptr<llvm::TargetMachine>(target.createTargetMachine(
      triple, cpu, features, llvm::TargetOptions(), llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

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

static constexpr llvm::StringLiteral kFeatureNames[] = {
#define RWKVRT_X86_FEATURE(name, ...) name,
#include "rwkvc-rt/x86-features.def"
};

/// Bits of rwkvrt_level_info.features.
static uint64_t getFeatureBits(const llvm::TargetMachine &machine) {
  uint64_t bits = 0;
  if (machine.getTargetTriple().getArch() == llvm::Triple::x86_64)
    for (auto [i, name] : llvm::enumerate(kFeatureNames))
      if (machine.getMCSubtargetInfo()->checkFeatures(("+" + name).str()))
        bits |= uint64_t(1) << i;
  return bits;
}

/// On x86-64: what every machine with AVX2 can run, what those with AVX-512
/// can, and of both those that add products of integers to sums in one
/// instruction. For \p activations of bf16 those that do so with pairs of it as
/// well, and for these and bytes those that do so in tiles.
static std::string getDefaultProcessors(const llvm::Triple &triple,
                                        ActivationKind activations) {
  if (triple.getArch() != llvm::Triple::x86_64)
    return "generic";
  std::string processors = "x86-64-v3,x86-64-v3+avxvnni,"
                           "x86-64-v4,x86-64-v4+avx512vnni";
  llvm::StringRef bf16 = ",x86-64-v4+avx512vnni+avx512bf16";
  if (activations == ActivationKind::BF16)
    processors += bf16;
  if (activations != ActivationKind::Others)
    processors += (bf16 + "+amx-bf16+amx-int8").str();
  return processors;
}

static llvm::Triple getTriple(llvm::StringRef name) {
  return llvm::Triple(name.empty() ? llvm::sys::getDefaultTargetTriple()
                                   : llvm::Triple::normalize(name));
}

void rwkvc::initializeTargets() {
  static const bool initialized = [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
    llvm::InitializeAllAsmParsers();
    return true;
  }();
  (void)initialized;
}

llvm::Expected<std::vector<TargetInfo>>
TargetInfo::createLevels(llvm::StringRef triple, llvm::StringRef cpus,
                         llvm::StringRef features, ActivationKind activations) {
  std::string processors =
      cpus.empty() ? getDefaultProcessors(getTriple(triple), activations)
                   : cpus.str();
  std::vector<TargetInfo> levels;
  for (llvm::StringRef cpu : llvm::split(processors, ',')) {
    auto level = create(triple, cpu, features);
    if (!level)
      return level.takeError();
    for (const TargetInfo &other : levels)
      if (other.getName() == level->getName())
        return llvm::createStringError("the processor '" + other.getName() +
                                       "' is named twice");
    levels.push_back(std::move(*level));
  }
  const TargetInfo &least = levels.front();
  for (const TargetInfo &level : llvm::drop_begin(levels)) {
    if (least.getFeatures() == 0)
      return llvm::createStringError(
          "code for several processors is for x86-64 only, where the runtime "
          "can tell them apart; name one");
    uint64_t lacking = least.getFeatures() & ~level.getFeatures();
    if (lacking)
      return llvm::createStringError(
          "the first of several processors must be the least, but '" +
          level.getName() + "' lacks '" +
          kFeatureNames[llvm::countr_zero(lacking)] + "', which '" +
          least.getName() + "' has");
  }
  return levels;
}

llvm::Expected<TargetInfo> TargetInfo::create(llvm::StringRef tripleName,
                                              llvm::StringRef cpuName,
                                              llvm::StringRef featureList) {
  initializeTargets();
  llvm::Triple triple = getTriple(tripleName);
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
  llvm::SmallVector<llvm::StringRef> parts;
  cpuName.split(parts, '+');
  std::string cpu = parts.front().str();
  llvm::SmallVector<std::string> features;
  if (cpu == "native") {
    if (triple.getArch() !=
        llvm::Triple(llvm::sys::getProcessTriple()).getArch())
      return llvm::createStringError(
          "the processor 'native' is this machine's, which is no " +
          triple.getArchName() + "; name a processor of the target");
    cpu = llvm::sys::getHostCPUName().str();
    for (const auto &feature : llvm::sys::getHostCPUFeatures())
      features.push_back((feature.second ? "+" : "-") + feature.first().str());
  }
  std::unique_ptr<llvm::MCSubtargetInfo> probe(
      target->createMCSubtargetInfo(triple, "", ""));
  if (probe && !probe->isCPUStringValid(cpu))
    return llvm::createStringError(
        "the target " + triple.getArchName() + " has no processor '" + cpu +
        "'; use 'native', or a name that 'llc -march=" + target->getName() +
        " -mcpu=help' lists");
  // LLVM's tuning of the level, and of later processors of Intel's, is that of
  // its first ones, which slowed down for wide registers.
  std::unique_ptr<llvm::MCSubtargetInfo> named(
      target->createMCSubtargetInfo(triple, cpu, ""));
  if (cpu == "x86-64-v4" || (triple.getArch() == llvm::Triple::x86_64 &&
                             named->checkFeatures("+amx-tile")))
    features.push_back("-prefer-256-bit");
  size_t numOwn = features.size();
  for (llvm::StringRef part : llvm::drop_begin(parts))
    features.push_back(("+" + part).str());
  if (!featureList.empty())
    for (llvm::StringRef feature : llvm::split(featureList, ','))
      features.push_back(feature.str());
  // LLVM would only warn of these.
  for (llvm::StringRef feature : llvm::drop_begin(features, numOwn)) {
    llvm::StringRef name = feature;
    bool isSigned = name.consume_front("+") || name.consume_front("-");
    bool isKnown =
        probe && llvm::any_of(probe->getAllProcessorFeatures(),
                              [&](const llvm::SubtargetFeatureKV &entry) {
                                return name == entry.Key;
                              });
    if (!isSigned || !isKnown)
      return llvm::createStringError(
          "the target " + triple.getArchName() + " has no feature '" + feature +
          "'; expected + or - and a name that 'llc -march=" +
          target->getName() + " -mattr=help' lists");
  }
  TargetInfo info;
  info.machine =
      ::createMachine(*target, triple, cpu, llvm::join(features, ","));
  if (!info.machine)
    return llvm::createStringError("LLVM has no code generator for '" +
                                   triple.str() + "'");
  parts.front() = cpu;
  info.name = llvm::join(parts, "+");
  info.features = getFeatureBits(*info.machine);
  info.vectorBits = getRegisterBits(*info.machine);
  return info;
}

llvm::StringRef TargetInfo::getDotProducts() const {
  auto has = [&](llvm::StringRef feature) {
    return machine->getMCSubtargetInfo()->checkFeatures(("+" + feature).str());
  };
  if (machine->getTargetTriple().getArch() != llvm::Triple::x86_64 ||
      !has("avx2"))
    return "generic";
  // Registers of less than 512 bits too.
  if (has("avx512vnni") && has("avx512vl"))
    return !has("avx512bf16")                   ? "vnni"
           : has("amx-bf16") && has("amx-int8") ? "amx"
                                                : "bf16";
  if (has("avxvnni") && vectorBits <= 256)
    return "vnni";
  return has("avx512bw") ? "avx512bw" : "avx2";
}

int64_t TargetInfo::getStreamedBytes() const {
  // Zen's third level takes what leaves the second, which costs bandwidth that
  // a line fetched so does without; where that level has room, Zen 5 keeps it
  // nevertheless. Elsewhere it is not measured.
  bool isZen = machine->getTargetCPU().starts_with("znver");
  return isZen ? int64_t{128} << 20 : 0;
}

std::unique_ptr<llvm::TargetMachine> TargetInfo::createMachine() const {
  return ::createMachine(machine->getTarget(), machine->getTargetTriple(),
                         machine->getTargetCPU(),
                         machine->getTargetFeatureString());
}

bool TargetInfo::extendsDotProducts(const TargetInfo &other) const {
  static constexpr llvm::StringRef ofProducts[] = {
      "avx512vnni", "avx512bf16", "amx-tile",    "amx-bf16",
      "amx-int8",   "avxvnni",    "avxvnniint8", "avxvnniint16"};
  if (machine->getTargetTriple() != other.machine->getTargetTriple() ||
      machine->getTargetCPU() != other.machine->getTargetCPU() ||
      vectorBits != other.vectorBits)
    return false;
  const llvm::MCSubtargetInfo &own = *machine->getMCSubtargetInfo();
  const llvm::FeatureBitset &bits = own.getFeatureBits();
  const llvm::FeatureBitset &others =
      other.machine->getMCSubtargetInfo()->getFeatureBits();
  return llvm::all_of(own.getAllProcessorFeatures(), [&](const auto &feature) {
    bool has = bits.test(feature.Value);
    return has == others.test(feature.Value) ||
           (has && llvm::is_contained(ofProducts, feature.Key));
  });
}
