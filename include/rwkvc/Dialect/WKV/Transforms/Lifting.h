//===- Lifting.h - From one token to many -----------------------*- C++ -*-===//
//
// Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// wkv-lift-to-sequence computes a function of one token at many points at once:
// one for each token of each sequence. A value that depends on the token gets a
// leading axis over the points, any other stays as it is. What an op becomes is
// known to a rule: linalg ops and elementwise ops have one each, by interface
// and trait; the ops of a dialect get theirs by a LiftingDialectInterface.
//
// A dialect gets its rules by an extension of the registry:
//
//   struct MyLifting : wkv::LiftingDialectInterface {
//     using LiftingDialectInterface::LiftingDialectInterface;
//     FailureOr<SmallVector<Value>>
//     lift(Operation *op, wkv::Lifting &lifting) const override { ... }
//   };
//   registry.addExtension(+[](MLIRContext *, MyDialect *dialect) {
//     dialect->addInterfaces<MyLifting>();
//   });
//
//===----------------------------------------------------------------------===//

#ifndef RWKVC_DIALECT_WKV_TRANSFORMS_LIFTING_H
#define RWKVC_DIALECT_WKV_TRANSFORMS_LIFTING_H

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/DialectInterface.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

namespace rwkvc::wkv {

/// A function of one token on its way to several. The points are the last
/// getNumTokens() tokens of each sequence's valid ones, sequence by sequence:
/// what only the last logits need is not computed for the rest.
class Lifting {
public:
  /// For \p batch sequences of \p numTokens tokens, of which \p length (tensor
  /// of i64, or null: all of them) count. New ops go to \p builder.
  Lifting(mlir::OpBuilder &builder, int64_t batch, int64_t numTokens,
          mlir::Value length);

  /// Where the rule of an op builds.
  mlir::OpBuilder &getBuilder() { return builder; }

  //===-- Points --------------------------------------------------------===//
  int64_t getBatch() const { return batch; }
  /// Tokens of each sequence, T, for the op being lifted.
  int64_t getNumTokens() const { return window; }
  /// Extent of the leading axis.
  int64_t getNumPoints() const { return batch * window; }
  /// How many of the T tokens count, tensor<i64>; null: all of them.
  mlir::Value getLength();

  //===-- Values --------------------------------------------------------===//
  /// Whether \p value differs from point to point.
  bool varies(mlir::Value value) const { return varying.contains(value); }
  /// The counterpart of a value that does not vary.
  mlir::Value getCommon(mlir::Value value) {
    return common.lookupOrNull(value);
  }
  /// The values at all points, [N, shape of the value]; one that does not vary
  /// is repeated. A scalar becomes a tensor of N of them.
  mlir::Value getLifted(mlir::Value value);
  mlir::RankedTensorType getLiftedType(mlir::Type type) const;
  /// Counterparts of a state, [B, ..], and of what continues it.
  mlir::Value getState(mlir::Value value) { return states.lookup(value); }
  void setState(mlir::Value value, mlir::Value lifted) {
    states[value] = lifted;
  }

  //===-- Regions -------------------------------------------------------===//
  /// Says that \p argument of a region is \p lifted at all points, or, where
  /// that does not vary, \p value.
  void setLifted(mlir::Value argument, mlir::Value lifted);
  void setCommon(mlir::Value argument, mlir::Value value) {
    common.map(argument, value);
  }
  /// Lifts the ops of \p block but its terminator.
  llvm::LogicalResult liftBlock(mlir::Block &block);

  /// Why an op cannot be lifted: a remark at the op. Return failure after it.
  mlir::InFlightDiagnostic refuse(mlir::Operation *op);

  //===-- Driving -------------------------------------------------------===//
  /// Finds out what varies in \p block when \p varyingArgs and \p stateArgs do.
  void analyze(mlir::Block &block, mlir::ValueRange varyingArgs);
  /// Says at how many of the last tokens \p value is read.
  void need(mlir::Value value, int64_t tokens);
  /// Propagates needs from results to operands, last op first.
  void propagateNeeds(mlir::Block &block);
  /// The values of \p value at the last \p tokens tokens.
  mlir::Value getLiftedAt(mlir::Value value, int64_t tokens);

private:
  llvm::LogicalResult liftOp(mlir::Operation *op);
  void markVarying(mlir::Block &block);
  mlir::Value repeat(mlir::Value value, mlir::Type type);
  mlir::Value takeLast(mlir::Value value, int64_t from, int64_t to);
  mlir::Value getStart(int64_t tokens);

  mlir::OpBuilder &builder;
  int64_t batch, numTokens, window;
  mlir::Value length;
  mlir::IRMapping common;
  llvm::DenseSet<mlir::Value> varying;
  llvm::DenseMap<mlir::Value, mlir::Value> states;
  llvm::DenseMap<mlir::Value, int64_t> needs;
  /// For each value the tokens at which it was computed, and the result.
  llvm::DenseMap<mlir::Value, std::pair<int64_t, mlir::Value>> lifted;
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, mlir::Value> parts;
  llvm::DenseMap<int64_t, mlir::Value> starts, lengths;
};

/// The rules of a dialect.
class LiftingDialectInterface
    : public mlir::DialectInterface::Base<LiftingDialectInterface> {
public:
  explicit LiftingDialectInterface(mlir::Dialect *dialect) : Base(dialect) {}

  /// Builds what computes \p op at all points and returns its results, each
  /// with the leading axis; called only where an operand, or a value that a
  /// region of the op reads, varies. Failure after `lifting.refuse(op)`.
  virtual llvm::FailureOr<llvm::SmallVector<mlir::Value>>
  lift(mlir::Operation *op, Lifting &lifting) const = 0;
};

/// The rules of linalg ops and of elementwise ops; an empty vector where \p op
/// is neither.
llvm::FailureOr<llvm::SmallVector<mlir::Value>>
liftStructuredOp(mlir::Operation *op, Lifting &lifting);

/// Adds the rules for tensor, scf and wkv.
void registerLiftingInterfaces(mlir::DialectRegistry &registry);

} // namespace rwkvc::wkv

#endif // RWKVC_DIALECT_WKV_TRANSFORMS_LIFTING_H
