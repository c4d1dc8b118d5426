//===- ArtifactWriter.cpp - From the last phase to files ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ArtifactWriter.h"
#include "Progress.h"
#include "mlir/IR/Threading.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "rwkvc/Conversion/DnnlToRuntime/DnnlToRuntime.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "rwkvc/Target/CodeGen.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"

#include <list>
#include <mutex>

using namespace rwkvc;

/// Weights up to this size go into a program, which then is one file.
static constexpr int64_t kMaxEmbeddedBytes = 64 << 20;

std::string rwkvc::findRuntimeDir() {
  std::string program =
      llvm::sys::fs::getMainExecutable(nullptr, (void *)&findRuntimeDir);
  llvm::SmallString<128> dir(llvm::sys::path::parent_path(program));
  llvm::sys::path::append(dir, "..", "lib");
  llvm::sys::path::remove_dots(dir, /*remove_dot_dot=*/true);
  return dir.str().str();
}

llvm::Error rwkvc::writeFile(
    llvm::StringRef path,
    llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write) {
  auto file = aot::PendingFile::create(path);
  if (!file)
    return file.takeError();
  if (llvm::Error error = file->write(write))
    return error;
  return file->commit();
}

/// Of a device, if \p module is null.
llvm::Error ArtifactWriter::emitText(llvm::Module *module) {
  auto write = [&](llvm::raw_pwrite_stream &os) -> llvm::Error {
    if (!module) {
      const auto &text = info.devices.front().image;
      os << llvm::StringRef(text.data(), text.size());
      return llvm::Error::success();
    }
    if (options.emit == Emit::Assembly)
      return emitCode(*module, targets.front().getMachine(), CodeKind::Assembly,
                      os);
    module->print(os, nullptr);
    return llvm::Error::success();
  };
  progress.step("write " + options.output);
  if (options.output != "-")
    return writeFile(options.output, write);
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream os(text);
  if (llvm::Error error = write(os))
    return error;
  llvm::outs() << text;
  return llvm::Error::success();
}

llvm::Error ArtifactWriter::makeBinary(llvm::ArrayRef<Part> parts,
                                       aot::PendingFile &file) {
  if (options.emit == Emit::Object)
    return file.write([&](llvm::raw_pwrite_stream &os) {
      return emitCode(*parts.front().module, targets.front().getMachine(),
                      CodeKind::Object, os);
    });
  std::vector<std::string> objects;
  std::list<llvm::FileRemover> removers;
  for (const Part &part : parts) {
    llvm::SmallString<128> path;
    if (std::error_code code =
            llvm::sys::fs::createTemporaryFile("rwkvc", "o", path))
      return llvm::createStringError("cannot create a temporary file: " +
                                     code.message());
    removers.emplace_back(path);
    llvm::sys::RemoveFileOnSignal(path);
    objects.push_back(path.str().str());
    if (llvm::Error error = writeFile(path, [&](llvm::raw_pwrite_stream &os) {
          os << llvm::StringRef(part.object.data(), part.object.size());
          return llvm::Error::success();
        }))
      return error;
  }
  aot::LinkOptions link;
  link.compiler = options.compiler;
  link.runtimeDir = findRuntimeDir();
  link.usesDnnl = parts.front().module->getFunction(kDnnlMatmul) != nullptr;
  if (options.emit == Emit::StaticLibrary)
    return aot::writeStaticLibrary(objects, file);
  if (options.emit == Emit::SharedLibrary)
    return aot::linkSharedLibrary(objects, file, link);
  return aot::linkExecutable(objects, file, link);
}

/// Begins to write the weights, to be committed beside the artefact or included
/// in it; `info` is told which.
llvm::Error ArtifactWriter::startWeights(const Models &models) {
  if (info.weightsSize)
    return llvm::Error::success();
  std::vector<mlir::ModuleOp> modules;
  if (models.processor)
    modules.push_back(models.processor);
  // Other devices read the same.
  if (!models.devices.empty())
    modules.push_back(models.devices.front());
  auto weights = aot::WeightsFile::create(modules);
  if (!weights)
    return weights.takeError();
  info.weightsSize = weights->getDataSize();
  info.weightsHash = weights->getHash();
  if (info.weightsSize == 0)
    return llvm::Error::success();
  llvm::StringRef stem = llvm::sys::path::stem(
      options.output == "-" ? options.input : options.output);
  info.weightsFile = (stem + ".safetensors").str();
  if (isText(options.emit))
    return llvm::Error::success();
  bool embed =
      options.embedWeights.value_or(options.emit == Emit::Executable &&
                                    info.weightsSize <= kMaxEmbeddedBytes);
  llvm::SmallString<128> path(llvm::sys::path::parent_path(options.output));
  llvm::sys::path::append(path, info.weightsFile);
  if (!embed && llvm::sys::fs::exists(path) && !aot::WeightsFile::isOne(path))
    return llvm::createStringError(
        "the weights would replace '" + path +
        "', which is not from rwkvc; choose another name for -o");
  auto file = aot::PendingFile::create(path);
  if (!file)
    return file.takeError();
  if (embed) {
    info.weightsFile.clear();
    info.embedFile = file->getTemporary().str();
    info.embedOffset = weights->getDataOffset();
  }
  auto writer =
      aot::WeightsWriter::start(std::move(*weights), std::move(*file));
  if (!writer)
    return writer.takeError();
  weightsWriter = std::move(*writer);
  return llvm::Error::success();
}

llvm::Error ArtifactWriter::finishWeights() {
  if (!weightsWriter)
    return llvm::Error::success();
  auto size = static_cast<double>(info.weightsSize);
  progress.step(llvm::formatv("write weights, {0:f1} MB", size / 1e6).str());
  auto written = weightsWriter->finish(
      [&](int64_t bytes) { progress.update(bytes / size); });
  weightsWriter.reset();
  if (!written)
    return written.takeError();
  weightsFile.emplace(std::move(*written));
  return llvm::Error::success();
}

/// Makes what the artefact has for \p device of \p module , or its text.
llvm::Error
ArtifactWriter::compileForDevice(mlir::ModuleOp module,
                                 const DeviceInfo &device,
                                 llvm::ArrayRef<aot::FunctionInfo> functions) {
  aot::DeviceCode code;
  code.name = device.getName();
  code.chip = device.chip;
  code.kind = device.kind->runtime;
  code.weights = aot::findRange(module);
  if (failed(aot::readDeviceCode(module, functions, code)))
    return llvm::createStringError("the model does not describe its kernels");
  auto machine = device.createMachine();
  if (!machine)
    return machine.takeError();
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> kernels = mlir::translateModuleToLLVMIR(
      module.lookupSymbol(gpu::kKernelsName), llvmContext, options.input);
  if (!kernels)
    return llvm::createStringError("the LLVM dialect has no LLVM IR form");
  prepareKernels(*kernels, device, **machine, code.kernels);
  if (!device.kind->isPortable)
    optimizeModule(*kernels, **machine, options.optLevel);
  if (options.emit == Emit::LLVMIR) {
    llvm::raw_svector_ostream os(code.image);
    kernels->print(os, nullptr);
  } else if (llvm::Error error =
                 emitKernels(*kernels, device, **machine,
                             options.emit == Emit::Assembly ? CodeKind::Assembly
                                                            : CodeKind::Object,
                             code.image)) {
    return error;
  }
  info.devices.push_back(std::move(code));
  return llvm::Error::success();
}

/// Translates \p models to \p parts ; `info` is told the levels. The model's
/// functions are for the least processor, kernels for each.
llvm::Error ArtifactWriter::translate(const Models &models,
                                      std::vector<Part> &parts) {
  mlir::ModuleOp model = models.processor;
  auto functions = aot::readFunctions(model ? model : models.devices.front());
  if (failed(functions))
    return llvm::createStringError("the model does not describe itself");
  for (auto [device, copy] : llvm::zip_equal(options.devices, models.devices))
    if (llvm::Error error = compileForDevice(copy, device, *functions))
      return error;
  if (!model) {
    if (isText(options.emit))
      return llvm::Error::success();
    Part part{
        &targets.front(), std::make_unique<llvm::LLVMContext>(), nullptr, {}};
    part.module = std::make_unique<llvm::Module>(options.input, *part.context);
    prepareModule(*part.module, targets.front());
    aot::emitModelInfo(*part.module, *functions, info,
                       options.emit == Emit::SharedLibrary ||
                           options.emit == Emit::Executable);
    parts.push_back(std::move(part));
    return llvm::Error::success();
  }
  info.processorWeights = aot::findRange(model);
  auto levels = llvm::to_vector(model.getOps<mlir::ModuleOp>());
  info.hasTables = !levels.empty();
  // IR that was read has the levels that it has.
  if (info.hasTables &&
      !llvm::equal(levels, targets,
                   [](mlir::ModuleOp level, const auto &target) {
                     return level.getName() == target.getName();
                   }))
    return llvm::createStringError(
        "the model has kernels for other processors than --mcpu; name those of "
        "its modules, in their order");
  auto lower = [&](mlir::ModuleOp source, const TargetInfo &target,
                   llvm::LLVMContext &inContext)
      -> llvm::Expected<std::unique_ptr<llvm::Module>> {
    std::unique_ptr<llvm::Module> lowered =
        mlir::translateModuleToLLVMIR(source, inContext, options.input);
    if (!lowered)
      return llvm::createStringError("the LLVM dialect has no LLVM IR form");
    prepareModule(*lowered, target);
    return lowered;
  };
  auto add = [&](mlir::ModuleOp source,
                 const TargetInfo &target) -> llvm::Error {
    Part part{&target, std::make_unique<llvm::LLVMContext>(), nullptr, {}};
    auto lowered = lower(source, target, *part.context);
    if (!lowered)
      return lowered.takeError();
    part.module = std::move(*lowered);
    parts.push_back(std::move(part));
    return llvm::Error::success();
  };
  for (const TargetInfo &target : targets)
    if (info.levels.empty() || info.hasTables)
      info.levels.push_back({target.getName().str(), target.getFeatures()});
  if (llvm::Error error = add(model, targets.front()))
    return error;
  aot::emitModelInfo(*parts.front().module, *functions, info,
                     options.emit == Emit::SharedLibrary ||
                         options.emit == Emit::Executable);
  llvm::StringMap<size_t> partOfLevel;
  for (auto [level, target, description] :
       llvm::zip(levels, targets, info.levels)) {
    auto base = level->getAttrOfType<mlir::StringAttr>(cpu::kBaseAttr);
    if (!base) {
      partOfLevel[description.name] = parts.size();
      if (llvm::Error error = add(level, target))
        return error;
      aot::prepareKernels(*parts.back().module, info, description);
      continue;
    }
    auto found = partOfLevel.find(base.getValue());
    if (found == partOfLevel.end())
      return llvm::createStringError("the level '" + description.name +
                                     "' comes before its base");
    Part &part = parts[found->second];
    auto lowered = lower(level, target, *part.context);
    if (!lowered)
      return lowered.takeError();
    aot::prepareKernels(**lowered, info, description);
    if (llvm::Error error = aot::joinKernels(*part.module, std::move(*lowered)))
      return error;
  }
  for (const auto &part : partOfLevel)
    aot::closeKernels(*parts[part.second].module);
  return llvm::Error::success();
}

/// Optimises \p parts , and makes object files of them, or one module where one
/// file is wanted.
llvm::Error ArtifactWriter::generateCode(std::vector<Part> &parts) {
  bool isLinked = options.emit == Emit::StaticLibrary ||
                  options.emit == Emit::SharedLibrary ||
                  options.emit == Emit::Executable;
  std::mutex lock;
  llvm::Error failure = llvm::Error::success();
  mlir::parallelForEach(&context, parts, [&](Part &part) {
    std::unique_ptr<llvm::TargetMachine> machine = part.target->createMachine();
    optimizeModule(*part.module, *machine, options.optLevel);
    if (!isLinked)
      return;
    llvm::raw_svector_ostream os(part.object);
    llvm::Error error = emitCode(*part.module, *machine, CodeKind::Object, os);
    std::lock_guard<std::mutex> guard(lock);
    failure = llvm::joinErrors(std::move(failure), std::move(error));
  });
  if (failure || isLinked || parts.empty())
    return failure;
  for (Part &part : llvm::drop_begin(parts))
    if (llvm::Error error =
            linkModule(*parts.front().module, std::move(part.module)))
      return error;
  return llvm::Error::success();
}

llvm::Error ArtifactWriter::write(const Models &models) {
  info.name = aot::toIdentifier(llvm::sys::path::stem(
      options.output == "-" ? options.input : options.output));
  info.target = targets.front().getMachine().getTargetTriple().str();
  // Of IR that was read.
  if (llvm::Error error = startWeights(models))
    return error;
  // The assembler reads them.
  if (!info.embedFile.empty())
    if (llvm::Error error = finishWeights())
      return error;
  llvm::SmallVector<std::string> names;
  for (const DeviceInfo &device : options.devices)
    names.push_back(device.getName());
  if (models.processor)
    for (const TargetInfo &target : targets)
      names.push_back(target.getName().str());
  progress.step("generate code for " + llvm::join(names, ", "));
  std::vector<Part> parts;
  if (llvm::Error error = translate(models, parts))
    return error;
  if (llvm::Error error = generateCode(parts))
    return error;
  if (isText(options.emit))
    return emitText(parts.empty() ? nullptr : parts.front().module.get());
  if (llvm::Error error = finishWeights())
    return error;
  progress.step("write " + options.output);
  auto file = aot::PendingFile::create(options.output);
  if (!file)
    return file.takeError();
  if (llvm::Error error = makeBinary(parts, *file))
    return error;
  // Both or none: until here a former artefact is whole.
  if (weightsFile && info.embedFile.empty())
    if (llvm::Error error = weightsFile->commit())
      return error;
  return file->commit();
}
