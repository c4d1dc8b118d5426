//===- LinalgToDnnl.h - linalg to dnnl --------------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_LINALGTODNNL_LINALGTODNNL_H
#define RWKVC_CONVERSION_LINALGTODNNL_LINALGTODNNL_H

#include "mlir/IR/PatternMatch.h"

namespace rwkvc {

/// Which products are worth a library call.
struct LinalgToDnnlOptions {
  /// Smallest work, 2 M N K times batches.
  int64_t minFlops = 1 << 20;
  /// Fewest rows and columns of the result; values below 2 mean 2.
  int64_t minRows = 4;
  /// Mark constant right operands, so that oneDNN keeps a rearranged copy.
  bool packConstants = true;
};

/// Patterns that turn matrix products of linalg on tensors into dnnl.matmul.
void populateLinalgToDnnlPatterns(mlir::RewritePatternSet &patterns,
                                  const LinalgToDnnlOptions &options = {});

} // namespace rwkvc

#endif // RWKVC_CONVERSION_LINALGTODNNL_LINALGTODNNL_H
