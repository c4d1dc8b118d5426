//===- ONNXToLinalg.h - onnx to linalg on tensors ------------- -*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_CONVERSION_ONNXTOLINALG_ONNXTOLINALG_H
#define RWKVC_CONVERSION_ONNXTOLINALG_ONNXTOLINALG_H

#include "mlir/Transforms/DialectConversion.h"
#include "llvm/ADT/DenseMap.h"
#include <string>

namespace rwkvc {

/// Why ops could not be lowered: the last reason of each.
using RefusalMap = llvm::DenseMap<mlir::Operation *, std::string>;

/// Converts tensors of unsigned elements to signless ones and keeps all other
/// types.
class ONNXTypeConverter : public mlir::TypeConverter {
public:
  ONNXTypeConverter();
};

/// Patterns that lower every typed op of the onnx dialect, and the operators of
/// the domain com.microsoft that onnxruntime's optimiser writes. Reasons of
/// failures are noted in \p refusals where given; it must outlive the patterns.
/// onnx.NoValue is left, without uses.
void populateONNXToLinalgPatterns(const mlir::TypeConverter &converter,
                                  mlir::RewritePatternSet &patterns,
                                  RefusalMap *refusals = nullptr);

} // namespace rwkvc

#endif // RWKVC_CONVERSION_ONNXTOLINALG_ONNXTOLINALG_H
