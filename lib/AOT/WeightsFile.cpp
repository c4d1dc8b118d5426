//===- WeightsFile.cpp - The file of a model's weights --------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/AOT/WeightsFile.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "rwkvc/Support/Constants.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <atomic>
#include <mutex>
#include <vector>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

static constexpr int64_t kAlignment = 64;
/// Pages of the model's file are let go of each time so much was written.
static constexpr int64_t kReleaseBytes = 64 << 20;
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

/// The bytes, as they lie in memory at run time, of a constant that has none to
/// be read.
static llvm::Expected<SmallVector<char>> spellOut(ElementsAttr value) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    return llvm::createStringError("the bytes of weight '" +
                                   resource.getRawHandle().getKey() +
                                   "' are not available");
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense)
    return llvm::createStringError("a weight is neither dense nor a resource");
  SmallVector<char> bytes;
  if (dense.getElementType().isInteger(1)) {
    for (bool element : dense.getValues<bool>())
      bytes.push_back(static_cast<char>(element));
    return bytes;
  }
  for (int64_t i = 0; i < dense.getNumElements(); ++i)
    llvm::append_range(bytes, dense.getRawData());
  return bytes;
}

llvm::Error
WeightsFile::write(PendingFile &file,
                   llvm::function_ref<void(int64_t)> progress) const {
  // What is large comes in pieces; what no piece can be read of is small.
  struct Job {
    const WeightDescription *weight;
    Piece piece;
    SmallVector<char> bytes;
  };
  std::vector<Job> jobs;
  for (const WeightDescription &weight : weights) {
    if (hasRawBytes(weight.value)) {
      for (Piece &piece : getPieces(weight.value.getShapedType()))
        jobs.push_back({&weight, std::move(piece), {}});
      continue;
    }
    auto bytes = spellOut(weight.value);
    if (!bytes)
      return bytes.takeError();
    jobs.push_back({&weight, {}, std::move(*bytes)});
  }
  std::mutex mutex;
  int64_t written = 0, released = 0;
  auto count = [&](int64_t size) {
    std::lock_guard<std::mutex> lock(mutex);
    written += size;
    progress(written);
    if (written - released < kReleaseBytes)
      return;
    released = written;
    releasePages(*jobs.front().weight->value.getContext());
  };
  return file.fill(getDataOffset() + dataSize, [&](PendingFile::WriteAt write) {
    char length[8];
    llvm::support::endian::write64le(length, header.size());
    write(0, length);
    write(sizeof length, header);
    std::atomic<bool> isGood = true;
    forEachInOrder(jobs.size(), [&](size_t i) {
      if (!isGood)
        return;
      const Job &job = jobs[i];
      SmallVector<char> room;
      ArrayRef<char> bytes = job.bytes.empty()
                                 ? readPiece(job.weight->value, job.piece, room)
                                 : ArrayRef<char>(job.bytes);
      isGood =
          isGood &&
          write(getDataOffset() + job.weight->offset + job.piece.offset, bytes);
      count(bytes.size());
    });
  });
}
