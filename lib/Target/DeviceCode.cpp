//===- DeviceCode.cpp - Code of kernels for devices -----------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/abi.h"
#include "rwkvc/Target/CodeGen.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/Constants.h"
#include "llvm/IR/Metadata.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

using namespace rwkvc;

void rwkvc::prepareKernels(llvm::Module &module, const DeviceInfo &device,
                           const llvm::TargetMachine &machine,
                           llvm::ArrayRef<DeviceKernel> kernels) {
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  for (const DeviceKernel &kernel : kernels) {
    llvm::Function *function = module.getFunction(kernel.name);
    function->setCallingConv(device.kind->kernelConvention);
    std::string size = std::to_string(kernel.numThreads);
    // Each target takes the size of a workgroup in a form of its own.
    switch (device.kind->runtime) {
    case RWKVRT_CUDA:
      function->addFnAttr("nvvm.reqntid", size);
      break;
    case RWKVRT_HIP:
      function->addFnAttr("amdgpu-flat-work-group-size", size + "," + size);
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

/// Makes a code object of \p object by lld.
static llvm::Error linkCodeObject(llvm::SmallVectorImpl<char> &code) {
  std::string linker;
  for (const char *name : {"ld.lld-22", "ld.lld"})
    if (auto found = llvm::sys::findProgramByName(name);
        found && linker.empty())
      linker = *found;
  if (linker.empty())
    return llvm::createStringError(
        "code for AMD GPUs needs the linker ld.lld, which is not installed");
  llvm::SmallString<128> object, shared;
  if (std::error_code error =
          llvm::sys::fs::createTemporaryFile("rwkvc", "o", object))
    return llvm::createStringError("cannot create a temporary file: " +
                                   error.message());
  llvm::FileRemover removeObject(object);
  if (std::error_code error =
          llvm::sys::fs::createTemporaryFile("rwkvc", "hsaco", shared))
    return llvm::createStringError("cannot create a temporary file: " +
                                   error.message());
  llvm::FileRemover removeShared(shared);
  if (llvm::Error error =
          llvm::writeToOutput(object, [&](llvm::raw_ostream &os) {
            os << llvm::StringRef(code.data(), code.size());
            return llvm::Error::success();
          }))
    return error;
  std::string message;
  llvm::StringRef arguments[] = {linker, "-shared", object, "-o", shared};
  if (llvm::sys::ExecuteAndWait(linker, arguments, std::nullopt, {}, 0, 0,
                                &message) != 0)
    return llvm::createStringError("ld.lld cannot link the kernels" +
                                   (message.empty() ? "" : ": " + message));
  auto linked = llvm::MemoryBuffer::getFile(shared);
  if (!linked)
    return llvm::createStringError("cannot read '" + shared +
                                   "': " + linked.getError().message());
  code.assign((*linked)->getBufferStart(), (*linked)->getBufferEnd());
  return llvm::Error::success();
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
  return device.kind->runtime == RWKVRT_HIP ? linkCodeObject(code)
                                            : llvm::Error::success();
}
