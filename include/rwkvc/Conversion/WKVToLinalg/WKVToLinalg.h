//===- WKVToLinalg.h - wkv to linalg ----------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_WKVTOLINALG_WKVTOLINALG_H
#define RWKVC_CONVERSION_WKVTOLINALG_WKVTOLINALG_H

#include "mlir/IR/PatternMatch.h"

namespace rwkvc {

/// Patterns that turn every op of the wkv dialect into linalg on tensors.
/// A recurrence becomes its steps: one, or a loop over the tokens.
void populateWKVToLinalgPatterns(mlir::RewritePatternSet &patterns);

} // namespace rwkvc

#endif // RWKVC_CONVERSION_WKVTOLINALG_WKVTOLINALG_H
