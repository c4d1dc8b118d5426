//===- Tensors.cpp - Tensors of an ONNX file ------------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Tensors.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"
#include <cstring>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::import;
using llvm::StringRef;
using llvm::Twine;
using ::onnx::TensorProto;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Type rwkvc::import::getElementType(int64_t dataType, MLIRContext *context) {
  auto integer = [&](unsigned width, bool isUnsigned) -> Type {
    return IntegerType::get(context, width,
                            isUnsigned ? IntegerType::Unsigned
                                       : IntegerType::Signless);
  };
  switch (dataType) {
  case TensorProto::FLOAT:
    return Float32Type::get(context);
  case TensorProto::FLOAT16:
    return Float16Type::get(context);
  case TensorProto::BFLOAT16:
    return BFloat16Type::get(context);
  case TensorProto::DOUBLE:
    return Float64Type::get(context);
  case TensorProto::BOOL:
    return integer(1, false);
  case TensorProto::INT8:
    return integer(8, false);
  case TensorProto::INT16:
    return integer(16, false);
  case TensorProto::INT32:
    return integer(32, false);
  case TensorProto::INT64:
    return integer(64, false);
  case TensorProto::UINT8:
    return integer(8, true);
  case TensorProto::UINT16:
    return integer(16, true);
  case TensorProto::UINT32:
    return integer(32, true);
  case TensorProto::UINT64:
    return integer(64, true);
  default:
    return Type();
  }
}

static bool hasNibbles(int64_t dataType) {
  return dataType == TensorProto::INT4 || dataType == TensorProto::UINT4;
}

Type rwkvc::import::getConstantType(int64_t dataType, MLIRContext *context) {
  if (hasNibbles(dataType))
    dataType =
        dataType == TensorProto::INT4 ? TensorProto::INT8 : TensorProto::UINT8;
  return getElementType(dataType, context);
}

std::string rwkvc::import::getElementTypeName(int64_t dataType) {
  if (TensorProto::DataType_IsValid(static_cast<int>(dataType)))
    return StringRef(TensorProto::DataType_Name(
                         static_cast<TensorProto::DataType>(dataType)))
        .lower();
  return "number " + std::to_string(dataType);
}

FailureOr<int64_t> TensorReader::getByteSize(const TensorProto &tensor,
                                             const Twine &what,
                                             RankedTensorType *type) {
  Type element = getConstantType(tensor.data_type(), file.getContext());
  if (!element)
    return emitError(file)
           << what << " has element type "
           << getElementTypeName(tensor.data_type())
           << ", which is not supported; expected float, float16, bfloat16, "
              "double, bool or an integer of 4 to 64 bits";
  int64_t size = (element.getIntOrFloatBitWidth() + 7) / 8;
  for (int64_t dim : tensor.dims())
    if (dim < 0)
      return emitError(file) << what << " has a negative dimension, " << dim;
  for (int64_t dim : tensor.dims())
    if (llvm::MulOverflow(size, dim, size))
      return emitError(file) << what << " has a shape of more than 2^63 bytes";
  if (hasNibbles(tensor.data_type()))
    size = llvm::divideCeil(size, 2);
  if (type)
    *type = RankedTensorType::get(
        llvm::ArrayRef(tensor.dims().data(), tensor.dims_size()), element);
  return size;
}

//===----------------------------------------------------------------------===//
// External data
//===----------------------------------------------------------------------===//

std::shared_ptr<llvm::MemoryBuffer> TensorReader::open(StringRef location,
                                                       const Twine &what) {
  if (auto it = files.find(location); it != files.end())
    return it->second;
  namespace path = llvm::sys::path;
  namespace fs = llvm::sys::fs;
  auto refuse = [&](const Twine &why) {
    emitError(file) << what << " has its data in '" << location << "', " << why;
    return nullptr;
  };
  if (location.empty())
    return refuse("an empty path; expected a file beside the model");
  const char *rule = "; external data must lie in the model's folder or "
                     "beneath it, named by a relative path";
  if (path::is_absolute(location))
    return refuse(Twine("an absolute path") + rule);
  if (llvm::is_contained(
          llvm::make_range(path::begin(location), path::end(location)), ".."))
    return refuse(Twine("a path with '..'") + rule);
  if (location.contains('\0'))
    return refuse("a path with a NUL character");

  llvm::SmallString<256> folder(modelFolder.empty() ? "." : modelFolder);
  llvm::SmallString<256> joined(folder);
  path::append(joined, location);
  fs::file_status status;
  if (std::error_code error = fs::status(joined, status))
    return refuse("which cannot be read (" + error.message() +
                  "); it must be in the folder of the model");
  if (status.type() != fs::file_type::regular_file)
    return refuse("which is no regular file");
  // A symbolic link may lead anywhere: look where the file really is.
  llvm::SmallString<256> realFolder, realFile;
  if (fs::real_path(folder, realFolder))
    return refuse("but the model's folder cannot be read");
  llvm::Expected<fs::file_t> handle =
      fs::openNativeFileForRead(joined, fs::OF_None, &realFile);
  if (!handle)
    return refuse("which cannot be opened (" +
                  llvm::toString(handle.takeError()) + ")");
  // Opened for reading: closing loses nothing.
  auto close = [&] {
    llvm::consumeError(llvm::errorCodeToError(fs::closeFile(*handle)));
  };
  if (realFile.empty() && fs::real_path(joined, realFile)) {
    close();
    return refuse("which cannot be resolved");
  }
  auto inside = [&] {
    auto [folderIt, folderEnd] =
        std::pair(path::begin(realFolder), path::end(realFolder));
    auto [fileIt, fileEnd] =
        std::pair(path::begin(realFile), path::end(realFile));
    for (; folderIt != folderEnd; ++folderIt, ++fileIt)
      if (fileIt == fileEnd || *folderIt != *fileIt)
        return false;
    return true;
  };
  if (!inside()) {
    close();
    return refuse(Twine("a symbolic link that leaves the folder") + rule);
  }
  auto buffer = llvm::MemoryBuffer::getOpenFile(
      *handle, joined, status.getSize(), /*RequiresNullTerminator=*/false);
  close();
  if (!buffer)
    return refuse("which cannot be mapped (" + buffer.getError().message() +
                  ")");
  addFile(location, std::move(*buffer));
  return files[location];
}

void TensorReader::addFile(StringRef location,
                           std::shared_ptr<llvm::MemoryBuffer> buffer) {
  addPageOwner(*file.getContext(), [buffer] { buffer->dontNeedIfMmap(); });
  files[location] = std::move(buffer);
}

FailureOr<TensorData> TensorReader::readExternal(const TensorProto &tensor,
                                                 const Twine &what,
                                                 RankedTensorType type,
                                                 int64_t size) {
  StringRef location;
  uint64_t offset = 0, length = 0;
  bool hasLength = false;
  for (const ::onnx::StringStringEntryProto &entry : tensor.external_data()) {
    StringRef value = entry.value();
    if (entry.key() == "location")
      location = value;
    else if (entry.key() == "offset" && value.getAsInteger(10, offset))
      return emitError(file) << what << " has external data at offset '"
                             << value << "'; expected a number of bytes";
    else if (entry.key() == "length") {
      if (value.getAsInteger(10, length))
        return emitError(file) << what << " has external data of length '"
                               << value << "'; expected a number of bytes";
      hasLength = true;
    }
  }
  if (hasLength && length != static_cast<uint64_t>(size))
    return emitError(file) << what << " has " << length
                           << " bytes of external data, but its type " << type
                           << " needs " << size;
  std::shared_ptr<llvm::MemoryBuffer> buffer = open(location, what);
  if (!buffer)
    return failure();
  uint64_t available = buffer->getBufferSize();
  if (offset > available || available - offset < static_cast<uint64_t>(size))
    return emitError(file) << what << " has its data at bytes " << offset
                           << " to " << offset << " + " << size << " of '"
                           << location << "', which has only " << available
                           << "; the file is cut short or belongs to another "
                              "model";
  return TensorData{
      type, llvm::ArrayRef(buffer->getBufferStart() + offset, size), buffer};
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

/// The numbers of a repeated field as raw data of elements of type T.
template <typename T, typename Field>
void pack(const Field &field, std::vector<char> &bytes) {
  bytes.resize(sizeof(T) * field.size());
  char *out = bytes.data();
  for (auto number : field) {
    T element = static_cast<T>(number);
    std::memcpy(out, &element, sizeof(T));
    out += sizeof(T);
  }
}

/// Packs the field that holds the data of a tensor without raw data. Returns
/// the number of its entries.
int64_t packTyped(const TensorProto &tensor, std::vector<char> &bytes) {
  switch (tensor.data_type()) {
  case TensorProto::FLOAT:
    pack<float>(tensor.float_data(), bytes);
    return tensor.float_data_size();
  case TensorProto::DOUBLE:
    pack<double>(tensor.double_data(), bytes);
    return tensor.double_data_size();
  case TensorProto::INT64:
    pack<int64_t>(tensor.int64_data(), bytes);
    return tensor.int64_data_size();
  case TensorProto::UINT64:
    pack<uint64_t>(tensor.uint64_data(), bytes);
    return tensor.uint64_data_size();
  case TensorProto::UINT32:
    pack<uint32_t>(tensor.uint64_data(), bytes);
    return tensor.uint64_data_size();
  case TensorProto::INT32:
    pack<int32_t>(tensor.int32_data(), bytes);
    return tensor.int32_data_size();
  case TensorProto::INT16:
  case TensorProto::UINT16:
  case TensorProto::FLOAT16: // the bits of the number
  case TensorProto::BFLOAT16:
    pack<uint16_t>(tensor.int32_data(), bytes);
    return tensor.int32_data_size();
  default: // BOOL, INT8, UINT8, and pairs of INT4 and UINT4
    pack<uint8_t>(tensor.int32_data(), bytes);
    return tensor.int32_data_size();
  }
}

} // namespace

/// Numbers of 4 bits, the first one of a byte in its low half, in a byte each.
static TensorData widenNibbles(const TensorData &data, bool isSigned) {
  auto bytes = std::make_shared<std::vector<char>>(data.type.getNumElements());
  for (size_t i = 0; i < bytes->size(); ++i) {
    int number = (data.bytes[i / 2] >> (i % 2 * 4)) & 15;
    if (isSigned && number > 7)
      number -= 16;
    (*bytes)[i] = static_cast<char>(number);
  }
  return {data.type, *bytes, bytes};
}

FailureOr<TensorData> TensorReader::read(TensorProto &tensor, const Twine &what,
                                         bool take) {
  FailureOr<TensorData> data = readStored(tensor, what, take);
  if (failed(data) || !hasNibbles(tensor.data_type()))
    return data;
  return widenNibbles(*data, tensor.data_type() == TensorProto::INT4);
}

FailureOr<TensorData> TensorReader::readStored(TensorProto &tensor,
                                               const Twine &what, bool take) {
  RankedTensorType type;
  FailureOr<int64_t> size = getByteSize(tensor, what, &type);
  if (failed(size))
    return failure();
  TensorData data;
  if (tensor.data_location() == TensorProto::EXTERNAL) {
    FailureOr<TensorData> external = readExternal(tensor, what, type, *size);
    if (failed(external))
      return failure();
    data = std::move(*external);
  } else if (tensor.has_raw_data() && (*size || !tensor.raw_data().empty())) {
    if (static_cast<int64_t>(tensor.raw_data().size()) != *size)
      return emitError(file)
             << what << " has " << tensor.raw_data().size()
             << " bytes of data, but its type " << type << " needs " << *size;
    data = {type, llvm::ArrayRef(tensor.raw_data().data(), *size), nullptr};
    if (take) {
      std::shared_ptr<std::string> bytes(tensor.release_raw_data());
      data.bytes = llvm::ArrayRef(bytes->data(), *size);
      data.owner = std::move(bytes);
    }
  } else {
    auto bytes = std::make_shared<std::vector<char>>();
    int64_t count = packTyped(tensor, *bytes);
    if (static_cast<int64_t>(bytes->size()) != *size)
      return emitError(file)
             << what << " has " << count
             << " elements of data in the field of its type, but its type "
             << type << " needs "
             << *size / ((type.getElementTypeBitWidth() + 7) / 8);
    data = {type, *bytes, bytes};
  }
  if (type.getElementType().isInteger(1))
    for (char byte : data.bytes)
      if (byte != 0 && byte != 1)
        return emitError(file)
               << what << " is of type bool but has an element "
               << static_cast<int>(static_cast<unsigned char>(byte))
               << "; expected 0 or 1";
  return data;
}

LogicalResult TensorReader::makeInline(TensorProto &tensor, const Twine &what) {
  if (tensor.data_location() != TensorProto::EXTERNAL)
    return success();
  FailureOr<TensorData> data = readStored(tensor, what, /*take=*/false);
  if (failed(data))
    return failure();
  tensor.set_raw_data(data->bytes.data(), data->bytes.size());
  tensor.clear_external_data();
  tensor.clear_data_location();
  return success();
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

ElementsAttr rwkvc::import::getAttribute(const TensorData &data,
                                         StringRef name) {
  RankedTensorType type = data.type;
  if (static_cast<int64_t>(data.bytes.size()) <= kMaxDenseBytes) {
    if (type.getElementType().isInteger(1)) {
      // One byte each in the file, packed in a dense attribute.
      llvm::SmallVector<bool> values(data.bytes.begin(), data.bytes.end());
      return DenseElementsAttr::get(type, llvm::ArrayRef<bool>(values));
    }
    return DenseElementsAttr::getFromRawBuffer(type, data.bytes);
  }
  // Whatever the offset in the file gives; what needs more must copy.
  constexpr uint64_t kMaxAlignment = 64;
  uint64_t alignment = llvm::MinAlign(
      reinterpret_cast<uintptr_t>(data.bytes.data()), kMaxAlignment);
  AsmResourceBlob blob(
      data.bytes, alignment, [owner = data.owner](void *, size_t, size_t) {},
      /*dataIsMutable=*/false);
  return DenseResourceElementsAttr::get(type, name, std::move(blob));
}
