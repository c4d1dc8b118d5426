//===- Library.cpp - Opening a model's shared library ---------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Model.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace rwkvrt;

namespace {
/// An open file; closed at the end.
struct File {
  explicit File(const std::string &path)
      : descriptor(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor < 0)
      fail(RWKVRT_IO_ERROR, "%s: cannot open the model: %s", path.c_str(),
           systemError(errno).c_str());
  }
  File(const File &) = delete;
  File &operator=(const File &) = delete;
  ~File() { close(descriptor); }
  int descriptor;
};
} // namespace

#if defined(__x86_64__)
static constexpr int ownMachine = EM_X86_64;
#elif defined(__aarch64__)
static constexpr int ownMachine = EM_AARCH64;
#elif defined(__riscv)
static constexpr int ownMachine = EM_RISCV;
#else
static constexpr int ownMachine = EM_NONE; // not checked
#endif

/// The dynamic loader maps a library without asking how long the file is, and a
/// page beyond its end kills the process when it is touched. So look first.
static void checkLibraryFile(const std::string &path) {
  File file(path);
  struct stat status;
  if (fstat(file.descriptor, &status) != 0)
    fail(RWKVRT_IO_ERROR, "%s: %s", path.c_str(), systemError(errno).c_str());
  if (!S_ISREG(status.st_mode))
    fail(RWKVRT_BAD_FILE, "%s: not a file; expected a model made by rwkvc",
         path.c_str());
  auto size = static_cast<uint64_t>(status.st_size);

  ElfW(Ehdr) header;
  ssize_t got = pread(file.descriptor, &header, sizeof header, 0);
  if (got < 0)
    fail(RWKVRT_IO_ERROR, "%s: cannot read the model: %s", path.c_str(),
         systemError(errno).c_str());
  if (got != sizeof header ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_type != ET_DYN)
    fail(RWKVRT_BAD_FILE,
         "%s: not a shared library; expected a model made by rwkvc",
         path.c_str());
  constexpr int ownClass = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
  if (header.e_ident[EI_CLASS] != ownClass ||
      (ownMachine != EM_NONE && header.e_machine != ownMachine))
    fail(RWKVRT_MISMATCH,
         "%s: compiled for another kind of processor (ELF machine %d, this one "
         "is %d); compile it for this machine",
         path.c_str(), header.e_machine, ownMachine);

  auto checkEnd = [&](uint64_t offset, uint64_t length) {
    if (offset > size || length > size - offset)
      fail(RWKVRT_BAD_FILE,
           "%s: damaged or cut short: it has contents beyond its %llu bytes",
           path.c_str(), static_cast<unsigned long long>(size));
  };
  checkEnd(header.e_shoff,
           static_cast<uint64_t>(header.e_shnum) * header.e_shentsize);
  checkEnd(header.e_phoff,
           static_cast<uint64_t>(header.e_phnum) * header.e_phentsize);
  if (header.e_phentsize != sizeof(ElfW(Phdr)))
    fail(RWKVRT_BAD_FILE, "%s: damaged: unknown size of program headers",
         path.c_str());
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (pread(file.descriptor, &segment, sizeof segment,
              static_cast<off_t>(header.e_phoff + i * sizeof segment)) !=
        sizeof segment)
      fail(RWKVRT_IO_ERROR, "%s: cannot read the model: %s", path.c_str(),
           systemError(errno).c_str());
    if (segment.p_type == PT_LOAD)
      checkEnd(segment.p_offset, segment.p_filesz);
  }
}

/// Makes this runtime's symbols visible to libraries that are opened later,
/// also when the runtime itself came in privately, as language bindings do.
static void exportOwnSymbols() {
  Dl_info self;
  if (dladdr(reinterpret_cast<void *>(&rwkvrt_parallel_for), &self) == 0)
    return;
  // Never closed: what it adds is a flag and a reference to ourselves. In a
  // program without a shared runtime it finds nothing to do.
  dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
  dlerror();
}

Library::Library(const std::string &path) {
  checkLibraryFile(path);
  static const bool once = (exportOwnSymbols(), true);
  (void)once;
  // A name without '/' would be looked for in the system's folders.
  std::string name = path.find('/') == std::string::npos ? "./" + path : path;
  handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char *reason = dlerror();
    if (!reason)
      reason = "unknown reason";
    const char *advice =
        std::strstr(reason, "dnnl")
            ? "; the model was compiled for oneDNN and needs "
              "librwkvc-rt-dnnl.so and libdnnl.so: install them, name their "
              "folder in LD_LIBRARY_PATH, or compile with --onednn=false"
            : "";
    fail(RWKVRT_BAD_FILE, "%s: cannot load the model: %s%s", path.c_str(),
         reason, advice);
  }
}

Library::~Library() {
  if (handle)
    dlclose(handle);
}

void *Library::findFunction(const char *name) const {
  return dlsym(handle ? handle : RTLD_DEFAULT, name);
}

const rwkvrt_model_info &Library::getModelInfo(const std::string &path) const {
  void *info = dlsym(handle, "rwkvc_model");
  if (!info)
    fail(RWKVRT_BAD_FILE,
         "%s: a shared library, but no model made by rwkvc: it has no symbol "
         "'rwkvc_model'",
         path.c_str());
  return *static_cast<const rwkvrt_model_info *>(info);
}
