//===- Artifact.cpp - Files that a compilation produces -------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/Artifact.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Object/ArchiveWriter.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Signals.h"
#include <list>
#include <unistd.h>

using namespace rwkvc;
using namespace rwkvc::aot;

static llvm::Error fileError(llvm::StringRef path, llvm::StringRef what,
                             std::error_code code) {
  return llvm::createStringError("cannot " + what + " '" + path +
                                 "': " + code.message());
}

llvm::Expected<PendingFile> PendingFile::create(llvm::StringRef path) {
  // Anything but a file would be replaced by one: /dev/null, for instance.
  llvm::sys::fs::file_status status;
  if (!llvm::sys::fs::status(path, status) &&
      !llvm::sys::fs::is_regular_file(status))
    return llvm::createStringError(
        "cannot write '" + path + "': it is " +
        (llvm::sys::fs::is_directory(status) ? "a folder" : "no regular file"));
  llvm::SmallString<128> name;
  if (std::error_code code =
          llvm::sys::fs::createUniqueFile(path + ".%%%%%%.tmp", name))
    return fileError(path, "create a file beside", code);
  llvm::sys::RemoveFileOnSignal(name);
  return PendingFile(path, name);
}

PendingFile::PendingFile(PendingFile &&other)
    : path(std::move(other.path)), temporary(std::move(other.temporary)),
      places(std::move(other.places)) {
  other.temporary.clear();
}

PendingFile::~PendingFile() {
  if (places && places->descriptor >= 0)
    llvm::consumeError(close());
  if (temporary.empty())
    return;
  llvm::FileRemover remover(temporary);
  llvm::sys::DontRemoveFileOnSignal(temporary);
}

llvm::Error PendingFile::write(
    llvm::function_ref<llvm::Error(llvm::raw_pwrite_stream &)> write) {
  std::error_code code;
  llvm::raw_fd_ostream os(temporary, code);
  if (code)
    return fileError(path, "write", code);
  llvm::Error error = write(os);
  os.close();
  // The stream would end the process for an error nobody looked at.
  code = os.error();
  os.clear_error();
  if (!code)
    return error;
  llvm::consumeError(std::move(error));
  return fileError(path, "write", code);
}

/// What one entry of the page tables maps, where the system has it in one
/// piece. It does so for what is written in one piece; reading a token's
/// weights by pages of 4 KB takes a thread up to a quarter longer.
static constexpr int64_t kBlock = 2 << 20;

/// Writes all of \p bytes .
static std::error_code writeAt(int descriptor, llvm::ArrayRef<char> bytes,
                               int64_t offset) {
  while (!bytes.empty()) {
    ssize_t written = pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return std::error_code(errno, std::generic_category());
    bytes = bytes.drop_front(written);
    offset += written;
  }
  return {};
}

llvm::Error PendingFile::describeFailure() const {
  return llvm::createStringError(
      llvm::formatv("cannot write '{0}', which needs {1:f1} MB: {2}; make room "
                    "there, or choose another place",
                    path, places->size / 1e6, places->failure.message())
          .str());
}

PendingFile::Places::Places(int64_t size)
    : size(size), begun(llvm::divideCeil(size, kBlock)) {}

std::error_code PendingFile::Places::begin(int64_t block) {
  static const std::vector<char> zeros(kBlock);
  std::error_code code;
  std::call_once(begun[block], [&] {
    int64_t offset = block * kBlock;
    code = ::writeAt(
        descriptor,
        llvm::ArrayRef(zeros).take_front(std::min(kBlock, size - offset)),
        offset);
  });
  return code;
}

llvm::Error PendingFile::open(int64_t size) {
  namespace fs = llvm::sys::fs;
  places = std::make_unique<Places>(size);
  std::error_code &failure = places->failure;
  failure = fs::openFileForReadWrite(temporary, places->descriptor,
                                     fs::CD_OpenExisting, fs::OF_None);
  if (!failure)
    failure = fs::resize_file(places->descriptor, size);
  return failure ? describeFailure() : llvm::Error::success();
}

bool PendingFile::writeAt(int64_t offset, llvm::ArrayRef<char> bytes) {
  int64_t end = offset + bytes.size();
  std::error_code code;
  if (offset % kBlock != 0)
    code = places->begin(offset / kBlock);
  if (!code && end % kBlock != 0 && end != places->size)
    code = places->begin(end / kBlock);
  if (!code)
    code = ::writeAt(places->descriptor, bytes, offset);
  std::lock_guard<std::mutex> lock(places->mutex);
  if (!places->failure)
    places->failure = code;
  return !places->failure;
}

llvm::Error PendingFile::close() {
  llvm::sys::fs::file_t file =
      llvm::sys::fs::convertFDToNativeFile(places->descriptor);
  places->descriptor = -1;
  std::error_code code = llvm::sys::fs::closeFile(file);
  if (!places->failure)
    places->failure = code;
  return places->failure ? describeFailure() : llvm::Error::success();
}

llvm::Error PendingFile::commit() {
  if (std::error_code code = llvm::sys::fs::rename(temporary, path))
    return fileError(path, "write", code);
  llvm::sys::DontRemoveFileOnSignal(temporary);
  temporary.clear();
  return llvm::Error::success();
}

llvm::Error aot::writeStaticLibrary(llvm::ArrayRef<std::string> objects,
                                    PendingFile &file) {
  std::string stem = llvm::sys::path::stem(file.getPath()).str();
  std::list<std::string> names; // do not move
  std::vector<llvm::NewArchiveMember> members;
  for (const std::string &object : objects) {
    llvm::Expected<llvm::NewArchiveMember> member =
        llvm::NewArchiveMember::getFile(object, /*Deterministic=*/true);
    if (!member)
      return member.takeError();
    names.push_back(stem +
                    (names.empty() ? "" : "." + std::to_string(names.size())) +
                    ".o");
    member->MemberName = names.back();
    members.push_back(std::move(*member));
  }
  return llvm::writeArchive(
      file.getTemporary(), members, llvm::SymtabWritingMode::NormalSymtab,
      llvm::object::Archive::K_GNU, /*Deterministic=*/true, /*Thin=*/false);
}

/// A C compiler to link with.
static llvm::Expected<std::string> findCompiler(const LinkOptions &options) {
  if (!options.compiler.empty()) {
    if (auto found = llvm::sys::findProgramByName(options.compiler))
      return *found;
    return llvm::createStringError("linking needs a C compiler, but '" +
                                   options.compiler + "' is not found");
  }
  for (const char *name : {"cc", "clang", "gcc", "clang-22"})
    if (auto found = llvm::sys::findProgramByName(name))
      return *found;
  return llvm::createStringError(
      "linking needs a C compiler, but none of cc, clang, gcc is installed; "
      "name one by --cc, or use --emit=obj");
}

/// A linker repeats itself: what is missing shows in the first lines, what
/// became of it in the last ones.
static std::string shorten(llvm::StringRef text) {
  constexpr size_t kFirst = 12, kLast = 4;
  llvm::SmallVector<llvm::StringRef> lines;
  text.trim().split(lines, '\n');
  if (lines.size() > kFirst + kLast) {
    lines[kFirst] = "...";
    lines.erase(lines.begin() + kFirst + 1, lines.end() - kLast);
  }
  return llvm::join(lines, "\n");
}

/// Runs the linking compiler with \p arguments and "-o PATH".
static llvm::Error link(PendingFile &file, const LinkOptions &options,
                        llvm::ArrayRef<std::string> arguments) {
  llvm::Expected<std::string> compiler = findCompiler(options);
  if (!compiler)
    return compiler.takeError();
  llvm::SmallString<128> log;
  if (std::error_code code =
          llvm::sys::fs::createTemporaryFile("rwkvc-link", "log", log))
    return fileError("link log", "create", code);
  llvm::FileRemover removeLog(log);
  llvm::sys::RemoveFileOnSignal(log);
  llvm::SmallVector<llvm::StringRef> command{*compiler};
  command.append(arguments.begin(), arguments.end());
  command.append({"-o", file.getTemporary()});
  std::optional<llvm::StringRef> streams[] = {llvm::StringRef(""), log.str(),
                                              log.str()};
  std::string message;
  int status = llvm::sys::ExecuteAndWait(*compiler, command, std::nullopt,
                                         streams, 0, 0, &message);
  if (status != 0) {
    if (message.empty())
      message = "exit status " + std::to_string(status);
    std::string said;
    if (auto text = llvm::MemoryBuffer::getFile(log))
      said = shorten((*text)->getBuffer());
    return llvm::createStringError(
        "linking '" + file.getPath() + "' failed, " + message + ": " +
        llvm::join(command, " ") + "\n" +
        (said.empty() ? "the linker gave no message" : said));
  }
  return llvm::Error::success();
}

llvm::Error aot::linkSharedLibrary(llvm::ArrayRef<std::string> objects,
                                   PendingFile &file,
                                   const LinkOptions &options) {
  llvm::SmallVector<std::string> arguments{"-shared"};
  arguments.append(objects.begin(), objects.end());
  arguments.append({"-L" + options.runtimeDir, "-lrwkvc-rt",
                    "-Wl,-rpath," + options.runtimeDir, "-Wl,--no-undefined"});
  if (options.usesDnnl)
    arguments.push_back("-lrwkvc-rt-dnnl");
  // Functions of double precision, and what the processor has no instruction
  // for.
  arguments.push_back("-lm");
  return link(file, options, arguments);
}

llvm::Error aot::linkExecutable(llvm::ArrayRef<std::string> objects,
                                PendingFile &file, const LinkOptions &options) {
  auto archive = [&](llvm::StringRef name) {
    return options.runtimeDir + "/lib" + name.str() + ".a";
  };
  llvm::SmallVector<std::string> arguments(objects);
  arguments.append({archive("rwkvc-rt-main"), archive("rwkvc-rt")});
  if (options.usesDnnl)
    arguments.append({"-L" + options.runtimeDir, "-lrwkvc-rt-dnnl",
                      "-Wl,-rpath,$ORIGIN:" + options.runtimeDir});
  // The C++ library goes into the program, so that it runs where there is none.
  arguments.append({"-Wl,-Bstatic", "-lstdc++", "-Wl,-Bdynamic",
                    "-static-libgcc", "-ldl", "-lm", "-lpthread"});
  return link(file, options, arguments);
}
