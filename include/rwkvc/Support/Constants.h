//===- Constants.h - Bytes of constant tensors ------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Weights are constants, the large ones resources that the model's file backs.
// Passes that compute others from them do so here, without keeping either in
// memory.
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_CONSTANTS_H
#define RWKVC_SUPPORT_CONSTANTS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/Support/Error.h"
#include <optional>

namespace rwkvc {

/// Constants up to this size are dense attributes, and small enough for ONNX's
/// shape inference to read them; larger ones are resources.
inline constexpr int64_t kMaxDenseBytes = 1024;

/// The bytes of a constant tensor, row-major and little-endian, of booleans in
/// a resource one each; none for a splat, for elements that share a byte and
/// for a resource that is not there.
std::optional<llvm::ArrayRef<char>> getRawBytes(mlir::Attribute attr);

/// Equal for constants of equal bytes, in whatever shape. Resources are told by
/// their handle: they are too large to be read here.
std::string identifyConstant(mlir::Attribute value);

/// A constant of \p type with these bytes, which are copied. A large one
/// becomes a resource called \p name.
mlir::ElementsAttr copyConstant(mlir::ShapedType type, llvm::StringRef name,
                                llvm::ArrayRef<char> bytes);

/// A constant of \p type whose bytes \p fill writes. A large one becomes a
/// resource called \p name in a file without a name, so that its pages need not
/// stay in memory; the error tells why that file could not be written.
llvm::Expected<mlir::ElementsAttr>
makeConstant(mlir::ShapedType type, llvm::StringRef name,
             llvm::function_ref<void(llvm::MutableArrayRef<char>)> fill);

/// The names of the tensors of the model's file that \p constant was made from;
/// empty ones where it has no name.
llvm::SmallVector<llvm::StringRef> getTensorNames(mlir::Attribute constant);

/// The name of a constant that is made from \p tensors , as \p how says; the
/// function above finds them in it.
std::string deriveName(llvm::ArrayRef<llvm::StringRef> tensors,
                       llvm::StringRef how);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_CONSTANTS_H
