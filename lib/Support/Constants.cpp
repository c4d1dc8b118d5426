//===- Constants.cpp - Bytes of constant tensors --------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Constants.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;
using namespace rwkvc;

/// Constants up to this size are kept in memory, larger ones in files.
static constexpr int64_t kMaxMemoryBytes = 1 << 16;

/// The size of a constant of \p type if no elements share bytes.
static std::optional<int64_t> getSize(ShapedType type) {
  if (!type.getElementType().isIntOrFloat())
    return std::nullopt;
  return type.getNumElements() *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

std::optional<ArrayRef<char>> rwkvc::getRawBytes(Attribute attr) {
  auto elements = dyn_cast_if_present<ElementsAttr>(attr);
  std::optional<int64_t> size =
      elements ? getSize(elements.getShapedType()) : std::nullopt;
  ArrayRef<char> bytes;
  if (auto dense = dyn_cast_if_present<DenseElementsAttr>(attr))
    bytes = dense.getRawData();
  else if (auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(attr))
    if (AsmResourceBlob *blob = resource.getRawHandle().getBlob())
      bytes = blob->getData();
  // A splat has the bytes of one element, and dense booleans share them.
  if (!size || static_cast<int64_t>(bytes.size()) != *size)
    return std::nullopt;
  return bytes;
}

std::string rwkvc::identifyConstant(Attribute value) {
  std::string key;
  llvm::raw_string_ostream os(key);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    os << "resource " << resource.getRawHandle().getResource();
  else if (auto dense = dyn_cast<DenseElementsAttr>(value);
           dense && !dense.getElementType().isInteger(1))
    os << "bytes "
       << StringRef(dense.getRawData().data(), dense.getRawData().size());
  else
    os << "attribute " << value.getAsOpaquePointer();
  return key;
}

/// A mapped file of \p size bytes that has no name.
static llvm::Expected<std::shared_ptr<llvm::sys::fs::mapped_file_region>>
mapTemporaryFile(int64_t size) {
  namespace fs = llvm::sys::fs;
  int descriptor = -1;
  llvm::SmallString<128> path;
  if (std::error_code error =
          fs::createTemporaryFile("rwkvc", "weights", descriptor, path))
    return llvm::createFileError(path, error);
  std::shared_ptr<fs::mapped_file_region> region;
  std::error_code error = fs::remove(path);
  if (!error)
    error = fs::resize_file(descriptor, size);
  fs::file_t file = fs::convertFDToNativeFile(descriptor);
  if (!error)
    region = std::make_shared<fs::mapped_file_region>(
        file, fs::mapped_file_region::readwrite, size, /*offset=*/0, error);
  if (std::error_code closing = fs::closeFile(file); !error)
    error = closing;
  if (error)
    return llvm::createFileError(path, error);
  return region;
}

ElementsAttr rwkvc::copyConstant(ShapedType type, StringRef name,
                                 ArrayRef<char> bytes) {
  if (static_cast<int64_t>(bytes.size()) <= kMaxDenseBytes)
    return DenseElementsAttr::getFromRawBuffer(type, bytes);
  return DenseResourceElementsAttr::get(
      type, name,
      HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, /*align=*/64,
                                                    /*dataIsMutable=*/false));
}

llvm::Expected<ElementsAttr>
rwkvc::makeConstant(ShapedType type, StringRef name,
                    llvm::function_ref<void(MutableArrayRef<char>)> fill) {
  int64_t size = *getSize(type);
  if (size <= kMaxMemoryBytes) {
    SmallVector<char> bytes(size);
    fill(bytes);
    return copyConstant(type, name, bytes);
  }
  auto region = mapTemporaryFile(size);
  if (!region)
    return region.takeError();
  fill({(*region)->data(), static_cast<size_t>(size)});
  AsmResourceBlob blob(
      ArrayRef<char>((*region)->const_data(), size), /*dataAlignment=*/64,
      [region = *region](void *, size_t, size_t) {}, /*dataIsMutable=*/false);
  return DenseResourceElementsAttr::get(type, name, std::move(blob));
}

/// Between names of tensors, and before what became of them.
static constexpr llvm::StringLiteral kNextTensor = "|", kDerived = "@";

SmallVector<StringRef> rwkvc::getTensorNames(Attribute constant) {
  StringRef key;
  if (auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(constant))
    key = resource.getRawHandle().getKey();
  SmallVector<StringRef> names;
  key.split(kDerived).first.split(names, kNextTensor);
  return names;
}

std::string rwkvc::deriveName(ArrayRef<StringRef> tensors, StringRef how) {
  if (tensors.empty())
    return how.str();
  return (llvm::join(tensors, kNextTensor) + kDerived + how).str();
}
