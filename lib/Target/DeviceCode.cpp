//===- DeviceCode.cpp - Code of kernels for devices -----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/abi.h"
#include "rwkvc/Target/CodeGen.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/Metadata.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

using namespace rwkvc;

/// So few workgroups that each has a multiprocessor of its own: an A100 has 108
/// of these, an H100 114 or 132.
static constexpr int64_t kFewGroups = 108;

/// Makes arrays of allocations of constant length, since SPIR-V has no others,
/// and says that addresses in them are those of elements.
static void makeArrays(llvm::Function &function) {
  llvm::SmallVector<llvm::AllocaInst *> allocations;
  for (llvm::Instruction &instruction : llvm::instructions(function))
    if (auto *memory = llvm::dyn_cast<llvm::AllocaInst>(&instruction))
      allocations.push_back(memory);
  for (llvm::AllocaInst *memory : allocations) {
    auto *length = llvm::dyn_cast<llvm::ConstantInt>(memory->getArraySize());
    if (!length)
      continue;
    llvm::IRBuilder<> b(memory);
    auto *array =
        b.CreateAlloca(llvm::ArrayType::get(memory->getAllocatedType(),
                                            length->getZExtValue()),
                       memory->getAddressSpace());
    array->setAlignment(memory->getAlign());
    for (llvm::User *user : llvm::make_early_inc_range(memory->users())) {
      auto *address = llvm::dyn_cast<llvm::GetElementPtrInst>(user);
      if (!address || address->getNumIndices() != 1 ||
          address->getSourceElementType() != memory->getAllocatedType())
        continue;
      b.SetInsertPoint(address);
      llvm::Value *index = address->getOperand(1);
      address->replaceAllUsesWith(
          b.CreateGEP(array->getAllocatedType(), array,
                      {llvm::ConstantInt::get(index->getType(), 0), index}, "",
                      address->getNoWrapFlags()));
      address->eraseFromParent();
    }
    memory->replaceAllUsesWith(array);
    memory->eraseFromParent();
  }
}

/// Lets innermost loops that only read, and something that a workgroup shares,
/// stay loops. Tiles of products take as many terms in an iteration as
/// registers suffice for; LLVM would unroll what is left, read ahead, and spill
/// registers.
static void keepSharedLoops(llvm::Function &function) {
  llvm::DominatorTree tree(function);
  llvm::LoopInfo loops(tree);
  for (llvm::Loop *loop : loops.getLoopsInPreorder()) {
    if (!loop->isInnermost())
      continue;
    bool readsShared = false, writes = false;
    for (llvm::BasicBlock *block : loop->blocks())
      for (llvm::Instruction &instruction : *block) {
        writes |= instruction.mayWriteToMemory();
        auto *load = llvm::dyn_cast<llvm::LoadInst>(&instruction);
        readsShared |= load && load->getPointerAddressSpace() == kSharedSpace;
      }
    if (readsShared && !writes)
      loop->setLoopAlreadyUnrolled();
  }
}

void rwkvc::prepareKernels(llvm::Module &module, const DeviceInfo &device,
                           const llvm::TargetMachine &machine,
                           llvm::ArrayRef<DeviceKernel> kernels) {
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  for (const DeviceKernel &kernel : kernels) {
    llvm::Function *function = module.getFunction(kernel.name);
    function->setCallingConv(device.kind->kernelConvention);
    makeArrays(*function);
    std::string size = std::to_string(kernel.numThreads);
    // Each target takes the size of a workgroup in a form of its own.
    switch (device.kind->runtime) {
    case RWKVRT_CUDA:
      function->addFnAttr("nvvm.reqntid", size);
      // A multiprocessor has no second workgroup of a recurrence or norm to
      // run: rather all registers than spilled ones.
      if (kernel.maxGroups <= kFewGroups)
        function->addFnAttr("nvvm.minctasm", "1");
      break;
    case RWKVRT_HIP:
      function->addFnAttr("amdgpu-flat-work-group-size", size + "," + size);
      keepSharedLoops(*function);
      break;
    default:
      llvm::LLVMContext &context = module.getContext();
      auto number = [&](int64_t value) {
        return llvm::ConstantAsMetadata::get(
            llvm::ConstantInt::get(llvm::Type::getInt32Ty(context), value));
      };
      function->setMetadata(
          "reqd_work_group_size",
          llvm::MDNode::get(context,
                            {number(kernel.numThreads), number(1), number(1)}));
    }
  }
}

namespace {

/// A file that other programs read or write; removed at the end.
class TemporaryFile {
public:
  static llvm::Expected<TemporaryFile> create(llvm::StringRef suffix) {
    llvm::SmallString<128> path;
    if (std::error_code error =
            llvm::sys::fs::createTemporaryFile("rwkvc", suffix, path))
      return llvm::createStringError("cannot create a temporary file: " +
                                     error.message());
    return TemporaryFile(path.str());
  }

  llvm::Error write(llvm::ArrayRef<char> data) const {
    return llvm::writeToOutput(path, [&](llvm::raw_ostream &os) {
      os << llvm::StringRef(data.data(), data.size());
      return llvm::Error::success();
    });
  }
  llvm::Error read(llvm::SmallVectorImpl<char> &data) const {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    if (!buffer)
      return llvm::createStringError("cannot read '" + path +
                                     "': " + buffer.getError().message());
    data.assign((*buffer)->getBufferStart(), (*buffer)->getBufferEnd());
    return llvm::Error::success();
  }
  const std::string &getPath() const { return path; }

private:
  explicit TemporaryFile(llvm::StringRef name)
      : path(name), remover(std::make_unique<llvm::FileRemover>(name)) {}

  std::string path;
  std::unique_ptr<llvm::FileRemover> remover;
};

} // namespace

/// Runs the first of \p names that is installed, or says that \p purpose needs
/// it.
static llvm::Error runProgram(llvm::ArrayRef<llvm::StringRef> names,
                              llvm::StringRef purpose,
                              llvm::ArrayRef<std::string> arguments) {
  std::string program;
  for (llvm::StringRef name : names) {
    auto found = llvm::sys::findProgramByName(name);
    if (!found) // where NVIDIA installs it
      found = llvm::sys::findProgramByName(name, {"/usr/local/cuda/bin"});
    if (found && program.empty())
      program = *found;
  }
  if (program.empty())
    return llvm::createStringError(purpose + " needs '" + names.back() +
                                   "', which is not installed");
  llvm::SmallVector<llvm::StringRef> all = {program};
  all.append(arguments.begin(), arguments.end());
  std::string message;
  if (llvm::sys::ExecuteAndWait(program, all, std::nullopt, {}, 0, 0,
                                &message) != 0)
    return llvm::createStringError("'" + program + "' failed on the kernels" +
                                   (message.empty() ? "" : ": " + message));
  return llvm::Error::success();
}

/// Makes a code object of \p object by lld.
static llvm::Error linkCodeObject(llvm::SmallVectorImpl<char> &code) {
  auto object = TemporaryFile::create("o"),
       shared = TemporaryFile::create("hsaco");
  if (llvm::Error error =
          llvm::joinErrors(object.takeError(), shared.takeError()))
    return error;
  if (llvm::Error error = object->write(code))
    return error;
  if (llvm::Error error =
          runProgram({"ld.lld-22", "ld.lld"}, "code for AMD GPUs",
                     {"-shared", object->getPath(), "-o", shared->getPath()}))
    return error;
  return shared->read(code);
}

/// Makes a fat binary of PTX: the PTX, for chips to come, and the machine code
/// of \p device 's chips.
static llvm::Error assembleChips(const DeviceInfo &device,
                                 llvm::SmallVectorImpl<char> &code) {
  constexpr llvm::StringRef purpose = "code for several NVIDIA chips";
  auto ptx = TemporaryFile::create("ptx"),
       all = TemporaryFile::create("fatbin");
  if (llvm::Error error = llvm::joinErrors(ptx.takeError(), all.takeError()))
    return error;
  if (llvm::Error error = ptx->write(code))
    return error;
  auto image = [](llvm::StringRef kind, llvm::StringRef chip,
                  const TemporaryFile &file) {
    return ("--image3=kind=" + kind + ",sm=" + chip.drop_front(3) +
            ",file=" + file.getPath())
        .str();
  };
  std::vector<std::string> arguments = {"--64", "--create=" + all->getPath(),
                                        image("ptx", device.chip, *ptx)};
  std::vector<std::string> chips = {device.chip};
  chips.insert(chips.end(), device.laterChips.begin(), device.laterChips.end());
  std::vector<TemporaryFile> cubins;
  for (const std::string &chip : chips) {
    auto cubin = TemporaryFile::create("cubin");
    if (!cubin)
      return cubin.takeError();
    if (llvm::Error error =
            runProgram({"ptxas"}, purpose,
                       {"-O3", "--gpu-name=" + chip, ptx->getPath(),
                        "--output-file=" + cubin->getPath()}))
      return error;
    arguments.push_back(image("elf", chip, *cubin));
    cubins.push_back(std::move(*cubin));
  }
  if (llvm::Error error = runProgram({"fatbinary"}, purpose, arguments))
    return error;
  return all->read(code);
}

llvm::Error rwkvc::emitKernels(llvm::Module &module, const DeviceInfo &device,
                               llvm::TargetMachine &machine, CodeKind kind,
                               llvm::SmallVectorImpl<char> &code) {
  // PTX is the assembly that CUDA's driver takes.
  bool isText =
      kind == CodeKind::Assembly || device.kind->runtime == RWKVRT_CUDA;
  {
    llvm::raw_svector_ostream os(code);
    if (llvm::Error error =
            emitCode(module, machine,
                     isText ? CodeKind::Assembly : CodeKind::Object, os))
      return error;
  }
  if (kind == CodeKind::Assembly)
    return llvm::Error::success();
  if (!device.laterChips.empty())
    return assembleChips(device, code);
  return device.kind->runtime == RWKVRT_HIP ? linkCodeObject(code)
                                            : llvm::Error::success();
}
