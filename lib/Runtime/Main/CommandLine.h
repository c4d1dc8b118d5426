//===- CommandLine.h - Options of rwkv-run ----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_RUNTIME_MAIN_COMMANDLINE_H
#define RWKVC_LIB_RUNTIME_MAIN_COMMANDLINE_H

#include "rwkvc-rt/rwkvc-rt.h"

#include <cstdint>
#include <string>
#include <vector>

namespace rwkvrt::cli {

/// What went wrong, for the user; ends the command with exit status 2.
struct Failure {
  std::string message;
};

[[noreturn]] void fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/// Throws the runtime's message unless \p status is success.
void require(rwkvrt_status status);

/// The bytes of a file; messages begin with \p purpose.
std::string readFile(const char *purpose, const std::string &path);

enum class Mode { Generate, Info, Check, CheckForms, Bench };

struct Options {
  Mode mode = Mode::Generate;
  std::string model;
  int32_t threads = 0; ///< 0 = default
  std::string device;  ///< as rwkvrt_model_load_on() takes it

  std::string prompt;
  bool hasPrompt = false;
  std::vector<int64_t> tokens;
  bool hasTokens = false;
  int64_t maxTokens = 100;
  double temperature = 1, topP = 0.5;
  uint64_t seed = 0;
  std::string vocabulary, loadState, saveState;

  std::string checkFile;
  std::vector<int64_t> formLengths; ///< tokens that --check-forms feeds
  double atol = 0;
  double rtol = -1; ///< -1 = the mode's default
  int64_t benchTokens = 0, benchPrompt = 512;
};

/// Reads the arguments; false if they asked for help, which has been printed.
/// Without \p needsModel they name no model.
bool parseCommandLine(int argc, char **argv, bool needsModel, Options &options);

} // namespace rwkvrt::cli

#endif // RWKVC_LIB_RUNTIME_MAIN_COMMANDLINE_H
