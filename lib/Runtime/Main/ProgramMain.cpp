//===- ProgramMain.cpp - main() of programs that contain a model ----------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What `rwkvc --emit=exe` links: the archive gives up this member only to a
// program without a main() of its own.
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/rwkvc-rt.h"

extern "C" const rwkvrt_model_info rwkvc_model;

int main(int argc, char **argv) {
  return rwkvrt_main(argc, argv, &rwkvc_model);
}
