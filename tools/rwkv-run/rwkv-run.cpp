//===- rwkv-run.cpp - Run compiled models ---------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc-rt/rwkvc-rt.h"

int main(int argc, char **argv) { return rwkvrt_main(argc, argv, nullptr); }
