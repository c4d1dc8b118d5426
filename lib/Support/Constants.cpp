//===- Constants.cpp - Bytes of constant tensors --------------------------===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "rwkvc/Support/Constants.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/DialectInterface.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
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

/// How a constant is computed. Its attribute's type may be another, of as many
/// elements.
struct Deferred {
  ShapedType type;
  BoxReader read;
};

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

  void add(const Entry *entry, Deferred deferred) {
    std::lock_guard<std::shared_mutex> lock(mutex);
    entries[entry] = std::make_unique<Deferred>(std::move(deferred));
  }
  /// How \p entry is computed; null for one with bytes of its own.
  const Deferred *lookup(const Entry *entry) const {
    std::shared_lock<std::shared_mutex> lock(mutex);
    auto found = entries.find(entry);
    return found == entries.end() ? nullptr : found->second.get();
  }

  /// The constant that \p make gives, or gave for the same type and
  /// derivation.
  llvm::Expected<ElementsAttr>
  findOrMake(ShapedType type, Attribute derivation,
             llvm::function_ref<llvm::Expected<ElementsAttr>()> make);

  bool isEnabled = false;
  SmallVector<std::function<void()>> pageOwners;

private:
  mutable std::shared_mutex mutex;
  llvm::DenseMap<const Entry *, std::unique_ptr<Deferred>> entries;
  llvm::DenseMap<std::pair<Type, Attribute>, ElementsAttr> derived;
};

} // namespace

llvm::Expected<ElementsAttr> DeferredConstants::findOrMake(
    ShapedType type, Attribute derivation,
    llvm::function_ref<llvm::Expected<ElementsAttr>()> make) {
  {
    std::shared_lock<std::shared_mutex> lock(mutex);
    if (ElementsAttr known = derived.lookup({type, derivation}))
      return known;
  }
  llvm::Expected<ElementsAttr> made = make();
  if (!made)
    return made;
  std::lock_guard<std::shared_mutex> lock(mutex);
  return derived.try_emplace({type, derivation}, *made).first->second;
}

/// The same where constants of \p type are deferred; else just made.
static llvm::Expected<ElementsAttr>
findOrMake(ShapedType type, Attribute derivation,
           llvm::function_ref<llvm::Expected<ElementsAttr>()> make) {
  DeferredConstants *deferred = DeferredConstants::find(type.getContext());
  return deferred && deferred->isEnabled && derivation
             ? deferred->findOrMake(type, derivation, make)
             : make();
}

static const Deferred *findDeferred(Attribute attr) {
  auto resource = dyn_cast_if_present<DenseResourceElementsAttr>(attr);
  DeferredConstants *constants =
      resource ? DeferredConstants::find(resource.getContext()) : nullptr;
  return constants ? constants->lookup(resource.getRawHandle().getResource())
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

std::optional<ArrayRef<char>> rwkvc::findRawBytes(Attribute attr) {
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
  return findRawBytes(attr) || findDeferred(attr);
}

std::string rwkvc::identifyConstant(Attribute value) {
  std::string key;
  llvm::raw_string_ostream os(key);
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(value))
    os << "resource " << resource.getRawHandle().getResource();
  else if (auto dense = dyn_cast<DenseElementsAttr>(value);
           dense && !dense.getElementType().isInteger(1))
    // A splat has the bytes of one element.
    os << dense.getNumElements() << " elements of bytes "
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

/// \p size bytes that \p fill writes, in a file without a name.
static llvm::Expected<AsmResourceBlob>
writeBlob(int64_t size, llvm::function_ref<void(MutableArrayRef<char>)> fill) {
  auto region = mapTemporaryFile(size);
  if (!region)
    return region.takeError();
  fill({(*region)->data(), static_cast<size_t>(size)});
  return AsmResourceBlob(
      ArrayRef<char>((*region)->const_data(), size), /*dataAlignment=*/64,
      [region = *region](void *, size_t, size_t) {}, /*dataIsMutable=*/false);
}

/// All bytes of \p deferred , in a file without a name.
static llvm::Expected<AsmResourceBlob> evaluate(const Deferred &deferred) {
  return writeBlob(
      *getRawSize(deferred.type), [&](MutableArrayRef<char> bytes) {
        SmallVector<Piece> pieces = getPieces(deferred.type);
        forEachInOrder(pieces.size(), [&](size_t i) {
          deferred.read(pieces[i].box,
                        bytes.slice(pieces[i].offset, pieces[i].size));
        });
      });
}

std::optional<ArrayRef<char>> rwkvc::getRawBytes(Attribute attr) {
  auto bytes = findRawBytes(attr);
  const Deferred *deferred = bytes ? nullptr : findDeferred(attr);
  if (!deferred)
    return bytes;
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  if (auto meanwhile = findRawBytes(attr))
    return meanwhile;
  llvm::Expected<AsmResourceBlob> blob = evaluate(*deferred);
  if (!blob) {
    llvm::consumeError(blob.takeError());
    return std::nullopt;
  }
  cast<DenseResourceElementsAttr>(attr).getRawHandle().getResource()->setBlob(
      std::move(*blob));
  return findRawBytes(attr);
}

/// Copies elements of \p run bytes, as many along each axis as \p counts says
/// and with its distance in \p strides, to one place.
static void copyStrided(const char *from, ArrayRef<int64_t> counts,
                        ArrayRef<int64_t> strides, int64_t run,
                        MutableArrayRef<char> to) {
  while (!counts.empty() && strides.back() == run) {
    run *= counts.back();
    counts = counts.drop_back();
    strides = strides.drop_back();
  }
  SmallVector<int64_t> index(counts.size());
  for (char *end = to.end(), *next = to.begin(); next != end; next += run) {
    std::memcpy(next, from, run);
    for (size_t axis = counts.size(); axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] != counts[axis])
        break;
      from -= counts[axis] * strides[axis];
      index[axis] = 0;
    }
  }
}

/// Copies \p box of a tensor of \p shape , whose bytes are \p from .
static void copyBox(const char *from, ArrayRef<int64_t> shape,
                    int64_t elementSize, const Box &box,
                    MutableArrayRef<char> to) {
  SmallVector<int64_t> strides = computeStrides(shape);
  for (auto [offset, stride] : llvm::zip_equal(box.offsets, strides)) {
    stride *= elementSize;
    from += offset * stride;
  }
  copyStrided(from, box.sizes, strides, elementSize, to);
}

/// The least box of \p shape that has the elements \p first to \p last , which
/// lie one after another in it; \p first becomes the number of its first one.
static Box findBox(ArrayRef<int64_t> shape, int64_t &first, int64_t last) {
  Box box;
  int64_t unit = computeProduct(shape), from = first, to = last, start = 0;
  bool isSplit = false;
  for (int64_t size : shape) {
    unit /= size;
    int64_t low = isSplit ? 0 : from / unit;
    int64_t high = isSplit ? size - 1 : to / unit;
    box.offsets.push_back(low);
    box.sizes.push_back(high - low + 1);
    start += low * unit;
    isSplit |= low != high;
    from %= unit;
    to %= unit;
  }
  first = start;
  return box;
}

/// Reads \p box of \p deferred seen in the shape of \p type .
static void readView(const Deferred &deferred, ShapedType type, const Box &box,
                     MutableArrayRef<char> bytes) {
  ArrayRef<int64_t> seen = type.getShape(), own = deferred.type.getShape();
  if (seen == own || bytes.empty())
    return deferred.read(box, bytes);
  // Groups of axes that have equally many elements in both shapes; of each, the
  // range of elements that is read.
  Box range;
  SmallVector<int64_t> sizes, starts, strides(seen.size());
  SmallVector<size_t> groups(seen.size());
  size_t i = 0, k = 0;
  while (i < seen.size() || k < own.size()) {
    size_t firstSeen = i, firstOwn = k;
    int64_t ofSeen = i < seen.size() ? seen[i++] : 1;
    int64_t ofOwn = k < own.size() ? own[k++] : 1;
    while (ofSeen != ofOwn)
      (ofSeen < ofOwn ? ofSeen : ofOwn) *=
          ofSeen < ofOwn ? seen[i++] : own[k++];
    int64_t stride = 1, first = 0, last = 0;
    for (size_t axis = i; axis-- > firstSeen; stride *= seen[axis]) {
      strides[axis] = stride;
      groups[axis] = sizes.size();
      first += box.offsets[axis] * stride;
      last += (box.offsets[axis] + box.sizes[axis] - 1) * stride;
    }
    int64_t start = first;
    Box part = findBox(own.slice(firstOwn, k - firstOwn), start, last);
    sizes.push_back(part.getNumElements());
    starts.push_back(first - start);
    range.offsets.append(part.offsets);
    range.sizes.append(part.sizes);
  }
  if (range.getNumElements() == box.getNumElements())
    return deferred.read(range, bytes);
  int64_t elementSize = getElementSize(type);
  SmallVector<char> room;
  room.resize_for_overwrite(range.getNumElements() * elementSize);
  deferred.read(range, room);
  const char *from = room.data();
  SmallVector<int64_t> groupStrides = computeStrides(sizes);
  for (auto [start, stride] : llvm::zip_equal(starts, groupStrides))
    from += start * stride * elementSize;
  for (auto [group, stride] : llvm::zip_equal(groups, strides))
    stride *= groupStrides[group] * elementSize;
  copyStrided(from, box.sizes, strides, elementSize, bytes);
}

void rwkvc::readBox(Attribute attr, const Box &box,
                    MutableArrayRef<char> bytes) {
  if (auto present = findRawBytes(attr)) {
    auto type = cast<ElementsAttr>(attr).getShapedType();
    return copyBox(present->data(), type.getShape(), getElementSize(type), box,
                   bytes);
  }
  readView(*findDeferred(attr), cast<ElementsAttr>(attr).getShapedType(), box,
           bytes);
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
  if (auto present = findRawBytes(attr))
    return present->slice(piece.offset, piece.size);
  room.resize_for_overwrite(piece.size);
  readBox(attr, piece.box, room);
  return room;
}

OrderedLoop::OrderedLoop(size_t count, std::function<void(size_t)> visit)
    : count(count), visit(std::move(visit)) {}

void OrderedLoop::addThreads(unsigned more) {
  unsigned most = llvm::parallel::strategy.compute_thread_count();
  for (; more > 0 && numThreads < most; --more, ++numThreads)
    threads.spawn([this] {
      for (size_t i; (i = next++) < count;)
        visit(i);
    });
}

void rwkvc::forEachInOrder(size_t count,
                           llvm::function_ref<void(size_t)> visit) {
  OrderedLoop(count, visit)
      .addThreads(llvm::parallel::strategy.compute_thread_count());
}

llvm::DenseMap<Attribute, int64_t> rwkvc::countConstantUses(Operation *op) {
  llvm::DenseMap<Attribute, int64_t> uses;
  op->walk([&](arith::ConstantOp constant) {
    uses[constant.getValue()] += llvm::range_size(constant->getUses());
  });
  return uses;
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

static llvm::Expected<ElementsAttr> makeNew(ShapedType type, StringRef name,
                                            BoxReader read) {
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
    deferred->add(handle.getResource(), {type, std::move(read)});
    return DenseResourceElementsAttr::get(type, handle);
  }
  llvm::Expected<AsmResourceBlob> blob = evaluate({type, std::move(read)});
  if (!blob)
    return blob.takeError();
  return DenseResourceElementsAttr::get(type, name, std::move(*blob));
}

llvm::Expected<ElementsAttr> rwkvc::makeConstant(ShapedType type,
                                                 StringRef name, BoxReader read,
                                                 Attribute derivation) {
  return findOrMake(type, derivation,
                    [&] { return makeNew(type, name, std::move(read)); });
}

static llvm::Expected<ElementsAttr>
writeNew(ShapedType type, StringRef name,
         llvm::function_ref<void(MutableArrayRef<char>)> fill) {
  int64_t size = *getRawSize(type);
  if (size <= kMaxMemoryBytes) {
    SmallVector<char> bytes(size);
    fill(bytes);
    return copyConstant(type, name, bytes);
  }
  llvm::Expected<AsmResourceBlob> blob = writeBlob(size, fill);
  if (!blob)
    return blob.takeError();
  return DenseResourceElementsAttr::get(type, name, std::move(*blob));
}

llvm::Expected<ElementsAttr>
rwkvc::writeConstant(ShapedType type, StringRef name,
                     llvm::function_ref<void(MutableArrayRef<char>)> fill,
                     Attribute derivation) {
  return findOrMake(type, derivation,
                    [&] { return writeNew(type, name, fill); });
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
