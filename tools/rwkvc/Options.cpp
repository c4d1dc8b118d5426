//===- Options.cpp - The command line of rwkvc ----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Options.h"
#include "rwkvc/Transforms/Passes.h"
#include "rwkvc/Transforms/WeightRecipe.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/WithColor.h"

using namespace rwkvc;
namespace cl = llvm::cl;

[[noreturn]] static void fail(const llvm::Twine &message) {
  llvm::WithColor::error(llvm::errs(), "rwkvc") << message << "\n";
  exit(1);
}

namespace {

/// A word of --emit: what it gives, and the file suffix that means it.
struct EmitKind {
  llvm::StringRef name;
  Emit emit;
  llvm::StringRef suffix, description;
};

/// Beyond it, buffers of a large model's block are larger than memory.
constexpr int64_t kMaxPrefillBlock = 1 << 16;

constexpr EmitKind kEmitKinds[] = {
    {"so", Emit::SharedLibrary, ".so", "shared library, for rwkv-run"},
    {"exe", Emit::Executable, "", "program that generates text by itself"},
    {"obj", Emit::Object, ".o", "object file"},
    {"lib", Emit::StaticLibrary, ".a", "static library"},
    {"asm", Emit::Assembly, ".s", "assembly"},
    {"llvm-ir", Emit::LLVMIR, ".ll", "LLVM IR"},
};

} // namespace

static std::string describeEmit() {
  std::string text = "What to produce (default: what the suffix of -o says):";
  for (const EmitKind &kind : kEmitKinds)
    text += ("\n  " + kind.name + ": " + kind.description).str();
  text += "\nor the model's intermediate representation after a phase:";
  for (int i = 0; i <= static_cast<int>(kLastPhase); ++i) {
    auto phase = static_cast<Phase>(i);
    text +=
        ("\n  " + stringifyPhase(phase) + ": " + describePhase(phase)).str();
  }
  return text;
}

/// Sets emit and phase from --emit, or from the suffix of the output's name.
static void chooseEmit(llvm::StringRef name, DriverOptions &options) {
  if (auto phase = symbolizePhase(name)) {
    options.emit = Emit::IR;
    options.phase = *phase;
    return;
  }
  llvm::StringRef suffix = llvm::sys::path::extension(options.output);
  for (const EmitKind &kind : kEmitKinds)
    if (name.empty() ? kind.suffix == suffix : kind.name == name) {
      options.emit = kind.emit;
      return;
    }
  if (!name.empty())
    fail("--emit=" + name + ": unknown; rwkvc --help lists what there is");
  fail("cannot tell from the name '" + options.output +
       "' what to produce; use a suffix .so, .o, .a, .s or .ll, or --emit");
}

std::vector<Phase> DriverOptions::getPhases() const {
  // IR after import may still have what its passes remove.
  int first = from && *from != Phase::AfterImport ? int(*from) + 1 : 0;
  int last = int(emit == Emit::IR ? phase : kLastPhase);
  std::vector<Phase> phases;
  for (int i = first; i <= last; ++i)
    phases.push_back(static_cast<Phase>(i));
  return phases;
}

/// Sets what is to run the model.
static void chooseTargets(llvm::StringRef names, DriverOptions &options) {
  std::string devices;
  options.hasProcessor = false;
  for (llvm::StringRef name : llvm::split(names, ',')) {
    if (name == "cpu")
      options.hasProcessor = true;
    else
      devices += (devices.empty() ? "" : ",") + name.str();
  }
  if (devices.empty())
    return;
  auto parsed = DeviceInfo::parse(devices);
  if (!parsed)
    fail("--target=" + names + ": " + toString(parsed.takeError()) +
         ", and cpu");
  options.devices = std::move(*parsed);
  // A phase that the targets share has one form for all of them.
  auto isShared = [&](Phase phase) {
    bool isOne = options.devices.size() + options.hasProcessor == 1;
    return isOne || phase <= (options.hasProcessor ? Phase::AfterWKV
                                                   : Phase::AfterBufferize);
  };
  if ((options.emit == Emit::IR || isText(options.emit)) &&
      !isShared(options.emit == Emit::IR ? options.phase : kLastPhase))
    fail("--target=" + names +
         ": this form of a model is for one target; name one");
  if (options.from && !isShared(*options.from))
    fail("--target=" + names +
         ": the model is for one target after the phase " +
         stringifyPhase(*options.from) + "; name it");
}

/// Refuses what asks for a phase that is not run.
static void checkPhases(const DriverOptions &options) {
  if (options.from && options.emit == Emit::IR && options.phase < *options.from)
    fail("--emit=" + stringifyPhase(options.phase) +
         ": the model is after this phase already; expected " +
         stringifyPhase(*options.from) + " or a later one");
  std::vector<Phase> phases = options.getPhases();
  if (!options.explain.empty() &&
      !llvm::is_contained(phases, Phase::AfterRaise))
    fail("--explain tells what the phase after-raise does, which --from or "
         "--emit leaves out");
  for (const auto &[phase, pipelines] : options.insertions)
    if (!llvm::is_contained(phases, phase))
      fail("--insert-pass=" + stringifyPhase(phase) + ":" + pipelines.front() +
           ": this phase is left out by --from or --emit");
}

DriverOptions rwkvc::parseCommandLine(int argc, char **argv) {
  // LLVM's libraries register options of their own, for compiler developers;
  // this tool's command line has only those below.
  cl::ResetCommandLineParser();
  cl::OptionCategory category("rwkvc options");
  cl::opt<std::string> input(cl::Positional, cl::desc("MODEL.onnx|MODEL.mlir"),
                             cl::Required, cl::cat(category));
  cl::opt<std::string> output(
      "o", cl::desc("File to write ('-': standard output, for IR and text)"),
      cl::value_desc("file"), cl::cat(category));
  std::string emitHelp = describeEmit();
  cl::opt<std::string> emit("emit", cl::desc(emitHelp), cl::value_desc("kind"),
                            cl::cat(category));
  cl::list<std::string> dims(
      "dim",
      cl::desc("Size of a dimension that the model leaves open, as in --dim "
               "batch=1 (default: 1)"),
      cl::value_desc("name=size"), cl::cat(category));
  cl::list<std::string> forms(
      "forms", cl::CommaSeparated,
      cl::desc("Functions to compile, of: original (the ONNX file's own inputs "
               "and outputs), step (one token), prefill (a block of tokens, "
               "for prompts). Step and prefill share one state. Default: all "
               "that can be derived from the file"),
      cl::value_desc("list"), cl::cat(category));
  const PipelineOptions defaults;
  const std::string blockHelp =
      "Most tokens that one call of prefill takes; larger blocks are faster on "
      "long prompts and need more memory; 0: no prefill (default: " +
      std::to_string(defaults.prefillBlock) + ")";
  cl::opt<int64_t> prefillBlock(
      "prefill-block", cl::init(defaults.prefillBlock), cl::desc(blockHelp),
      cl::value_desc("n"), cl::cat(category));
  cl::opt<int64_t> batch(
      "batch", cl::init(defaults.batch),
      cl::desc("Texts that step and prefill compute side by side, each with "
               "its own state (default: as many as the file computes). The "
               "original function keeps the file's own batch, see --dim"),
      cl::value_desc("n"), cl::cat(category));
  cl::opt<bool> allLogits(
      "all-logits", cl::init(defaults.allLogits),
      cl::desc("Let prefill give the logits after every token of a block and "
               "not only after the last: to score texts; slower"),
      cl::cat(category));
  cl::opt<std::string> from(
      "from",
      cl::desc("For a MODEL.mlir: the phase that its intermediate "
               "representation is at (default: after-import)"),
      cl::value_desc("phase"), cl::cat(category));
  cl::opt<std::string> explain(
      "explain",
      cl::desc("Say what was recognised as RWKV and what was left as plain "
               "ONNX mathematics, and why: text or json"),
      cl::value_desc("format"), cl::ValueOptional, cl::cat(category));
  cl::opt<std::string> target(
      "target", cl::init("cpu"),
      cl::desc("What is to run the model: cpu; spirv, any OpenCL device; "
               "nvptx:CHIP, NVIDIA's GPUs from CHIP on (sm_80), with "
               "CHIP+CHIP+... assembled for these; amdgpu:CHIP, AMD's "
               "(gfx942). Several, the most wanted first: the model has "
               "code for each, and uses the first that is there where it is "
               "loaded (default: cpu)"),
      cl::value_desc("name,..."), cl::cat(category));
  cl::opt<std::string> cpu(
      "mcpu",
      cl::desc(
          "Processor to compile for: an LLVM name, or native for this "
          "machine's, and more features of it, as in x86-64-v4+avx512vnni. "
          "Several, the least first: the model has kernels for each, and "
          "uses the last that it can where it is loaded (default on "
          "x86-64: x86-64-v3,x86-64-v3+avxvnni,x86-64-v4,"
          "x86-64-v4+avx512vnni; the first is any with AVX2)"),
      cl::value_desc("name,..."), cl::cat(category));
  cl::opt<std::string> features(
      "mattr",
      cl::desc("Features to add to each processor, or to remove, as in "
               "+avx512f,-fma"),
      cl::value_desc("list"), cl::cat(category));
  cl::opt<std::string> triple(
      "mtriple", cl::desc("Target triple (default: this machine's)"),
      cl::value_desc("triple"), cl::cat(category));
  cl::opt<unsigned> optLevel("O", cl::Prefix, cl::init(2),
                             cl::desc("LLVM's optimisation level, 0 to 3"),
                             cl::value_desc("level"), cl::cat(category));
  cl::opt<bool> threads("threads", cl::init(true),
                        cl::desc("Let large operations use several threads "
                                 "(default: true)"),
                        cl::cat(category));
  cl::opt<cl::boolOrDefault> oneDNN(
      "onednn",
      cl::desc("Leave large matrix products to oneDNN (default: only those "
               "whose matrix cannot be packed, where the runtime was built "
               "with oneDNN, and none in programs)"),
      cl::cat(category));
  const std::string minFlopsHelp = "Operations from which a matrix product is "
                                   "large for --onednn (default: " +
                                   std::to_string(defaults.dnnlMinFlops) + ")";
  cl::opt<int64_t> oneDNNMinFlops(
      "onednn-min-flops", cl::init(defaults.dnnlMinFlops),
      cl::desc(minFlopsHelp), cl::value_desc("n"), cl::cat(category));
  cl::opt<std::string> wkvForm(
      "wkv-form", cl::init(defaults.wkvForm),
      cl::desc("How recurrences over several tokens are computed: recurrent, "
               "one token after the other; chunked, in matrix products over "
               "chunks of tokens; auto, by cost (default)"),
      cl::value_desc("form"), cl::cat(category));
  cl::opt<int64_t> wkvChunk(
      "wkv-chunk", cl::init(defaults.wkvChunk),
      cl::desc("Tokens of a chunk, a multiple of 16 (default: by cost)"),
      cl::value_desc("n"), cl::cat(category));
  const std::string unitsHelp =
      "Multiply matrices of prefill by a device's units for small ones, tensor "
      "or matrix cores: true (default where rwkvc knows the device's), false, "
      "or units of this name: " +
      listMatrixUnits() +
      "; where a device has none, or others: the same in software, slowly, to "
      "check it; true is tf32 there";
  cl::opt<std::string> matrixUnits("matrix-units", cl::ValueOptional,
                                   cl::desc(unitsHelp), cl::value_desc("which"),
                                   cl::cat(category));
  cl::opt<cl::boolOrDefault> embed(
      "embed-weights",
      cl::desc("Put the weights into the artefact instead of a file beside it "
               "(default: only for programs up to 64 MiB of weights)"),
      cl::cat(category));
  cl::opt<std::string> compiler(
      "cc", cl::desc("C compiler to link with (default: cc)"),
      cl::value_desc("program"), cl::cat(category));
  cl::list<std::string> customOps(
      "custom-ops",
      cl::desc("Operators of other domains that compute a WKV recurrence, in "
               "JSON (see docs/Plugins.md)"),
      cl::value_desc("file"), cl::cat(category));
  cl::opt<std::string> quantize(
      "quantize",
      cl::desc(
          "Format of the weights: bf16, fp16, int8 (8.5 bits), int4 (4.5 bits; "
          "tables and low-rank matrices int8), uint8, uint4 (the same with "
          "zero points, 0.25 bits more), or a file RECIPE.json that says it of "
          "each. Default: as in the file"),
      cl::value_desc("format"), cl::cat(category));
  cl::opt<std::string> quantizeReport(
      "quantize-report",
      cl::desc("Write what --quantize made of each weight, with its error, to "
               "a file in JSON"),
      cl::value_desc("file"), cl::cat(category));
  enum class Activations { Float32, BF16, Int8, Int16 };
  cl::opt<Activations> activations(
      "activations",
      cl::desc("What products make of activations: integers, by blocks of 32 "
               "as they come, where weights are integers of 8 bits and less. "
               "Default: int16, and float32 on devices"),
      cl::values(
          clEnumValN(Activations::Int16, "int16",
                     "16 bits: an error far below the weights'"),
          clEnumValN(Activations::Int8, "int8",
                     "8 bits: faster, above all prompts, and less exact"),
          clEnumValN(
              Activations::BF16, "bf16",
              "as int16, and bf16 where weights are bf16: faster prompts "
              "on processors with AVX512-BF16 or AMX, and less exact"),
          clEnumValN(Activations::Float32, "float32", "nothing: slower")),
      cl::cat(category));
  cl::list<std::string> dialectPlugins(
      "load-dialect-plugin", cl::desc("Load dialects from a plugin library"),
      cl::value_desc("file"), cl::cat(category));
  cl::list<std::string> passPlugins("load-pass-plugin",
                                    cl::desc("Load passes from a plugin "
                                             "library"),
                                    cl::value_desc("file"), cl::cat(category));
  cl::list<std::string> insertPass(
      "insert-pass",
      cl::desc("Run more passes after a phase, as in --insert-pass="
               "after-raise:my-pass,canonicalize"),
      cl::value_desc("phase:pipeline"), cl::cat(category));
  const std::string optionalPasses = llvm::join(getOptionalPasses(), ", ");
  const std::string skipHelp =
      "Leave out passes that only make code faster, to see what they are "
      "worth: " +
      optionalPasses;
  cl::list<std::string> skipPass("skip-pass", cl::CommaSeparated,
                                 cl::desc(skipHelp), cl::value_desc("pass"),
                                 cl::cat(category));
  cl::opt<bool> verifyEach("verify-each",
                           cl::desc("Verify the IR after each pass, and not "
                                    "only after each phase, to find a pass "
                                    "that breaks it"),
                           cl::cat(category));
  cl::opt<bool> timing("timing", cl::desc("Report each pass's time"),
                       cl::cat(category));
  cl::opt<bool> quiet("quiet", cl::desc("Print no progress"),
                      cl::cat(category));
  cl::alias shortQuiet("q", cl::aliasopt(quiet), cl::desc("Same as --quiet"));
  cl::SetVersionPrinter([](llvm::raw_ostream &os) {
    os << "rwkvc " RWKVC_VERSION " (LLVM " LLVM_VERSION_STRING ")\n";
  });
  cl::ParseCommandLineOptions(
      argc, argv,
      "compiles an ONNX file of an RWKV language model to native code\n\n"
      "  rwkvc model.onnx -o model.so      then: rwkv-run model.so --prompt "
      "Hi\n"
      "  rwkvc model.onnx -o model --emit=exe\n"
      "  rwkvc model.onnx --explain        what was recognised\n\n"
      "The compiled model reads prompts in blocks of tokens (prefill), writes "
      "text token\nby token (step), and keeps the file's own inputs and "
      "outputs (original); --forms\nchooses among these.\n",
      /*Errs=*/nullptr, /*VFS=*/nullptr, "RWKVC_OPTIONS");

  DriverOptions options;
  options.input = input;
  options.output = output;
  for (llvm::StringRef dim : dims) {
    auto [name, size] = dim.split('=');
    int64_t value = 0;
    if (name.empty() || size.getAsInteger(10, value) || value < 1)
      fail("--dim " + dim + ": expected NAME=SIZE with a size of at least 1");
    options.dims[name] = value;
  }
  for (const std::string &form : forms)
    if (form != "original" && form != "step" && form != "prefill")
      fail("--forms: '" + form + "' is none of original, step, prefill");
  PipelineOptions &pipeline = options.pipeline;
  pipeline.forms = forms;
  if (batch.getNumOccurrences() > 0 && batch < 1)
    fail("--batch=" + llvm::Twine(batch) + ": expected at least 1");
  pipeline.batch = batch;
  if (prefillBlock < 0 || prefillBlock > kMaxPrefillBlock)
    fail("--prefill-block=" + llvm::Twine(prefillBlock) +
         ": expected 0 (no prefill) to " + llvm::Twine(kMaxPrefillBlock));
  pipeline.prefillBlock = prefillBlock;
  if (!forms.empty() && !llvm::is_contained(forms, "prefill")) {
    if (prefillBlock.getNumOccurrences() && prefillBlock > 0)
      fail("--prefill-block needs prefill among --forms");
    pipeline.prefillBlock = 0;
  }
  if (prefillBlock.getNumOccurrences() && prefillBlock == 0 &&
      llvm::is_contained(forms, "prefill"))
    fail("--prefill-block=0 leaves out what --forms asks for: prefill");
  if (allLogits && pipeline.prefillBlock == 0)
    fail("--all-logits is about prefill, which --forms or --prefill-block "
         "leaves out");
  pipeline.allLogits = allLogits;
  llvm::StringRef inputSuffix = llvm::sys::path::extension(options.input);
  if (inputSuffix == ".mlir" || inputSuffix == ".mlirbc")
    options.from = Phase::AfterImport;
  if (options.from && !options.dims.empty())
    fail("--dim is for an ONNX file; the sizes of a model in MLIR's form are "
         "in it");
  if (!from.empty()) {
    auto phase = symbolizePhase(from);
    if (!options.from)
      fail("--from is for a model in MLIR's form, a file .mlir or .mlirbc");
    if (!phase)
      fail("--from=" + from + ": unknown; rwkvc --help lists the phases");
    options.from = phase;
  }
  if (explain.getNumOccurrences()) {
    options.explain = explain.empty() ? "text" : explain.getValue();
    if (options.explain != "text" && options.explain != "json")
      fail("--explain=" + options.explain + ": expected text or json");
  }
  if (!emit.empty() || !options.output.empty())
    chooseEmit(emit, options);
  else if (options.explain.empty())
    fail("nothing to do: name a file to write by -o, or use --explain");
  else
    options.phase = Phase::AfterRaise, options.emit = Emit::IR;
  bool canPrint = options.emit == Emit::IR || isText(options.emit);
  if (options.output.empty() && !canPrint)
    fail("--emit=" + emit + " needs a file to write: -o FILE");
  if (options.output.empty() && options.explain.empty())
    options.output = "-";
  bool isSame = false;
  if (!llvm::sys::fs::equivalent(options.input, options.output, isSame) &&
      isSame)
    fail("-o " + options.output + " is the model itself");
  if (options.output == "-" && !canPrint)
    fail("a binary cannot go to standard output; name a file by -o");
  if (optLevel > 3)
    fail("-O" + llvm::Twine(optLevel) + ": expected a level from 0 to 3");
  chooseTargets(target, options);
  options.triple = triple;
  options.cpu = cpu;
  options.features = features;
  options.optLevel = optLevel;
  if (!threads)
    pipeline.minParallelWork = 0;
  if (oneDNN != cl::BOU_UNSET)
    options.oneDNN = oneDNN == cl::BOU_TRUE;
  if (oneDNNMinFlops < 1)
    fail("--onednn-min-flops=" + llvm::Twine(oneDNNMinFlops) +
         ": expected at least 1");
  pipeline.dnnlMinFlops = oneDNNMinFlops;
  pipeline.wkvForm = wkvForm;
  if (wkvForm != "auto" && wkvForm != "recurrent" && wkvForm != "chunked")
    fail("--wkv-form=" + wkvForm + ": expected auto, recurrent or chunked");
  if (wkvChunk < 0 || wkvChunk % 16 != 0)
    fail("--wkv-chunk=" + llvm::Twine(wkvChunk) +
         ": expected a multiple of 16, or 0 to choose by cost");
  pipeline.wkvChunk = wkvChunk;
  if (matrixUnits.getNumOccurrences()) {
    options.matrixUnits = matrixUnits.empty() ? "true" : matrixUnits.getValue();
    bool areWanted = *options.matrixUnits != "false";
    if (areWanted && *options.matrixUnits != "true" &&
        !findMatrixUnits(*options.matrixUnits))
      fail("--matrix-units=" + matrixUnits + ": expected true, false, " +
           listMatrixUnits());
    if (areWanted && options.devices.empty())
      fail("--matrix-units is for devices; name one by --target");
  }
  if (embed != cl::BOU_UNSET)
    options.embedWeights = embed == cl::BOU_TRUE;
  options.compiler = compiler;
  options.customOps = customOps;
  options.dialectPlugins = dialectPlugins;
  options.passPlugins = passPlugins;
  for (llvm::StringRef insertion : insertPass) {
    auto [name, pipeline] = insertion.split(':');
    auto phase = symbolizePhase(name);
    if (!phase || pipeline.empty()) {
      std::string names;
      for (int i = 0; i <= static_cast<int>(kLastPhase); ++i)
        names += (i ? ", " : "") + stringifyPhase(static_cast<Phase>(i)).str();
      fail("--insert-pass=" + insertion +
           ": expected PHASE:PIPELINE with a "
           "phase among " +
           names);
    }
    options.insertions[*phase].push_back(pipeline.str());
  }
  for (const std::string &pass : skipPass)
    if (!llvm::is_contained(getOptionalPasses(), pass))
      fail("--skip-pass=" + pass + ": expected one of " + optionalPasses);
  if (!quantize.empty())
    if (auto recipe = WeightRecipe::parseOption(quantize); !recipe)
      fail("--quantize=" + quantize + ": " + toString(recipe.takeError()));
  if (!quantizeReport.empty() && quantize.empty())
    fail("--quantize-report=" + quantizeReport +
         " is about what --quantize does, which is not there");
  pipeline.quantize = quantize;
  pipeline.quantizeReport = quantizeReport;
  if (activations.getNumOccurrences()) {
    pipeline.roundActivations = activations == Activations::BF16;
    if (!pipeline.roundActivations)
      pipeline.activationBits = activations == Activations::Int8    ? 8
                                : activations == Activations::Int16 ? 16
                                                                    : 0;
    else if (!options.hasProcessor)
      fail("--activations=bf16 is for processors, of which --target names "
           "none");
  }
  pipeline.skippedPasses = skipPass;
  checkPhases(options);
  options.verifyEach = verifyEach;
  options.timing = timing;
  options.quiet = quiet;
  return options;
}
