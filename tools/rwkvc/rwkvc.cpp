//===- rwkvc.cpp - Compiles ONNX RWKV models to native code ---------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ArtifactWriter.h"
#include "Progress.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Target/LLVMIR/Dialect/All.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "rwkvc/AOT/WeightsFile.h"
#include "rwkvc/Dialect/WKV/IR/CustomOps.h"
#include "rwkvc/Dialect/WKV/Transforms/Explain.h"
#include "rwkvc/Import/Import.h"
#include "rwkvc/InitAll.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/Triple.h"

#include <csignal>

using namespace rwkvc;

namespace {

class Driver {
public:
  Driver(const DriverOptions &options, mlir::MLIRContext &context)
      : options(options), context(context),
        progress(options.quiet, countSteps(options)),
        artifact(options, targets, context, progress) {
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
  void divideModel(Phase phase);
  llvm::Error runPhaseOfTargets(Phase phase);
  Models getModels();
  llvm::Error emitIR(mlir::ModuleOp module);
  llvm::Error explain(mlir::ModuleOp module);
  bool areWeightsKnown(Phase phase) const;

  const DriverOptions &options;
  mlir::MLIRContext &context;
  Progress progress;
  std::vector<TargetInfo> targets; ///< the least first
  /// Of all targets, and once the phases' turn is that differ, the processor's,
  /// or null.
  mlir::OwningOpRef<mlir::ModuleOp> model;
  /// Of all devices, and once it is the phases' turn that differ for them, of
  /// each.
  std::vector<mlir::OwningOpRef<mlir::ModuleOp>> deviceModels;
  llvm::StringSet<> reported; ///< notes
  ArtifactWriter artifact;
};

} // namespace

/// Prints a message of the compiler with the file or node it is about.
void Driver::report(mlir::Diagnostic &diagnostic) {
  bool isError = diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error;
  if (!isError && options.quiet)
    return;
  std::string message = diagnostic.str(), place;
  mlir::Location location = diagnostic.getLocation();
  if (auto node = location->findInstanceOf<mlir::NameLoc>())
    place = ("node '" + node.getName().getValue() + "'").str();
  else if (auto file = location->findInstanceOf<mlir::FileLineColLoc>())
    place = file.getFilename().str();
  if (!place.empty() && !llvm::StringRef(message).contains(place))
    message = place + ": " + message;
  // What the processor's passes find, the devices' find too.
  if (!isError && !reported.insert(message).second)
    return;
  progress.finish(isError ? "failed" : "");
  if (isError)
    llvm::WithColor::error(llvm::errs(), "rwkvc");
  else
    llvm::WithColor::note(llvm::errs());
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
    // The processor's module has the same weights.
    if (options.hasProcessor)
      pipeline.quantizeReport.clear();
  }
  pipeline.vectorBits = targets.front().getVectorBits();
  pipeline.dotProducts = targets.front().getDotProducts().str();
  pipeline.streamedBytes = targets.front().getStreamedBytes();
  for (const TargetInfo &target : targets) {
    Level level{target.getName().str(), target.getVectorBits(),
                target.getDotProducts().str(), target.getStreamedBytes()};
    for (auto [i, other] : llvm::enumerate(pipeline.levels))
      if (other.base < 0 && target.extendsDotProducts(targets[i]))
        level.base = static_cast<int64_t>(i);
    pipeline.levels.push_back(level);
  }
  // A program is to run where nothing is installed.
  pipeline.useDnnl = options.oneDNN.value_or(
      options.emit != Emit::Executable &&
      llvm::sys::fs::exists(findRuntimeDir() + "/librwkvc-rt-dnnl.so"));
  pipeline.preferDnnl = options.oneDNN.value_or(false);
  // Devices have no library.
  pipeline.useDnnl &= !device;
  buildPhase(pm, phase, pipeline);
  if (llvm::Error error = addInsertions(pm, phase))
    return error;
  if (failed(pm.run(module)) || failed(mlir::verify(module)))
    return llvm::createStringError("the model could not be compiled; phase '" +
                                   stringifyPhase(phase) + "' failed");
  return llvm::Error::success();
}

/// Gives the targets that \p phase tells apart copies of the model.
void Driver::divideModel(Phase phase) {
  if (options.devices.empty() || phase <= Phase::AfterWKV)
    return;
  if (deviceModels.empty()) {
    mlir::OwningOpRef<mlir::ModuleOp> copy;
    if (options.hasProcessor)
      copy = model->clone();
    else
      copy = std::move(model);
    deviceModels.push_back(std::move(copy));
  }
  if (phase > Phase::AfterBufferize)
    while (deviceModels.size() < options.devices.size())
      deviceModels.emplace_back(deviceModels.front()->clone());
}

/// The same for each target that it tells apart.
llvm::Error Driver::runPhaseOfTargets(Phase phase) {
  divideModel(phase);
  for (auto [device, copy] : llvm::zip(options.devices, deviceModels))
    if (llvm::Error error = runPhase(*copy, phase, &device))
      return error;
  if (model)
    if (llvm::Error error = runPhase(*model, phase))
      return error;
  if (phase != Phase::BeforeBufferize || !model || deviceModels.empty())
    return llvm::Error::success();
  if (failed(aot::shareWeights(*model, *deviceModels.front())))
    return llvm::createStringError(
        "the processor and devices cannot share weights");
  return llvm::Error::success();
}

Models Driver::getModels() {
  Models models{model.get(), {}};
  for (mlir::OwningOpRef<mlir::ModuleOp> &device : deviceModels)
    models.devices.push_back(*device);
  return models;
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

/// Whether what follows \p phase leaves the weights as they are.
bool Driver::areWeightsKnown(Phase phase) const {
  return options.emit != Emit::IR && phase >= Phase::BeforeBufferize &&
         llvm::none_of(options.insertions, [&](const auto &inserted) {
           return inserted.first > phase;
         });
}

int Driver::run() {
  const PipelineOptions &pipeline = options.pipeline;
  auto created = TargetInfo::createLevels(
      options.triple, options.cpu, options.features,
      pipeline.roundActivations      ? ActivationKind::BF16
      : pipeline.activationBits == 8 ? ActivationKind::Bytes
                                     : ActivationKind::Others);
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
  model = import();
  if (!model) {
    progress.finish("failed");
    return 1;
  }
  for (Phase phase : options.getPhases()) {
    if (phase != Phase::AfterImport)
      progress.step(describePhase(phase));
    if (llvm::Error error = runPhaseOfTargets(phase))
      return fail(std::move(error));
    if (phase == Phase::AfterRaise && !options.explain.empty())
      if (llvm::Error error = explain(*model))
        return fail(std::move(error));
    // They are written while other phases run.
    if (areWeightsKnown(phase))
      if (llvm::Error error = artifact.startWeights(getModels()))
        return fail(std::move(error));
  }
  // Of IR that is after the last one.
  if (options.emit != Emit::IR)
    divideModel(kLastPhase);
  if (llvm::Error error = options.emit == Emit::IR
                              ? emitIR(model ? *model : *deviceModels.front())
                              : artifact.write(getModels()))
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
