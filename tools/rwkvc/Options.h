//===- Options.h - The command line of rwkvc --------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_TOOLS_RWKVC_OPTIONS_H
#define RWKVC_TOOLS_RWKVC_OPTIONS_H

#include "rwkvc/Pipelines/Pipelines.h"
#include "rwkvc/Target/DeviceInfo.h"
#include "llvm/ADT/StringMap.h"
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rwkvc {

/// What the driver is to produce.
enum class Emit {
  IR,
  LLVMIR,
  Assembly,
  Object,
  StaticLibrary,
  SharedLibrary,
  Executable
};

/// Whether it is code in the form of text.
inline bool isText(Emit emit) {
  return emit == Emit::LLVMIR || emit == Emit::Assembly;
}

struct DriverOptions {
  std::string input, output;
  Emit emit = Emit::SharedLibrary;
  Phase phase = Phase::AfterImport; ///< where Emit::IR stops
  std::optional<Phase> from; ///< where IR that is read starts; none: ONNX
  llvm::StringMap<int64_t> dims;
  std::string explain; ///< "", "text" or "json"
  // To run the model; of devices, the most wanted first.
  std::vector<DeviceInfo> devices;
  bool hasProcessor = true;
  std::string triple, cpu, features;
  unsigned optLevel = 2;
  /// But for what the target says; of oneDNN, see `oneDNN`.
  PipelineOptions pipeline;
  std::optional<bool> oneDNN; ///< none: if the runtime has it
  /// Units for small matrices: "true", those of the device or tf32; "false",
  /// none; or a name. None given: those of the device.
  std::optional<std::string> matrixUnits;
  std::optional<bool> embedWeights;
  std::string compiler;               ///< C compiler that links
  std::vector<std::string> customOps; ///< files
  std::vector<std::string> dialectPlugins, passPlugins;
  std::map<Phase, std::vector<std::string>> insertions; ///< text pipelines
  bool verifyEach = false, timing = false, quiet = false;

  /// The phases to run, in order.
  std::vector<Phase> getPhases() const;
};

/// Parses the command line; reports mistakes and ends the process, as for
/// --help and --version.
DriverOptions parseCommandLine(int argc, char **argv);

} // namespace rwkvc

#endif // RWKVC_TOOLS_RWKVC_OPTIONS_H
