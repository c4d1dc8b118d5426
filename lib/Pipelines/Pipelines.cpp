//===- Pipelines.cpp - The phases of a compilation ------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Pipelines/Pipelines.h"
#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/Transforms/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "rwkvc/AOT/Passes.h"
#include "rwkvc/Conversion/Passes.h"
#include "rwkvc/Dialect/Dnnl/Transforms/Passes.h"
#include "rwkvc/Dialect/ONNX/Transforms/Passes.h"
#include "rwkvc/Dialect/WKV/Transforms/Passes.h"
#include "rwkvc/Pipelines/Passes.h"
#include "rwkvc/Target/CPU/Passes.h"
#include "rwkvc/Target/DeviceInfo.h"
#include "rwkvc/Target/GPU/Passes.h"
#include "rwkvc/Transforms/Passes.h"
#include <limits>

using namespace mlir;
using namespace rwkvc;

namespace {

/// One entry per phase, in order.
struct PhaseInfo {
  Phase phase;
  StringRef name, description;
  std::vector<std::string> dialects;
  /// More of them where the phase is for a device.
  std::vector<std::string> deviceDialects = {};
};

} // namespace

static ArrayRef<PhaseInfo> phases() {
  static const std::vector<PhaseInfo> table = {
      {Phase::AfterImport,
       "after-import",
       "the model as ONNX operators",
       {"func", "onnx"}},
      {Phase::AfterRaise,
       "after-raise",
       "recurrences, norms and decays recognised",
       {"func", "onnx", "wkv", "tensor"}},
      {Phase::AfterWKV,
       "after-wkv",
       "the wkv dialect among linear algebra",
       {"func", "wkv", "linalg", "tensor", "arith", "math", "scf",
        "bufferization"}},
      {Phase::BeforeBufferize,
       "before-bufferize",
       "linear algebra on tensors",
       {"func", "linalg", "dnnl", "tensor", "arith", "math", "scf",
        "bufferization", "memref"}},
      {Phase::AfterBufferize,
       "after-bufferize",
       "linear algebra on memory",
       {"func", "linalg", "dnnl", "memref", "arith", "math", "scf"}},
      {Phase::BeforeLLVM,
       "before-llvm",
       "kernels as loops over vectors",
       {"builtin", "func", "memref", "vector", "amx", "dnnl", "arith", "math",
        "scf", "affine", "llvm"},
       {"gpu"}},
      {Phase::LLVM, "llvm", "the LLVM dialect", {"builtin", "llvm"}, {"func"}}};
  return table;
}

StringRef rwkvc::stringifyPhase(Phase phase) {
  return phases()[static_cast<unsigned>(phase)].name;
}

StringRef rwkvc::describePhase(Phase phase) {
  return phases()[static_cast<unsigned>(phase)].description;
}

std::optional<Phase> rwkvc::symbolizePhase(StringRef name) {
  for (const PhaseInfo &info : phases())
    if (info.name == name)
      return info.phase;
  return std::nullopt;
}

ArrayRef<StringRef> rwkvc::getOptionalPasses() {
  // clang-format off
  static constexpr StringRef names[] = {
      "wkv-fold-embedding-norm",
      "rwkvc-merge-forms",
      "wkv-tile-token-shifts",
      "wkv-fuse-token-shift",
      "wkv-pad-token-shifts",
      "wkv-tile-norms",
      "rwkvc-fuse-elementwise",
      "rwkvc-batch-products",
      "rwkvc-fold-add-into-dest",
      "rwkvc-fuse-into-parallel-loops",
      "rwkvc-skip-padding",
      "rwkvc-group-kernels",
      "dnnl-fuse-epilogues",
      "cpu-quantize-activations",
      "cpu-round-activations",
      "cpu-skip-zero-rows",
      "cpu-pack-matrices",
      "cpu-pad-rows",
      "cpu-prefetch-rows",
      "gpu-distribute-recurrences",
      "gpu-share-tensors",
      "gpu-chain-kernels",
      "gpu-append-chains",
      "gpu-unroll-private-loops",
      "gpu-unroll-reductions",
      "gpu-annotate-arguments",
  };
  // clang-format on
  return names;
}

/// Adds \p pass , one of `getOptionalPasses()`, unless it is to be skipped.
static void addOptional(OpPassManager &pm, const PipelineOptions &options,
                        std::unique_ptr<Pass> pass) {
  assert(llvm::is_contained(getOptionalPasses(), pass->getArgument()));
  if (!llvm::is_contained(options.skippedPasses, pass->getArgument()))
    pm.addPass(std::move(pass));
}

/// In each function, several at a time.
static void addCleanup(OpPassManager &pm) {
  OpPassManager *functions = &pm;
  if (pm.getOpName() == ModuleOp::getOperationName())
    functions = &pm.nest<func::FuncOp>();
  functions->addPass(createCanonicalizerPass());
  functions->addPass(createCSEPass());
}

/// In: func, onnx as imported. Out: the same, static and folded.
static void buildImport(OpPassManager &pm) {
  pm.addPass(onnx::createLowerSequences());
  pm.addPass(onnx::createExpandBlockQuantized());
  pm.addPass(onnx::createSimplifyShapes());
  pm.addPass(onnx::createGatherQuantized());
  addCleanup(pm);
}

/// In: func, onnx. Out: func, onnx, wkv, and tensor.empty for what recurrences
/// write.
static void buildRaise(OpPassManager &pm) {
  wkv::buildRaisePipeline(pm);
  pm.addPass(aot::createDescribeInterface());
}

/// Which functions there are is decided: describes them to their callers.
static void buildInterface(OpPassManager &pm, const PipelineOptions &options) {
  aot::SelectFormsOptions select;
  llvm::append_range(select.forms, options.forms);
  pm.addPass(aot::createSelectForms(select));
  pm.addPass(aot::createDescribeInterface());
  addOptional(pm, options, aot::createMergeForms());
}

/// Adds the functions that are asked for beside the file's own.
static void buildForms(OpPassManager &pm, const PipelineOptions &options) {
  auto isWanted = [&](StringRef form) {
    return options.forms.empty() || llvm::is_contained(options.forms, form);
  };
  bool wantsBlocks = isWanted("prefill") && options.prefillBlock > 0;
  if (!wantsBlocks && !isWanted("step"))
    return;
  pm.addPass(wkv::createExposeStates());
  pm.addPass(wkv::createRestrictToStep());
  pm.addPass(wkv::createRestrictToText());
  wkv::LiftToSequenceOptions lift;
  lift.batch = options.batch;
  lift.block = wantsBlocks ? options.prefillBlock : 0;
  lift.allLogits = options.allLogits;
  pm.addPass(wkv::createLiftToSequence(lift));
  addCleanup(pm);
}

/// In: func, onnx, wkv, tensor.empty. Out: wkv among linalg and its friends on
/// tensors, in all functions.
static void buildWKV(OpPassManager &pm, const PipelineOptions &options) {
  pm.addPass(createConvertONNXToLinalgPass());
  addCleanup(pm);
  addOptional(pm, options, wkv::createFoldEmbeddingNorm());
  buildForms(pm, options);
  buildInterface(pm, options);
  wkv::ChooseChunkOptions chunks;
  chunks.form = options.wkvForm;
  chunks.chunkLength = options.wkvChunk;
  pm.addPass(wkv::createChooseChunk(chunks));
}

/// In: wkv, linalg and its friends. Out: the same without wkv, with the entry's
/// arguments in memory.
static void buildLinalg(OpPassManager &pm, const PipelineOptions &options) {
  wkv::TileTokenShiftsOptions shifts;
  wkv::TileNormsOptions norms;
  // A device has more workgroups to fill than a processor has threads.
  if (options.isForDevice())
    shifts.rows = norms.rows = 2;
  addOptional(pm, options, wkv::createTileTokenShifts(shifts));
  addOptional(pm, options, wkv::createFuseTokenShift());
  addOptional(pm, options, wkv::createPadTokenShifts());
  addOptional(pm, options, wkv::createTileNorms(norms));
  ConvertWKVToLinalgPassOptions around;
  around.keepRecurrences = true;
  pm.addPass(createConvertWKVToLinalgPass(around));
  addCleanup(pm);
  // Before the small ones are fused into some products and not into others.
  pm.addPass(createKeepQuantized());
  addCleanup(pm);
  addOptional(pm, options, createFuseElementwise());
  addCleanup(pm);
  addOptional(pm, options, createBatchProducts());
  // Before a loop takes the sum in.
  addOptional(pm, options, createFoldAddIntoDest());
  addCleanup(pm);
  if (!options.quantize.empty()) {
    QuantizeWeightsOptions weights;
    weights.format = options.quantize;
    weights.report = options.quantizeReport;
    pm.addPass(createQuantizeWeights(weights));
    addCleanup(pm);
  }
  wkv::TileRecurrencesOptions tiles;
  tiles.minTokens = 1;
  pm.addPass(wkv::createTileRecurrences(tiles));
  FuseIntoParallelLoopsOptions loops;
  // A token's low-rank projections, not what all threads should share.
  loops.maxProductSize = 1 << 18;
  addOptional(pm, options, createFuseIntoParallelLoops(loops));
  if (options.isForDevice())
    addOptional(pm, options, rwkvc::gpu::createDistributeRecurrences());
  pm.addPass(createConvertWKVToLinalgPass());
  addCleanup(pm);
  // What the recurrences became, with what is now beside it.
  addOptional(pm, options, createFuseElementwise());
  addCleanup(pm);
  // While the weights are still constants.
  auto addDnnl = [&] {
    ConvertLinalgToDnnlPassOptions large;
    large.minFlops = options.dnnlMinFlops;
    pm.addPass(createConvertLinalgToDnnlPass(large));
    addOptional(pm, options, dnnl::createFuseEpilogues());
    addCleanup(pm);
  };
  if (options.useDnnl && options.preferDnnl)
    addDnnl();
  // Devices multiply floats as fast.
  if (int64_t bits =
          options.activationBits.value_or(options.isForDevice() ? 0 : 16)) {
    cpu::QuantizeActivationsOptions activations;
    activations.bits = bits;
    addOptional(pm, options, cpu::createQuantizeActivations(activations));
  }
  if (options.roundActivations && !options.isForDevice())
    addOptional(pm, options, cpu::createRoundActivations());
  // Its loop has no more parts than a processor has threads.
  if (!options.isForDevice())
    addOptional(pm, options, cpu::createSkipZeroRows());
  cpu::PackMatricesOptions parts;
  // What a workgroup computes with its values in registers.
  if (options.isForDevice())
    parts.rows = 64;
  addOptional(pm, options, cpu::createPackMatrices(parts));
  addCleanup(pm);
  // What follows products, in their loops.
  addOptional(pm, options, createFuseIntoParallelLoops());
  addCleanup(pm);
  if (options.useDnnl && !options.preferDnnl)
    addDnnl();
  pm.addPass(aot::createEntryABI());
  pm.addPass(aot::createSkipUnwantedLogits());
  if (!options.isForDevice())
    addOptional(pm, options, aot::createSkipPadding());
  aot::ExternalizeWeightsOptions weights;
  // All that kernels read is in the device's memory.
  if (options.isForDevice()) {
    weights.splats = true;
    weights.minBytes = 1;
  }
  pm.addPass(aot::createExternalizeWeights(weights));
  pm.addPass(createCSEPass());
}

/// In: tensors. Out: buffers in one workspace.
static void buildBufferize(OpPassManager &pm, const PipelineOptions &options) {
  pm.addPass(createUnshareDestinations());
  // In each function, several at a time.
  OpPassManager &tensors = pm.nest<func::FuncOp>();
  tensors.addPass(bufferization::createEmptyTensorEliminationPass());
  if (options.isForDevice()) {
    tensors.addPass(rwkvc::gpu::createPrivatizeTensors());
    addOptional(tensors, options, rwkvc::gpu::createShareTensors());
  }
  tensors.addPass(bufferization::createEmptyTensorToAllocTensorPass());
  if (!options.isForDevice())
    addOptional(tensors, options, cpu::createPadRows());
  pm.addPass(bufferization::createOneShotBufferizePass());
  addCleanup(pm);
  OpPassManager &funcs = pm.nest<func::FuncOp>();
  funcs.addPass(bufferization::createBufferHoistingPass());
  GroupKernelsOptions groups;
  // One launch fills a device better than several.
  if (options.isForDevice())
    groups.maxMeanWork = std::numeric_limits<int64_t>::max();
  addOptional(pm, options, createGroupKernels(groups));
  pm.addPass(createPlanMemory());
  addCleanup(pm);
}

/// In: linalg on buffers. Out: kernels as functions of vector code, in a module
/// for each of several levels.
static void buildKernels(OpPassManager &pm, const PipelineOptions &options) {
  pm.addPass(createOutlineKernels());
  pm.addPass(func::createDuplicateFunctionEliminationPass());
  addOptional(pm, options, cpu::createPrefetchRows());
  cpu::VectorizeKernelsOptions vectorize;
  vectorize.vectorBits = options.vectorBits;
  vectorize.dotProducts = options.dotProducts;
  vectorize.streamedBytes = options.streamedBytes;
  vectorize.minParallelWork = options.minParallelWork;
  if (options.levels.size() > 1) {
    cpu::CloneKernelsOptions clone;
    for (const Level &level : options.levels) {
      clone.levels.push_back(level.name);
      clone.vectorBits.push_back(level.vectorBits);
      clone.bases.push_back(level.base);
      clone.dotProducts.push_back(level.dotProducts);
      clone.streamedBytes.push_back(level.streamedBytes);
    }
    pm.addPass(cpu::createCloneKernels(clone));
    OpPassManager &levels = pm.nest<ModuleOp>();
    levels.addPass(cpu::createVectorizeKernels(vectorize));
    addCleanup(levels);
  }
  pm.addPass(cpu::createVectorizeKernels(vectorize));
  addCleanup(pm);
}

/// In: linalg on buffers. Out: launches of kernels, and these in a module, as
/// what a thread does.
static void buildDeviceKernels(OpPassManager &pm,
                               const PipelineOptions &options) {
  pm.addPass(rwkvc::gpu::createSinkScalars());
  addCleanup(pm);
  addOptional(pm, options, rwkvc::gpu::createChainKernels());
  addOptional(pm, options, rwkvc::gpu::createAppendChains());
  OutlineKernelsOptions outline;
  outline.keepRegions = true;
  pm.addPass(createOutlineKernels(outline));
  pm.addPass(func::createDuplicateFunctionEliminationPass());
  rwkvc::gpu::DistributeKernelsOptions distribute;
  distribute.matrixUnits = options.matrixUnits;
  pm.addPass(rwkvc::gpu::createDistributeKernels(distribute));
  addCleanup(pm);
  OpPassManager &kernels =
      pm.nest<mlir::gpu::GPUModuleOp>().nest<mlir::gpu::GPUFuncOp>();
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
  if (const DeviceKind *kind = findDeviceKind(options.device);
      kind && kind->isPortable) {
    kernels.addPass(rwkvc::gpu::createRematerializeIndices());
  } else {
    addOptional(kernels, options, rwkvc::gpu::createUnrollPrivateLoops());
    addOptional(kernels, options, rwkvc::gpu::createUnrollReductions());
  }
}

/// MLIR's lowerings of all but dnnl, function by function where they can. On
/// devices there is no C library, and buffers are bare addresses.
static void addLowering(OpPassManager &pm, const DeviceKind *kind = nullptr) {
  OpPassManager &early = pm.nest<func::FuncOp>();
  ExpandMathOptions math;
  math.hasLibrary = !kind || kind->hasMath;
  early.addPass(createExpandMath(math));
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  early.addPass(arith::createArithExpandOpsPass(expand));
  early.addPass(memref::createExpandStridedMetadataPass());
  early.addPass(createLowerAffinePass());
  addCleanup(early);
  // The lowering of vectors merges equal blocks for different buffers. On
  // devices that costs registers, and SPIR-V's back end knows no choice of
  // buffers.
  if (!kind)
    early.addPass(createSCFToControlFlowPass());
  ConvertVectorToLLVMPassOptions vector;
  vector.reassociateFPReductions = true;
  vector.amx = !kind;
  early.addPass(createConvertVectorToLLVMPass(vector));
  early.addPass(createConvertMathToLLVMPass());
  if (kind)
    early.addPass(createSCFToControlFlowPass());
  if (!kind)
    pm.addPass(createConvertMathToLibmPass());
  pm.addPass(createFinalizeMemRefToLLVMConversionPass());
  OpPassManager &late = pm.nest<func::FuncOp>();
  late.addPass(createConvertIndexToLLVMPass());
  late.addPass(createArithToLLVMConversionPass());
  // Loops of processors carry AMX's tiles, which the pass for control flow
  // alone does not know.
  ConvertToLLVMPassOptions blocks;
  blocks.filterDialects = {"amx", "cf"};
  pm.addPass(kind ? createConvertControlFlowToLLVMPass()
                  : createConvertToLLVMPass(blocks));
  ConvertFuncToLLVMPassOptions functions;
  functions.useBarePtrCallConv = kind != nullptr;
  pm.addPass(createConvertFuncToLLVMPass(functions));
  OpPassManager &last = pm.nest<LLVM::LLVMFuncOp>();
  last.addPass(createReconcileUnrealizedCastsPass());
  addCleanup(last);
}

/// In: vectors, buffers, loops. Out: the LLVM dialect.
static void buildLLVM(OpPassManager &pm) {
  pm.addPass(createConvertDnnlToRuntimePass());
  addLowering(pm.nest<ModuleOp>());
  addLowering(pm);
  pm.addPass(cpu::createDispatchKernels());
}

/// In: launches of kernels. Out: lists of launches, and kernels in the LLVM
/// dialect.
static void buildDeviceLLVM(OpPassManager &pm, const PipelineOptions &options) {
  pm.addPass(aot::createRecordLaunches());
  addOptional(pm, options, rwkvc::gpu::createAnnotateArguments());
  rwkvc::gpu::LowerKernelsOptions lower;
  lower.target = options.device;
  lower.matrixUnits = options.matrixUnits;
  lower.hasMatrixUnits = options.hasMatrixUnits;
  pm.addPass(rwkvc::gpu::createLowerKernels(lower));
  addLowering(pm.nest<ModuleOp>(), findDeviceKind(options.device));
}

void rwkvc::buildPhase(OpPassManager &pm, Phase phase,
                       const PipelineOptions &options) {
  switch (phase) {
  case Phase::AfterImport:
    buildImport(pm);
    break;
  case Phase::AfterRaise:
    buildRaise(pm);
    break;
  case Phase::AfterWKV:
    buildWKV(pm, options);
    break;
  case Phase::BeforeBufferize:
    buildLinalg(pm, options);
    break;
  case Phase::AfterBufferize:
    buildBufferize(pm, options);
    break;
  case Phase::BeforeLLVM:
    if (options.isForDevice())
      buildDeviceKernels(pm, options);
    else
      buildKernels(pm, options);
    break;
  case Phase::LLVM:
    if (options.isForDevice())
      buildDeviceLLVM(pm, options);
    else
      buildLLVM(pm);
    break;
  }
  const PhaseInfo &info = phases()[static_cast<unsigned>(phase)];
  VerifyPhaseOptions verify;
  verify.phase = info.name.str();
  for (const std::string &dialect : info.dialects)
    verify.dialects.push_back(dialect);
  if (options.isForDevice())
    for (const std::string &dialect : info.deviceDialects)
      verify.dialects.push_back(dialect);
  pm.addPass(createVerifyPhase(verify));
}

namespace {

/// Those of PipelineOptions that a textual pipeline may set.
struct TextOptions : PassPipelineOptions<TextOptions> {
  const PipelineOptions defaults;
  Option<std::string> device{
      *this, "device",
      llvm::cl::desc("Kind of device to compile for: spirv, nvptx or amdgpu; "
                     "none: a processor")};
  Option<std::string> matrixUnits{
      *this, "matrix-units",
      llvm::cl::desc("Units for small matrices that kernels use, as for "
                     "gpu-distribute-kernels")};
  Option<bool> hasMatrixUnits{
      *this, "has-matrix-units",
      llvm::cl::desc("The device has these; otherwise the same in software"),
      llvm::cl::init(defaults.hasMatrixUnits)};
  Option<int64_t> vectorBits{*this, "vector-bits",
                             llvm::cl::desc("Width of a vector register"),
                             llvm::cl::init(defaults.vectorBits)};
  Option<std::string> dotProducts{
      *this, "dot-products",
      llvm::cl::desc("Instructions that add products of integers of 8 bits: "
                     "generic, avx2, avx512bw or vnni; or bf16: vnni, and one "
                     "for pairs of bf16; or amx: these, and tiles of both"),
      llvm::cl::init(defaults.dotProducts)};
  Option<int64_t> streamedBytes{
      *this, "streamed-bytes",
      llvm::cl::desc("Bytes of all weights from which they are fetched past "
                     "the larger caches; 0: never"),
      llvm::cl::init(defaults.streamedBytes)};
  Option<int64_t> activationBits{
      *this, "activation-bits",
      llvm::cl::desc("Bits of activations beside integer weights: 16 or 8; 0: "
                     "floating point (default: 16, for a device 0)")};
  Option<bool> roundActivations{
      *this, "round-activations",
      llvm::cl::desc("Activations become bf16 where weights are"),
      llvm::cl::init(defaults.roundActivations)};
  Option<int64_t> minParallelWork{
      *this, "min-parallel-work",
      llvm::cl::desc("Scalar operations from which a kernel is split over "
                     "threads; 0: never"),
      llvm::cl::init(defaults.minParallelWork)};
  Option<bool> useDnnl{*this, "use-dnnl",
                       llvm::cl::desc("Large matrix products by oneDNN"),
                       llvm::cl::init(defaults.useDnnl)};
  Option<int64_t> batch{*this, "batch",
                        llvm::cl::desc("Texts that derived forms compute at "
                                       "once; 0: as many as the file"),
                        llvm::cl::init(defaults.batch)};
  Option<int64_t> prefillBlock{*this, "prefill-block",
                               llvm::cl::desc("Tokens of a block; 0: no form "
                                              "for blocks"),
                               llvm::cl::init(defaults.prefillBlock)};
  Option<bool> allLogits{*this, "all-logits",
                         llvm::cl::desc("Logits after every token of a block"),
                         llvm::cl::init(defaults.allLogits)};
  ListOption<std::string> forms{
      *this, "forms",
      llvm::cl::desc("Functions to keep: original, step, prefill")};
  Option<std::string> wkvForm{
      *this, "wkv-form",
      llvm::cl::desc("Form of recurrences: auto, recurrent or chunked"),
      llvm::cl::init(defaults.wkvForm)};
  Option<int64_t> wkvChunk{*this, "wkv-chunk",
                           llvm::cl::desc("Tokens of a chunk; 0: by cost"),
                           llvm::cl::init(defaults.wkvChunk)};

  PipelineOptions get() const {
    PipelineOptions options;
    options.device = device;
    options.hasMatrixUnits = hasMatrixUnits;
    options.matrixUnits = matrixUnits;
    options.vectorBits = vectorBits;
    options.dotProducts = dotProducts;
    options.streamedBytes = streamedBytes;
    options.roundActivations = roundActivations;
    if (activationBits.getNumOccurrences())
      options.activationBits = activationBits;
    options.minParallelWork = minParallelWork;
    options.useDnnl = options.preferDnnl = useDnnl;
    options.batch = batch;
    options.prefillBlock = prefillBlock;
    options.allLogits = allLogits;
    options.forms.assign(forms.begin(), forms.end());
    options.wkvForm = wkvForm;
    options.wkvChunk = wkvChunk;
    return options;
  }
};

} // namespace

void rwkvc::registerPipelines() {
  registerRWKVCPipelinesPasses();
  for (const PhaseInfo &info : phases())
    PassPipelineRegistration<TextOptions>(
        ("rwkvc-to-" + info.name).str(), ("Leads to " + info.description).str(),
        [phase = info.phase](OpPassManager &pm, const TextOptions &options) {
          buildPhase(pm, phase, options.get());
        });
}
