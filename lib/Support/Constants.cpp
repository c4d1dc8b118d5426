//===- Constants.cpp - Bytes of constant tensors --------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Constants.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/DialectInterface.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Parallel.h"
#include <atomic>
#include <mutex>
#include <shared_mutex>

using namespace mlir;
using namespace rwkvc;

/// Constants up to this size are kept in memory, larger ones in files.
static constexpr int64_t kMaxMemoryBytes = 1 << 16;

/// About the most that a thread computes of a constant at a time. Larger pieces
/// of a matrix that is packed into parts read more of each row at once.
static constexpr int64_t kPieceBytes = 4 << 20;

namespace {

/// The constants of a context that have no bytes yet.
class DeferredConstants : public DialectInterface::Base<DeferredConstants> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DeferredConstants)
  using Entry = DialectResourceBlobManager::BlobEntry;

  explicit DeferredConstants(Dialect *dialect) : Base(dialect) {}

  static DeferredConstants *find(MLIRContext *context) {
    return context->getLoadedDialect<BuiltinDialect>()
        ->getRegisteredInterface<DeferredConstants>();
  }
  static DeferredConstants &get(MLIRContext *context) {
    if (DeferredConstants *found = find(context))
      return *found;
    return context->getLoadedDialect<BuiltinDialect>()
        ->addInterface<DeferredConstants>();
  }

  void add(const Entry *entry, BoxReader reader) {
    std::lock_guard<std::shared_mutex> lock(mutex);
    readers[entry] = std::make_shared<BoxReader>(std::move(reader));
  }
  /// How \p entry is computed; null for one with bytes of its own.
  std::shared_ptr<BoxReader> lookup(const Entry *entry) const {
    std::shared_lock<std::shared_mutex> lock(mutex);
    return readers.lookup(entry);
  }

  bool isEnabled = false;
  SmallVector<std::function<void()>> pageOwners;

private:
  mutable std::shared_mutex mutex;
  llvm::DenseMap<const Entry *, std::shared_ptr<BoxReader>> readers;
};

} // namespace

static std::shared_ptr<BoxReader> findReader(DenseResourceElementsAttr attr) {
  DeferredConstants *deferred = DeferredConstants::find(attr.getContext());
  return deferred ? deferred->lookup(attr.getRawHandle().getResource())
                  : nullptr;
}

Box Box::all(ShapedType type) {
  return {SmallVector<int64_t, 4>(type.getRank(), 0),
          SmallVector<int64_t, 4>(type.getShape())};
}

int64_t Box::getNumElements() const { return llvm::product_of(sizes); }

static int64_t getElementSize(ShapedType type) {
  return llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

std::optional<int64_t> rwkvc::getRawSize(ShapedType type) {
  if (!type.getElementType().isIntOrFloat())
    return std::nullopt;
  return type.getNumElements() * getElementSize(type);
}

/// The bytes that are there already.
static std::optional<ArrayRef<char>> getPresentBytes(Attribute attr) {
  auto elements = dyn_cast_if_present<ElementsAttr>(attr);
  std::optional<int64_t> size =
      elements ? getRawSize(elements.getShapedType()) : std::nullopt;
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

bool rwkvc::hasRawBytes(Attribute attr) {
  auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(attr);
  return getPresentBytes(attr) || (resource && findReader(resource));
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

/// All that \p read computes of a constant of \p type, in a file without a
/// name.
static llvm::Expected<AsmResourceBlob> evaluate(ShapedType type,
                                                const BoxReader &read) {
  int64_t size = *getRawSize(type);
  auto region = mapTemporaryFile(size);
  if (!region)
    return region.takeError();
  SmallVector<Piece> pieces = getPieces(type);
  forEachInOrder(pieces.size(), [&](size_t i) {
    read(pieces[i].box, {(*region)->data() + pieces[i].offset,
                         static_cast<size_t>(pieces[i].size)});
  });
  return AsmResourceBlob(
      ArrayRef<char>((*region)->const_data(), size), /*dataAlignment=*/64,
      [region = *region](void *, size_t, size_t) {}, /*dataIsMutable=*/false);
}

std::optional<ArrayRef<char>> rwkvc::getRawBytes(Attribute attr) {
  auto bytes = getPresentBytes(attr);
  auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(attr);
  std::shared_ptr<BoxReader> reader =
      bytes || !resource ? nullptr : findReader(resource);
  if (!reader)
    return bytes;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  if (auto meanwhile = getPresentBytes(attr))
    return meanwhile;
  llvm::Expected<AsmResourceBlob> blob = evaluate(resource.getType(), *reader);
  if (!blob) {
    llvm::consumeError(blob.takeError());
    return std::nullopt;
  }
  resource.getRawHandle().getResource()->setBlob(std::move(*blob));
  return getPresentBytes(attr);
}

/// Copies \p box of a tensor of \p shape , whose bytes are \p from .
static void copyBox(ArrayRef<char> from, ArrayRef<int64_t> shape,
                    int64_t elementSize, const Box &box,
                    MutableArrayRef<char> to) {
  if (to.empty())
    return;
  // Axes from this one on lie in one piece.
  size_t rank = shape.size(), whole = rank;
  int64_t run = elementSize;
  while (whole > 0) {
    --whole;
    run *= box.sizes[whole];
    if (box.sizes[whole] != shape[whole])
      break;
  }
  SmallVector<int64_t> strides(rank);
  int64_t stride = elementSize, start = 0;
  for (size_t axis = rank; axis-- > 0; stride *= shape[axis]) {
    strides[axis] = stride;
    start += box.offsets[axis] * stride;
  }
  SmallVector<int64_t> index(whole);
  for (char *end = to.end(), *next = to.begin(); next != end; next += run) {
    std::memcpy(next, from.data() + start, run);
    for (size_t axis = whole; axis-- > 0;) {
      start += strides[axis];
      if (++index[axis] != box.sizes[axis])
        break;
      start -= box.sizes[axis] * strides[axis];
      index[axis] = 0;
    }
  }
}

void rwkvc::readBox(Attribute attr, const Box &box,
                    MutableArrayRef<char> bytes) {
  if (auto present = getPresentBytes(attr)) {
    auto type = cast<ElementsAttr>(attr).getShapedType();
    return copyBox(*present, type.getShape(), getElementSize(type), box, bytes);
  }
  (*findReader(cast<DenseResourceElementsAttr>(attr)))(box, bytes);
}

SmallVector<Piece> rwkvc::getPieces(ShapedType type) {
  // One index of the axes before this one, a range of this one, all of the
  // others.
  Box box = Box::all(type);
  size_t axis = 0, rank = type.getRank();
  int64_t inner = *getRawSize(type), count = 1;
  if (inner == 0)
    return {};
  for (; axis < rank; ++axis) {
    inner /= box.sizes[axis];
    count = std::max<int64_t>(kPieceBytes / inner, 1);
    if (inner <= kPieceBytes && box.sizes[axis] > 1)
      break;
    box.sizes[axis] = 1;
  }
  SmallVector<Piece> pieces;
  int64_t offset = 0;
  auto add = [&] {
    int64_t size = box.getNumElements() * getElementSize(type);
    pieces.push_back({box, offset, size});
    offset += size;
  };
  while (true) {
    if (axis < rank)
      for (int64_t at = 0, end = type.getDimSize(axis); at < end; at += count) {
        box.offsets[axis] = at;
        box.sizes[axis] = std::min(count, end - at);
        add();
      }
    else
      add();
    size_t outer = axis;
    while (outer > 0 && ++box.offsets[outer - 1] == type.getDimSize(outer - 1))
      box.offsets[--outer] = 0;
    if (outer == 0)
      return pieces;
  }
}

ArrayRef<char> rwkvc::readPiece(Attribute attr, const Piece &piece,
                                SmallVectorImpl<char> &room) {
  if (auto present = getPresentBytes(attr))
    return present->slice(piece.offset, piece.size);
  room.resize_for_overwrite(piece.size);
  readBox(attr, piece.box, room);
  return room;
}

void rwkvc::forEachInOrder(size_t count,
                           llvm::function_ref<void(size_t)> visit) {
  std::atomic<size_t> next = 0;
  llvm::parallelFor(0, llvm::parallel::strategy.compute_thread_count(),
                    [&](size_t) {
                      for (size_t i; (i = next++) < count;)
                        visit(i);
                    });
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
rwkvc::makeConstant(ShapedType type, StringRef name, BoxReader read) {
  int64_t size = *getRawSize(type);
  if (size <= kMaxMemoryBytes) {
    SmallVector<char> bytes(size);
    read(Box::all(type), bytes);
    return copyConstant(type, name, bytes);
  }
  DeferredConstants *deferred = DeferredConstants::find(type.getContext());
  if (deferred && deferred->isEnabled) {
    DenseResourceElementsHandle handle =
        DenseResourceElementsHandle::getManagerInterface(type.getContext())
            .insert(name);
    deferred->add(handle.getResource(), std::move(read));
    return DenseResourceElementsAttr::get(type, handle);
  }
  llvm::Expected<AsmResourceBlob> blob = evaluate(type, read);
  if (!blob)
    return blob.takeError();
  return DenseResourceElementsAttr::get(type, name, std::move(*blob));
}

void rwkvc::deferConstants(MLIRContext &context) {
  DeferredConstants::get(&context).isEnabled = true;
}

void rwkvc::addPageOwner(MLIRContext &context, std::function<void()> release) {
  DeferredConstants::get(&context).pageOwners.push_back(std::move(release));
}

void rwkvc::releasePages(MLIRContext &context) {
  if (DeferredConstants *deferred = DeferredConstants::find(&context))
    for (const std::function<void()> &release : deferred->pageOwners)
      release();
}
