//===- CodeGen.cpp - LLVM IR to machine code ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Target/CodeGen.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/Linker/Linker.h"
#include "llvm/Passes/PassBuilder.h"

using namespace rwkvc;

void rwkvc::prepareModule(llvm::Module &module, const TargetInfo &target) {
  llvm::TargetMachine &machine = target.getMachine();
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  for (llvm::Function &function : module)
    if (!function.isDeclaration()) {
      function.addFnAttr("target-cpu", machine.getTargetCPU());
      function.addFnAttr("target-features", machine.getTargetFeatureString());
      // Kernels are laid out for whole registers; LLVM would split them.
      function.addFnAttr("prefer-vector-width",
                         std::to_string(target.getVectorBits()));
    }
}

void rwkvc::optimizeModule(llvm::Module &module, llvm::TargetMachine &machine,
                           unsigned level) {
  const llvm::OptimizationLevel levels[] = {
      llvm::OptimizationLevel::O0, llvm::OptimizationLevel::O1,
      llvm::OptimizationLevel::O2, llvm::OptimizationLevel::O3};
  // Kernels are vectors already; searching the functions that call them for
  // more is a sixth of the time.
  llvm::PipelineTuningOptions tuning;
  tuning.SLPVectorization = false;
  llvm::PassBuilder builder(&machine, tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::ModulePassManager passes =
      level == 0 ? builder.buildO0DefaultPipeline(levels[0])
                 : builder.buildPerModuleDefaultPipeline(levels[level]);
  passes.run(module, modules);
}

llvm::Error rwkvc::linkModule(llvm::Module &target,
                              std::unique_ptr<llvm::Module> source) {
  llvm::SmallVector<char, 0> bitcode;
  llvm::raw_svector_ostream os(bitcode);
  llvm::WriteBitcodeToFile(*source, os);
  llvm::MemoryBufferRef buffer(os.str(), source->getName());
  auto copy = llvm::parseBitcodeFile(buffer, target.getContext());
  if (!copy)
    return copy.takeError();
  if (llvm::Linker::linkModules(target, std::move(*copy)))
    return llvm::createStringError("the code of several processors does not "
                                   "fit together");
  return llvm::Error::success();
}

llvm::Error rwkvc::emitCode(llvm::Module &module, llvm::TargetMachine &machine,
                            CodeKind kind, llvm::raw_pwrite_stream &os) {
  llvm::legacy::PassManager passes;
  auto fileType = kind == CodeKind::Object
                      ? llvm::CodeGenFileType::ObjectFile
                      : llvm::CodeGenFileType::AssemblyFile;
  if (machine.addPassesToEmitFile(passes, os, nullptr, fileType))
    return llvm::createStringError("the target '" +
                                   machine.getTargetTriple().str() +
                                   "' cannot emit this kind of file");
  passes.run(module);
  return llvm::Error::success();
}
