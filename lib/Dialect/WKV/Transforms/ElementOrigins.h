//===- ElementOrigins.h - Where elements are copied from --------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Slices, concatenations, pads, gathers, scatters, transposes and casts in any
// combination only move elements. Instead of composing their index maps, the
// region is evaluated on tensors whose elements are their own numbers.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_DIALECT_WKV_TRANSFORMS_ELEMENTORIGINS_H
#define RWKVC_LIB_DIALECT_WKV_TRANSFORMS_ELEMENTORIGINS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <optional>
#include <vector>

namespace rwkvc::wkv {

/// Element \p index, row-major, of \p source, times \p scale; a zero where
/// source is null.
struct Origin {
  mlir::Value source;
  int64_t index = 0;
  double scale = 1.0;
};

/// Whether \p op only moves elements of its data operands.
bool movesElements(mlir::Operation *op);

/// The operands of an op that moves elements whose elements it moves.
llvm::SmallVector<mlir::OpOperand *> getMovedOperands(mlir::Operation *op);

/// The origin of every element of \p value, looking through ops that move
/// elements until \p isSource says so or another op is met. None where indices
/// are not constant or a constant other than zero is moved. With \p scales it
/// also looks through products with one number.
std::optional<std::vector<Origin>>
traceElements(mlir::Value value,
              llvm::function_ref<bool(mlir::Value)> isSource = nullptr,
              bool scales = false);

/// The one value that all \p origins are elements of, in order from element
/// \p start on with step one. Null where there is none.
mlir::Value getContiguousSource(llvm::ArrayRef<Origin> origins, int64_t &start);

} // namespace rwkvc::wkv

#endif // RWKVC_LIB_DIALECT_WKV_TRANSFORMS_ELEMENTORIGINS_H
