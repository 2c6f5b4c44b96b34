// What the two ways of attention between context-parallel ranks share: packed columns, f32 sums, transfers.
#pragma once

#include <initializer_list>

#include "parallel/context_parallel/context_parallel.h"
#include "runtime/ops/attention/attention.h"

namespace trireme::ring {

/// Of the category that attention's working memory counts as.
Tensor buffer(Context& ctx, const Shape& shape, DType dtype);

/// t itself where it is f32.
Tensor as_f32(Context& ctx, const Tensor& t);

/// The columns side by side in a matrix of their own.
Tensor pack(Context& ctx, std::initializer_list<ops::Columns> parts);
/// The way back, rounded to the type of the columns.
void unpack(Context& ctx, const Tensor& packed, std::initializer_list<ops::Columns> parts);

/// The halves of a packed [k | v].
inline ops::Columns keys_of(const Tensor& packed) { return {packed, 0, packed.dim(1) / 2}; }
inline ops::Columns values_of(const Tensor& packed) { return {packed, packed.dim(1) / 2, packed.dim(1) / 2}; }

/// Gives one tensor after another to a rank and takes another rank's, beside what is computed between start
/// and finish. Collectives run in a thread of their own; messages from rank to rank would move only while
/// MPI is called, thus not beside the arithmetic. Every rank of the group calls start.
class RankTransfer {
 public:
  RankTransfer(Context& ctx, Communicator& group) : ctx_(ctx), group_(group) {}

  /// `incoming`: the shape of what rank `from` gives to this one; either may have no elements. Both are held
  /// until finish, so that how much memory a ring takes does not depend on when its messages arrive.
  void start(const Tensor& outgoing, int to, const Shape& incoming, int from);
  Tensor finish();

 private:
  Context& ctx_;
  Communicator& group_;
  Tensor outgoing_, incoming_;
  WorkPtr work_;
};

}  // namespace trireme::ring
