//===- Tensors.h - Tensors of an ONNX file ----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_LIB_IMPORT_TENSORS_H
#define RWKVC_LIB_IMPORT_TENSORS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Diagnostics.h"
#include "onnx/onnx_pb.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MemoryBuffer.h"
#include <memory>
#include <optional>

namespace rwkvc::import {

/// Bytes of a tensor in ONNX's raw form, and what keeps them in memory.
struct TensorData {
  mlir::RankedTensorType type;
  llvm::ArrayRef<char> bytes;
  std::shared_ptr<const void> owner;
};

/// The element type that TensorProto::DataType \p dataType stands for, or null
/// when there is none in the onnx dialect.
mlir::Type getElementType(int64_t dataType, mlir::MLIRContext *context);

/// The same for a constant, or what moves its elements: integers of 4 bits have
/// a byte each.
mlir::Type getConstantType(int64_t dataType, mlir::MLIRContext *context);

/// Name of a TensorProto::DataType, for messages.
std::string getElementTypeName(int64_t dataType);

/// Reads tensors and is the one place that opens external data.
class TensorReader {
public:
  /// Errors are reported at \p file; external data must lie beneath
  /// \p modelFolder.
  TensorReader(mlir::Location file, llvm::StringRef modelFolder)
      : file(file), modelFolder(modelFolder) {}

  /// Checks type, shape and data of \p tensor, called \p what in messages, and
  /// returns its data. Takes inline raw data out of \p tensor if \p take, else
  /// the result refers to it.
  mlir::FailureOr<TensorData> read(::onnx::TensorProto &tensor,
                                   const llvm::Twine &what, bool take);

  /// Bytes that \p tensor has by its shape and type.
  mlir::FailureOr<int64_t> getByteSize(const ::onnx::TensorProto &tensor,
                                       const llvm::Twine &what,
                                       mlir::RankedTensorType *type = nullptr);

  /// Moves external data of \p tensor into it.
  mlir::LogicalResult makeInline(::onnx::TensorProto &tensor,
                                 const llvm::Twine &what);

  mlir::Location getLoc() const { return file; }

  /// Makes tensors with external data at \p location read \p buffer.
  void addFile(llvm::StringRef location,
               std::shared_ptr<llvm::MemoryBuffer> buffer);

private:
  /// The same with pairs of numbers of 4 bits as they are.
  mlir::FailureOr<TensorData> readStored(::onnx::TensorProto &tensor,
                                         const llvm::Twine &what, bool take);
  mlir::FailureOr<TensorData> readExternal(const ::onnx::TensorProto &tensor,
                                           const llvm::Twine &what,
                                           mlir::RankedTensorType type,
                                           int64_t size);
  std::shared_ptr<llvm::MemoryBuffer> open(llvm::StringRef location,
                                           const llvm::Twine &what);

  mlir::Location file;
  std::string modelFolder;
  llvm::StringMap<std::shared_ptr<llvm::MemoryBuffer>> files;
};

/// \p data as a dense attribute, or as a resource called \p name that refers to
/// the bytes, by kMaxDenseBytes.
mlir::ElementsAttr getAttribute(const TensorData &data, llvm::StringRef name);

} // namespace rwkvc::import

#endif // RWKVC_LIB_IMPORT_TENSORS_H
