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
#include <algorithm>

using namespace mlir;
using namespace rwkvc;
using namespace rwkvc::aot;

static constexpr int64_t kAlignment = 64;
/// Pages of the model's file are let go of each time so much was written.
static constexpr int64_t kReleaseBytes = 64 << 20;
/// So many pieces that follow each other are written in another order.
static constexpr size_t kWindow = 128;
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

llvm::Expected<WeightsFile> WeightsFile::create(ArrayRef<ModuleOp> modules) {
  WeightsFile file;
  auto readSize = [](ModuleOp module) {
    auto size = module->getAttrOfType<IntegerAttr>(kWeightsSizeAttr);
    return size ? size.getInt() : 0;
  };
  file.weights = readWeights(modules.front());
  file.dataSize = readSize(modules.front());
  llvm::DenseMap<int64_t, Attribute> values;
  for (const WeightDescription &weight : file.weights)
    values[weight.offset] = weight.value;
  for (ModuleOp module : modules.drop_front()) {
    bool isSame = readSize(module) == file.dataSize;
    for (const WeightDescription &weight : readWeights(module)) {
      auto [known, isNew] = values.try_emplace(weight.offset, weight.value);
      if (isNew)
        file.weights.push_back(weight);
      else
        isSame &= known->second == weight.value;
    }
    if (!isSame)
      return llvm::createStringError(
          "the code for processors and the code for devices expect different "
          "weights at one place; passes that change weights are to be inserted "
          "at before-bufferize or earlier");
  }
  file.writeHeader();
  return file;
}

void WeightsFile::writeHeader() {
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

llvm::Error WeightsWriter::listJobs() {
  for (const WeightDescription &weight : weights.weights) {
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
  // Large pieces first: the small ones may be what is left of computing them.
  for (size_t at = 0; at < jobs.size(); at += kWindow)
    std::stable_sort(
        jobs.begin() + at, jobs.begin() + std::min(at + kWindow, jobs.size()),
        [](const Job &a, const Job &b) { return a.piece.size > b.piece.size; });
  return llvm::Error::success();
}

llvm::Expected<std::unique_ptr<WeightsWriter>>
WeightsWriter::start(WeightsFile weights, PendingFile file) {
  std::unique_ptr<WeightsWriter> writer(
      new WeightsWriter(std::move(weights), std::move(file)));
  const WeightsFile &contents = writer->weights;
  if (llvm::Error error = writer->listJobs())
    return error;
  if (llvm::Error error =
          writer->file.open(contents.getDataOffset() + contents.dataSize))
    return error;
  char length[8];
  llvm::support::endian::write64le(length, contents.header.size());
  writer->isGood = writer->file.writeAt(0, length) &&
                   writer->file.writeAt(sizeof length, contents.header);
  writer->loop.emplace(writer->jobs.size(), [writer = writer.get()](size_t i) {
    writer->run(writer->jobs[i]);
  });
  unsigned threads = llvm::parallel::strategy.compute_thread_count();
  writer->loop->addThreads(std::max(threads, 2u) - 1);
  return writer;
}

WeightsWriter::~WeightsWriter() { isGood = false; }

void WeightsWriter::run(const Job &job) {
  SmallVector<char> room;
  ArrayRef<char> bytes;
  if (isGood) {
    bytes = job.bytes.empty() ? readPiece(job.weight->value, job.piece, room)
                              : ArrayRef<char>(job.bytes);
    if (!file.writeAt(weights.getDataOffset() + job.weight->offset +
                          job.piece.offset,
                      bytes))
      isGood = false;
  }
  std::lock_guard<std::mutex> lock(mutex);
  ++numDone;
  written += bytes.size();
  changed.notify_one();
  if (written - released < kReleaseBytes)
    return;
  released = written;
  releasePages(*job.weight->value.getContext());
}

llvm::Expected<PendingFile>
WeightsWriter::finish(llvm::function_ref<void(int64_t)> progress) {
  loop->addThreads(llvm::parallel::strategy.compute_thread_count());
  {
    std::unique_lock<std::mutex> lock(mutex);
    while (numDone < jobs.size()) {
      changed.wait(lock);
      progress(written);
    }
  }
  loop.reset();
  if (llvm::Error error = file.close())
    return error;
  return std::move(file);
}
