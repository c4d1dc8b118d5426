//===- rwkv-translate.cpp - Between IR and other formats ------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "rwkvc/Import/Import.h"

int main(int argc, char **argv) {
  rwkvc::registerImportTranslation();
  return mlir::failed(
      mlir::mlirTranslateMain(argc, argv, "rwkvc translation driver"));
}
