//===- Constants.h - Bytes of constant tensors ------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Weights are constants, the large ones resources that the model's file backs.
// Passes that compute others from them say how, box by box: the bytes of a
// large one are needed last, when the weights file is written, and never all at
// once. Until then they need not exist (deferConstants).
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_SUPPORT_CONSTANTS_H
#define RWKVC_SUPPORT_CONSTANTS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/Parallel.h"
#include <atomic>
#include <functional>
#include <optional>

namespace rwkvc {

/// Constants up to this size are dense attributes, and small enough for ONNX's
/// shape inference to read them; larger ones are resources.
inline constexpr int64_t kMaxDenseBytes = 1024;

/// A box of a tensor: where it starts and how far it goes along each axis.
struct Box {
  llvm::SmallVector<int64_t, 4> offsets, sizes;

  static Box all(mlir::ShapedType type);
  int64_t getNumElements() const;
};

/// Writes the elements of a box of a constant, row-major; called by several
/// threads at a time, and after the pass that made it.
using BoxReader =
    std::function<void(const Box &box, llvm::MutableArrayRef<char> bytes)>;

/// The size of a constant of \p type, of booleans one byte each; none for
/// elements that share a byte.
std::optional<int64_t> getRawSize(mlir::ShapedType type);

/// Whether a constant tensor has bytes to be read, as they are or as they will
/// be computed: row-major and little-endian, of booleans in a resource one
/// each. A splat has none, nor have elements that share a byte and a resource
/// that is not there.
bool hasRawBytes(mlir::Attribute attr);

/// These bytes, all in memory: a deferred constant is computed as a whole. None
/// too where there is no room for it; readBox needs none.
std::optional<llvm::ArrayRef<char>> getRawBytes(mlir::Attribute attr);

/// These bytes of a constant that is not deferred.
std::optional<llvm::ArrayRef<char>> findRawBytes(mlir::Attribute attr);

/// Those of a box, for a constant that has bytes.
void readBox(mlir::Attribute attr, const Box &box,
             llvm::MutableArrayRef<char> bytes);

/// A box of a constant whose bytes are one piece of the constant's.
struct Piece {
  Box box;
  int64_t offset = 0, size = 0; ///< in bytes
};

/// Pieces of a few MB that make up a constant of \p type, in order: no more
/// than one for each thread need be in memory.
llvm::SmallVector<Piece> getPieces(mlir::ShapedType type);

/// The bytes of \p piece of a constant that has bytes; computed in \p room
/// where they are not there.
llvm::ArrayRef<char> readPiece(mlir::Attribute attr, const Piece &piece,
                               llvm::SmallVectorImpl<char> &room);

/// Calls `visit` for 0 to `count` - 1 in several threads, in about this order.
/// What is parallel within `visit` runs in one thread.
class OrderedLoop {
public:
  OrderedLoop(size_t count, std::function<void(size_t)> visit);
  /// Waits until all is visited.
  ~OrderedLoop() = default;

  /// Lets \p count more threads take part, until all of the machine's do.
  void addThreads(unsigned count);

private:
  size_t count;
  std::function<void(size_t)> visit;
  std::atomic<size_t> next = 0;
  unsigned numThreads = 0;
  llvm::parallel::TaskGroup threads; // last: waits before the others go
};

/// The same in all threads, to its end.
void forEachInOrder(size_t count, llvm::function_ref<void(size_t)> visit);

/// Equal for constants of equal bytes, in whatever shape. Resources are told by
/// their handle: they are too large to be read here.
std::string identifyConstant(mlir::Attribute value);

/// How often ops read each constant, through any `arith.constant`.
llvm::DenseMap<mlir::Attribute, int64_t> countConstantUses(mlir::Operation *op);

/// A constant of \p type with these bytes, which are copied. A large one
/// becomes a resource called \p name.
mlir::ElementsAttr copyConstant(mlir::ShapedType type, llvm::StringRef name,
                                llvm::ArrayRef<char> bytes);

/// A constant of \p type whose elements \p read computes. A large one becomes a
/// resource called \p name. If constants are deferred, \p read is kept for when
/// its bytes are needed; if not, they are written to a file without a name, so
/// that its pages need not stay in memory, and the error tells why that file
/// could not be written.
///
/// \p derivation names the computation and all that it depends on; none: it is
/// done once. Deferred constants of one type and derivation are one, whichever
/// module they are made for, so that their bytes need not be compared.
llvm::Expected<mlir::ElementsAttr>
makeConstant(mlir::ShapedType type, llvm::StringRef name, BoxReader read,
             mlir::Attribute derivation = {});

/// The same with all bytes written at once by \p fill , deferred or not: for
/// what is not computed box by box.
llvm::Expected<mlir::ElementsAttr>
writeConstant(mlir::ShapedType type, llvm::StringRef name,
              llvm::function_ref<void(llvm::MutableArrayRef<char>)> fill,
              mlir::Attribute derivation = {});

/// From now on, the constants that makeConstant makes in \p context have bytes
/// for the functions above only: the resources stay empty, and are printed
/// without contents. For a compiler that writes them elsewhere.
void deferConstants(mlir::MLIRContext &context);

/// Adds what lets go of pages of a file that backs constants, until they are
/// read again.
void addPageOwner(mlir::MLIRContext &context, std::function<void()> release);
/// Calls all of them: after something large was read.
void releasePages(mlir::MLIRContext &context);

/// The names of the tensors of the model's file that \p constant was made from;
/// empty ones where it has no name.
llvm::SmallVector<llvm::StringRef> getTensorNames(mlir::Attribute constant);

/// The name of a constant that is made from \p tensors , as \p how says; the
/// function above finds them in it.
std::string deriveName(llvm::ArrayRef<llvm::StringRef> tensors,
                       llvm::StringRef how);

} // namespace rwkvc

#endif // RWKVC_SUPPORT_CONSTANTS_H
