//===- Main.cpp - The command line of rwkv-run ----------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Modes.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

using namespace rwkvrt::cli;

static int run(int argc, char **argv, const rwkvrt_model_info *embedded) {
  Options options;
  if (!parseCommandLine(argc, argv, embedded == nullptr, options))
    return 0;
  if (options.threads)
    require(rwkvrt_set_num_threads(options.threads));
  Stopwatch loadTime;
  rwkvrt_model *loaded;
  const char *device = options.device.c_str();
  require(embedded
              ? rwkvrt_model_from_info_on(embedded, nullptr, device, &loaded)
              : rwkvrt_model_load_on(options.model.c_str(), device, &loaded));
  ModelPtr model(loaded);
  double loadSeconds = loadTime.seconds();
  switch (options.mode) {
  case Mode::Info:
    printInfo(loaded);
    return 0;
  case Mode::Check:
    return check(loaded, options) ? 0 : 1;
  case Mode::CheckForms:
    return checkForms(loaded, options) ? 0 : 1;
  case Mode::Bench:
    benchmark(loaded, options, loadSeconds);
    return 0;
  case Mode::Generate:
    generate(loaded, options, loadSeconds);
    return 0;
  }
  return 2;
}

int rwkvrt_main(int argc, char **argv, const rwkvrt_model_info *embedded) {
  const char *program = argc > 0 ? argv[0] : "rwkv-run";
  if (const char *slash = std::strrchr(program, '/'))
    program = slash + 1;
  std::string message;
  try {
    int status = run(argc, argv, embedded);
    if (std::fflush(stdout) == 0 && !std::ferror(stdout))
      return status;
    message =
        std::string("cannot write to standard output: ") + std::strerror(errno);
  } catch (const Failure &failure) {
    message = failure.message;
  } catch (const std::bad_alloc &) {
    message = "out of memory";
  } catch (const std::exception &exception) {
    message = exception.what();
  }
  std::fflush(stdout);
  std::fprintf(stderr, "%s: error: %s\n", program, message.c_str());
  return 2;
}
