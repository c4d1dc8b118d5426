//===- rwkvc.cpp - Compiles ONNX RWKV models to native code ---------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "Progress.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Threading.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "rwkvc/AOT/Artifact.h"
#include "rwkvc/AOT/Interface.h"
#include "rwkvc/AOT/ModelInfo.h"
#include "rwkvc/AOT/WeightsFile.h"
#include "rwkvc/Conversion/DnnlToRuntime/DnnlToRuntime.h"
#include "rwkvc/Dialect/WKV/IR/CustomOps.h"
#include "rwkvc/Dialect/WKV/Transforms/Explain.h"
#include "rwkvc/Import/Import.h"
#include "rwkvc/InitAll.h"
#include "rwkvc/Support/Constants.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "rwkvc/Target/CodeGen.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Signals.h"
#include "llvm/Support/WithColor.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

#include <csignal>
#include <list>
#include <mutex>

using namespace rwkvc;

static bool isText(Emit emit) {
  return emit == Emit::LLVMIR || emit == Emit::Assembly;
}

/// Weights up to this size go into a program, which then is one file.
static constexpr int64_t kMaxEmbeddedBytes = 64 << 20;

namespace {

/// The model's functions, or a level's kernels, in LLVM IR. Each has a context,
/// so that they can be compiled at once.
struct Part {
  const TargetInfo *target;
  std::unique_ptr<llvm::LLVMContext> context; // outlives the module
  std::unique_ptr<llvm::Module> module;
  llvm::SmallVector<char, 0> object; ///< file, unless one is made of all parts
};

class Driver {
public:
  Driver(const DriverOptions &options, mlir::MLIRContext &context)
      : options(options), context(context),
        progress(options.quiet, countSteps(options)) {
    // For people who do not know MLIR: no IR around the message.
    context.printOpOnDiagnostic(false);
    context.getDiagEngine().registerHandler(
        [this](mlir::Diagnostic &diagnostic) { report(diagnostic); });
  }

  /// Returns the exit status.
  int run();

private:
  static unsigned countSteps(const DriverOptions &options) {
    // Import, with its phase, and the other phases; for code: weights, code,
    // and the file itself.
    unsigned steps = 1 + llvm::count_if(options.getPhases(), [](Phase phase) {
                       return phase != Phase::AfterImport;
                     });
    if (options.emit == Emit::IR)
      return steps;
    return steps + (isText(options.emit) ? 2 : 3);
  }

  int fail(llvm::Error error) {
    progress.finish("failed");
    llvm::WithColor::error(llvm::errs(), "rwkvc")
        << llvm::toString(std::move(error)) << "\n";
    return 1;
  }

  void report(mlir::Diagnostic &diagnostic);
  mlir::OwningOpRef<mlir::ModuleOp> import();
  /// Of a module: so that cleanup runs in its functions, several at a time.
  mlir::PassManager createPassManager() const {
    return mlir::PassManager(&context, mlir::ModuleOp::getOperationName());
  }
  llvm::Error addInsertions(mlir::PassManager &pm, Phase phase) const;
  llvm::Error runPhase(mlir::ModuleOp module, Phase phase,
                       const DeviceInfo *device = nullptr);
  void copyForDevices(mlir::ModuleOp module);
  llvm::Error runPhaseOfTargets(mlir::ModuleOp module, Phase phase);
  llvm::Error emitIR(mlir::ModuleOp module);
  llvm::Error explain(mlir::ModuleOp module);
  bool areWeightsKnown(Phase phase) const;
  llvm::Error startWeights(mlir::ModuleOp module);
  llvm::Error finishWeights();
  llvm::Error emitArtifact(mlir::ModuleOp module);
  llvm::Error compileForDevice(mlir::ModuleOp module, const DeviceInfo &device,
                               llvm::ArrayRef<aot::FunctionInfo> functions);
  llvm::Error translate(mlir::ModuleOp module, std::vector<Part> &parts);
  llvm::Error generateCode(std::vector<Part> &parts);
  llvm::Error emitText(llvm::Module *module);
  llvm::Error makeBinary(llvm::ArrayRef<Part> parts, aot::PendingFile &file);

  const DriverOptions &options;
  mlir::MLIRContext &context;
  Progress progress;
  std::vector<TargetInfo> targets; ///< the least first
  /// For each device, once it is the phases' turn that differ for it.
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> deviceModules;
  aot::ModelInfo info;
  /// While they are written, and then their file.
  std::unique_ptr<aot::WeightsWriter> weightsWriter;
  std::optional<aot::PendingFile> weightsFile;
};

} // namespace

/// Folder of the runtime's libraries, from that of this program.
static std::string findRuntimeDir() {
  std::string program =
      llvm::sys::fs::getMainExecutable(nullptr, (void *)&findRuntimeDir);
  llvm::SmallString<128> dir(llvm::sys::path::parent_path(program));
  llvm::sys::path::append(dir, "..", "lib");
  llvm::sys::path::remove_dots(dir, /*remove_dot_dot=*/true);
  return dir.str().str();
}

/// Prints a message of the compiler with the file or node it is about.
void Driver::report(mlir::Diagnostic &diagnostic) {
  bool isError = diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error;
  if (!isError && options.quiet)
    return;
  progress.finish(isError ? "failed" : "");
  std::string message = diagnostic.str(), place;
  mlir::Location location = diagnostic.getLocation();
  if (auto node = location->findInstanceOf<mlir::NameLoc>())
    place = ("node '" + node.getName().getValue() + "'").str();
  else if (auto file = location->findInstanceOf<mlir::FileLineColLoc>())
    place = file.getFilename().str();
  if (isError)
    llvm::WithColor::error(llvm::errs(), "rwkvc");
  else
    llvm::WithColor::note(llvm::errs());
  if (!place.empty() && !llvm::StringRef(message).contains(place))
    llvm::errs() << place << ": ";
  llvm::errs() << message << "\n";
  for (mlir::Diagnostic &note : diagnostic.getNotes())
    llvm::WithColor::note(llvm::errs()) << note.str() << "\n";
}

mlir::OwningOpRef<mlir::ModuleOp> Driver::import() {
  progress.step("read " + llvm::sys::path::filename(options.input));
  if (options.from)
    return mlir::parseSourceFile<mlir::ModuleOp>(options.input, &context);
  ImportOptions importOptions;
  importOptions.dims = options.dims;
  ImportReport report;
  auto module = importONNXFile(options.input, context, importOptions, &report);
  if (!module)
    return module;
  progress.finish();
  for (const auto &[name, size] : report.defaultedDims)
    progress.note("      dimension '" + name + "' is open: " +
                  llvm::Twine(size) + " (--dim " + name + "=SIZE)");
  return module;
}

/// Adds the passes of --insert-pass for \p phase.
llvm::Error Driver::addInsertions(mlir::PassManager &pm, Phase phase) const {
  auto inserted = options.insertions.find(phase);
  if (inserted == options.insertions.end())
    return llvm::Error::success();
  for (const std::string &text : inserted->second) {
    std::string message;
    llvm::raw_string_ostream os(message);
    if (failed(mlir::parsePassPipeline(text, pm, os)))
      return llvm::createStringError("--insert-pass=" + stringifyPhase(phase) +
                                     ":" + text + ": " +
                                     llvm::StringRef(message).trim());
  }
  return llvm::Error::success();
}

llvm::Error Driver::runPhase(mlir::ModuleOp module, Phase phase,
                             const DeviceInfo *device) {
  mlir::PassManager pm = createPassManager();
  // Verifying after each pass takes a third of all passes' time. A user's pass
  // is new, and the user wants to know what it breaks.
  pm.enableVerifier(options.verifyEach || options.insertions.count(phase));
  if (options.timing)
    pm.enableTiming();
  PipelineOptions pipeline = options.pipeline;
  if (device) {
    pipeline.device = device->kind->name;
    const MatrixUnits *own = device->getMatrixUnits();
    std::string wanted = options.matrixUnits.value_or(own ? "true" : "false");
    if (wanted == "true")
      wanted = own ? own->name : getMatrixUnits().front().name;
    if (wanted != "false")
      pipeline.matrixUnits = wanted;
    pipeline.hasMatrixUnits = own && own->name == pipeline.matrixUnits;
  }
  pipeline.vectorBits = targets.front().getVectorBits();
  pipeline.dotProducts = targets.front().getDotProducts().str();
  for (const TargetInfo &target : targets) {
    Level level{target.getName().str(), target.getVectorBits(),
                target.getDotProducts().str()};
    for (auto [i, other] : llvm::enumerate(pipeline.levels))
      if (other.base < 0 && target.extendsIntegerProducts(targets[i]))
        level.base = static_cast<int64_t>(i);
    pipeline.levels.push_back(level);
  }
  // A program is to run where nothing is installed.
  pipeline.useDnnl = options.oneDNN.value_or(
      options.emit != Emit::Executable &&
      llvm::sys::fs::exists(findRuntimeDir() + "/librwkvc-rt-dnnl.so"));
  pipeline.preferDnnl = options.oneDNN.value_or(false);
  // Devices have no library.
  pipeline.useDnnl &= options.devices.empty();
  buildPhase(pm, phase, pipeline);
  if (llvm::Error error = addInsertions(pm, phase))
    return error;
  if (failed(pm.run(module)) || failed(mlir::verify(module)))
    return llvm::createStringError("the model could not be compiled; phase '" +
                                   stringifyPhase(phase) + "' failed");
  return llvm::Error::success();
}

/// Before what differs from target to target; also where nothing does any more.
void Driver::copyForDevices(mlir::ModuleOp module) {
  if (deviceModules.empty())
    for (size_t i = 0; i < options.devices.size(); ++i)
      deviceModules.emplace_back(module.clone());
}

/// The same for each target, since the phases differ: for devices on copies of
/// the model.
llvm::Error Driver::runPhaseOfTargets(mlir::ModuleOp module, Phase phase) {
  copyForDevices(module);
  for (auto [device, copy] : llvm::zip_equal(options.devices, deviceModules))
    if (llvm::Error error = runPhase(*copy, phase, &device))
      return error;
  return options.pipeline.hasProcessor ? runPhase(module, phase)
                                       : llvm::Error::success();
}

llvm::Error Driver::explain(mlir::ModuleOp module) {
  progress.finish();
  wkv::Explanation explanation = wkv::explain(module);
  if (options.explain == "json")
    wkv::printJSON(explanation, llvm::outs());
  else
    wkv::printText(explanation, llvm::outs());
  llvm::outs().flush();
  return llvm::Error::success();
}

static llvm::Error
writeFile(llvm::StringRef path,
          llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write) {
  auto file = aot::PendingFile::create(path);
  if (!file)
    return file.takeError();
  if (llvm::Error error = file->write(write))
    return error;
  return file->commit();
}

/// Lets go of the weights' bytes: the printer would turn them into text before
/// it leaves them out.
static void dropWeights(mlir::ModuleOp module) {
  mlir::AttrTypeWalker walker;
  walker.addWalk([](mlir::DenseResourceElementsAttr attr) {
    attr.getRawHandle().getResource()->setBlob(mlir::AsmResourceBlob());
  });
  module.walk(
      [&](mlir::Operation *op) { walker.walk(op->getAttrDictionary()); });
}

llvm::Error Driver::emitIR(mlir::ModuleOp module) {
  if (options.output.empty())
    return llvm::Error::success();
  // A weight printed in full helps nobody; rwkv-translate prints all.
  dropWeights(module);
  mlir::OpPrintingFlags flags;
  flags.elideLargeElementsAttrs(16).elideLargeResourceString(0);
  progress.finish();
  if (options.output == "-") {
    module.print(llvm::outs(), flags);
    return llvm::Error::success();
  }
  return writeFile(options.output, [&](llvm::raw_pwrite_stream &os) {
    module.print(os, flags);
    return llvm::Error::success();
  });
}

/// Of a device, if \p module is null.
llvm::Error Driver::emitText(llvm::Module *module) {
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

llvm::Error Driver::makeBinary(llvm::ArrayRef<Part> parts,
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

/// Whether what follows \p phase leaves the weights as they are.
bool Driver::areWeightsKnown(Phase phase) const {
  return options.emit != Emit::IR && phase >= Phase::BeforeBufferize &&
         llvm::none_of(options.insertions, [&](const auto &inserted) {
           return inserted.first > phase;
         });
}

/// Begins to write the weights, to be committed beside the artefact or included
/// in it; `info` is told which.
llvm::Error Driver::startWeights(mlir::ModuleOp module) {
  aot::WeightsFile weights(module);
  info.weightsSize = weights.getDataSize();
  info.weightsHash = weights.getHash();
  if (weights.getDataSize() == 0)
    return llvm::Error::success();
  llvm::StringRef stem = llvm::sys::path::stem(
      options.output == "-" ? options.input : options.output);
  info.weightsFile = (stem + ".safetensors").str();
  if (isText(options.emit))
    return llvm::Error::success();
  bool embed =
      options.embedWeights.value_or(options.emit == Emit::Executable &&
                                    weights.getDataSize() <= kMaxEmbeddedBytes);
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
    info.embedOffset = weights.getDataOffset();
  }
  auto writer = aot::WeightsWriter::start(std::move(weights), std::move(*file));
  if (!writer)
    return writer.takeError();
  weightsWriter = std::move(*writer);
  return llvm::Error::success();
}

llvm::Error Driver::finishWeights() {
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
Driver::compileForDevice(mlir::ModuleOp module, const DeviceInfo &device,
                         llvm::ArrayRef<aot::FunctionInfo> functions) {
  aot::DeviceCode code;
  code.name = device.getName();
  code.chip = device.chip;
  code.kind = device.kind->runtime;
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

/// Translates \p module to \p parts ; `info` is told the levels. The model's
/// functions are for the least processor, kernels for each.
llvm::Error Driver::translate(mlir::ModuleOp module, std::vector<Part> &parts) {
  auto functions = aot::readFunctions(
      options.pipeline.hasProcessor ? module : *deviceModules.front());
  if (failed(functions))
    return llvm::createStringError("the model does not describe itself");
  for (auto [device, copy] : llvm::zip_equal(options.devices, deviceModules))
    if (llvm::Error error = compileForDevice(*copy, device, *functions))
      return error;
  if (!options.pipeline.hasProcessor) {
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
  auto levels = llvm::to_vector(module.getOps<mlir::ModuleOp>());
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
  if (llvm::Error error = add(module, targets.front()))
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
  return llvm::Error::success();
}

/// Optimises \p parts , and makes object files of them, or one module where one
/// file is wanted.
llvm::Error Driver::generateCode(std::vector<Part> &parts) {
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

llvm::Error Driver::emitArtifact(mlir::ModuleOp module) {
  info.name = aot::toIdentifier(llvm::sys::path::stem(
      options.output == "-" ? options.input : options.output));
  info.target = targets.front().getMachine().getTargetTriple().str();
  // Of IR that was read.
  if (!info.weightsSize)
    if (llvm::Error error = startWeights(module))
      return error;
  // The assembler reads them.
  if (!info.embedFile.empty())
    if (llvm::Error error = finishWeights())
      return error;
  llvm::SmallVector<std::string> names;
  for (const DeviceInfo &device : options.devices)
    names.push_back(device.getName());
  if (options.pipeline.hasProcessor)
    for (const TargetInfo &target : targets)
      names.push_back(target.getName().str());
  progress.step("generate code for " + llvm::join(names, ", "));
  copyForDevices(module);
  std::vector<Part> parts;
  if (llvm::Error error = translate(module, parts))
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

int Driver::run() {
  auto created =
      TargetInfo::createLevels(options.triple, options.cpu, options.features);
  if (!created)
    return fail(created.takeError());
  targets = std::move(*created);
  llvm::Triple host(llvm::sys::getProcessTriple());
  const llvm::Triple &triple = targets.front().getMachine().getTargetTriple();
  bool links =
      options.emit == Emit::SharedLibrary || options.emit == Emit::Executable;
  if (links && options.compiler.empty() && triple.getArch() != host.getArch())
    return fail(llvm::createStringError(
        "linking for " + triple.str() +
        " needs a C compiler for it: name one by --cc, or make an object file "
        "by --emit=obj"));
  // Before what takes time.
  for (const DeviceInfo &device : options.devices)
    if (auto machine = device.createMachine(); !machine)
      return fail(machine.takeError());
  for (Phase phase : options.getPhases()) {
    mlir::PassManager pm = createPassManager();
    if (llvm::Error error = addInsertions(pm, phase))
      return fail(std::move(error));
  }
  mlir::OwningOpRef<mlir::ModuleOp> module = import();
  if (!module) {
    progress.finish("failed");
    return 1;
  }
  for (Phase phase : options.getPhases()) {
    if (phase != Phase::AfterImport)
      progress.step(describePhase(phase));
    if (llvm::Error error = phase > Phase::AfterBufferize
                                ? runPhaseOfTargets(*module, phase)
                                : runPhase(*module, phase))
      return fail(std::move(error));
    if (phase == Phase::AfterRaise && !options.explain.empty())
      if (llvm::Error error = explain(*module))
        return fail(std::move(error));
    // They are written while other phases run.
    if (!info.weightsSize && areWeightsKnown(phase))
      if (llvm::Error error = startWeights(*module))
        return fail(std::move(error));
  }
  if (llvm::Error error =
          options.emit == Emit::IR
              ? emitIR(options.pipeline.hasProcessor || deviceModules.empty()
                           ? *module
                           : *deviceModules.front())
              : emitArtifact(*module))
    return fail(std::move(error));
  progress.finish();
  progress.note(llvm::formatv("done in {0:f2} s", progress.elapsed()).str());
  return 0;
}

/// Loads plugins and custom ops; what they register is known before pipelines
/// are parsed and models are read.
static llvm::Error loadPlugins(const DriverOptions &options,
                               mlir::DialectRegistry &registry) {
  for (const std::string &path : options.dialectPlugins) {
    auto plugin = mlir::DialectPlugin::load(path);
    if (!plugin)
      return plugin.takeError();
    plugin->registerDialectRegistryCallbacks(registry);
  }
  for (const std::string &path : options.passPlugins) {
    auto plugin = mlir::PassPlugin::load(path);
    if (!plugin)
      return plugin.takeError();
    plugin->registerPassRegistryCallbacks();
  }
  // After plugins: the user's word counts.
  for (const std::string &path : options.customOps)
    if (llvm::Error error = wkv::loadCustomOps(path))
      return error;
  return llvm::Error::success();
}

int main(int argc, char **argv) {
  llvm::InitLLVM init(argc, argv);
  // A file beyond the user's limit is an error of the write, not a signal.
  std::signal(SIGXFSZ, SIG_IGN);
  DriverOptions options = parseCommandLine(argc, argv);
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  mlir::registerAllToLLVMIRTranslations(registry);
  mlir::registerAllPasses();
  rwkvc::registerAllDialects(registry);
  rwkvc::registerAllPasses();
  if (llvm::Error error = loadPlugins(options, registry)) {
    llvm::WithColor::error(llvm::errs(), "rwkvc")
        << llvm::toString(std::move(error)) << "\n";
    return 1;
  }
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  // Computed into the weights file.
  deferConstants(context);
  return Driver(options, context).run();
}
