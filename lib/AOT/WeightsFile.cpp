//===- WeightsFile.cpp - The file of a model's weights --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/WeightsFile.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

static constexpr int64_t kAlignment = 64;
/// How the header starts: with the metadata that safetensors allow.
static constexpr llvm::StringLiteral kHeaderStart =
    R"({"__metadata__":{"format":"rwkvc"})";

/// The safetensors name of an element type.
static std::string dtypeName(Type type) {
  if (type.isInteger(1))
    return "BOOL";
  if (type.isBF16())
    return "BF16";
  return ((isa<FloatType>(type)       ? "F"
           : type.isUnsignedInteger() ? "U"
                                      : "I") +
          Twine(type.getIntOrFloatBitWidth()))
      .str();
}

WeightsFile::WeightsFile(ModuleOp module) : weights(readWeights(module)) {
  if (auto size = module->getAttrOfType<IntegerAttr>(kWeightsSizeAttr))
    dataSize = size.getInt();
  llvm::raw_string_ostream os(header);
  llvm::json::OStream json(os);
  json.object([&] {
    json.attributeObject("__metadata__",
                         [&] { json.attribute("format", "rwkvc"); });
    for (const WeightDescription &weight : weights) {
      ShapedType type = weight.value.getShapedType();
      json.attributeObject(weight.name, [&] {
        json.attribute("dtype", dtypeName(type.getElementType()));
        json.attributeArray("shape", [&] {
          for (int64_t size : type.getShape())
            json.value(size);
        });
        json.attributeArray("data_offsets", [&] {
          json.value(weight.offset);
          json.value(weight.offset + getNumBytes(type));
        });
      });
    }
  });
  header.append(
      llvm::offsetToAlignment(getDataOffset(), llvm::Align(kAlignment)), ' ');
}

bool WeightsFile::isOne(llvm::StringRef path) {
  auto start = llvm::MemoryBuffer::getFileSlice(path, 8 + kHeaderStart.size(),
                                                /*Offset=*/0);
  return start && (*start)->getBuffer().drop_front(8) == kHeaderStart;
}

uint64_t WeightsFile::getHash() const {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : header)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

/// Writes the bytes of \p value as they lie in memory at run time.
static llvm::Error writeValue(ElementsAttr value, raw_ostream &os) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value)) {
    const AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob || static_cast<int64_t>(blob->getData().size()) !=
                     getNumBytes(resource.getType()))
      return llvm::createStringError("the bytes of weight '" +
                                     resource.getRawHandle().getKey() +
                                     "' are not available");
    os.write(blob->getData().data(), blob->getData().size());
    return llvm::Error::success();
  }
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense)
    return llvm::createStringError("a weight is neither dense nor a resource");
  if (dense.getElementType().isInteger(1)) {
    for (bool element : dense.getValues<bool>())
      os << static_cast<char>(element);
    return llvm::Error::success();
  }
  ArrayRef<char> raw = dense.getRawData();
  int64_t copies = dense.isSplat() ? dense.getNumElements() : 1;
  for (int64_t i = 0; i < copies; ++i)
    os.write(raw.data(), raw.size());
  return llvm::Error::success();
}

llvm::Error WeightsFile::write(raw_ostream &os) const {
  char length[8];
  llvm::support::endian::write64le(length, header.size());
  os.write(length, sizeof(length));
  os << header;
  int64_t position = 0;
  for (const WeightDescription &weight : weights) {
    os.write_zeros(weight.offset - position);
    if (llvm::Error error = writeValue(weight.value, os))
      return error;
    position = weight.offset + getNumBytes(weight.value.getShapedType());
  }
  os.write_zeros(dataSize - position);
  return llvm::Error::success();
}
