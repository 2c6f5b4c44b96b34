#include "parallel/context_parallel/ring_attention.h"

#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include "runtime/ops/attention/attention_merge.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

using ops::AttentionShape;
using ops::Columns;

Tensor buffer(Context& ctx, const Shape& shape, DType dtype) {
  return Tensor::empty(ctx, shape, dtype, MemoryCategory::buffers);
}

// t itself where it is f32.
Tensor as_f32(Context& ctx, const Tensor& t) {
  if (t.dtype() == DType::f32) return t;
  const Tensor wide = buffer(ctx, t.shape(), DType::f32);
  ops::copy(ctx, t, wide);
  return wide;
}

// The columns side by side in a matrix of their own.
Tensor pack(Context& ctx, std::initializer_list<Columns> parts) {
  int64_t width = 0;
  for (const Columns& part : parts) width += part.count;
  const Tensor packed = buffer(ctx, {parts.begin()->rows(), width}, parts.begin()->matrix.dtype());
  int64_t at = 0;
  for (const Columns& part : parts) {
    ops::copy_columns(ctx, part, {packed, at, part.count});
    at += part.count;
  }
  return packed;
}

// The way back, rounded to the type of the columns.
void unpack(Context& ctx, const Tensor& packed, std::initializer_list<Columns> parts) {
  const DType dtype = parts.begin()->matrix.dtype();
  Tensor rounded = packed;
  if (packed.dtype() != dtype) {
    rounded = buffer(ctx, packed.shape(), dtype);
    ops::copy(ctx, packed, rounded);
  }
  int64_t at = 0;
  for (const Columns& part : parts) {
    ops::copy_columns(ctx, {rounded, at, part.count}, part);
    at += part.count;
  }
}

// Gives one tensor after another to the next rank of the ring and takes the previous rank's, beside what is
// computed between start and finish. Collectives run in a thread of their own; messages from rank to rank
// would move only while MPI is called, thus not beside the arithmetic.
class RingTransfer {
 public:
  RingTransfer(Context& ctx, Communicator& ring) : ctx_(ctx), ring_(ring) {}

  void start(const Tensor& outgoing) {
    const auto size = static_cast<size_t>(ring_.size()), rank = static_cast<size_t>(ring_.rank());
    std::vector<int64_t> to(size, 0), from(size, 0);
    to[(rank + 1) % size] = from[(rank + size - 1) % size] = outgoing.numel();
    incoming_ = buffer(ctx_, outgoing.shape(), outgoing.dtype());
    work_ = ring_.all_to_all_v_async(ctx_.stream(), outgoing, to, incoming_, from);
  }
  Tensor finish() {
    std::exchange(work_, nullptr)->wait();
    return std::exchange(incoming_, Tensor());
  }

 private:
  Context& ctx_;
  Communicator& ring_;
  Tensor incoming_;
  WorkPtr work_;
};

// Keys and values ([k | v], packed) of the other ranks as they come round, the previous rank's first. While
// one is looked at the next is on its way.
class BlocksOfOthers {
 public:
  BlocksOfOthers(Context& ctx, Communicator& ring, const Tensor& own)
      : transfer_(ctx, ring), size_(ring.size()), owner_(ring.rank()) {
    transfer_.start(own);
  }

  bool next() {
    if (++step_ == size_) return false;
    block_ = transfer_.finish();
    owner_ = (owner_ + size_ - 1) % size_;
    if (step_ + 1 < size_) transfer_.start(block_);
    return true;
  }
  bool is_first() const { return step_ == 1; }
  int owner() const { return owner_; }
  const Tensor& block() const { return block_; }

 private:
  RingTransfer transfer_;
  int size_, owner_, step_ = 0;
  Tensor block_;
};

// Queries of this rank and keys of a block that they see. Without a window no pair is masked. Between the
// rows of two sequences lie some that are not looked at, so ops are called a sequence at a time.
struct Sight {
  Sight(const AttentionShape& s, const SeenKeys& seen_keys) : whole(s), seen(seen_keys), one(s) {
    one.batch = 1;
    one.q_len = seen.queries.size();
    one.kv_len = seen.keys.size();
    one.causal = s.window > 0;
    one.shift = seen.shift;
  }

  // The rows of sequence b that take part, in a matrix of all queries (keys).
  Tensor queries(const Tensor& t, int64_t b) const { return rows(t, b * whole.q_len, seen.queries); }
  Tensor keys(const Tensor& t, int64_t b) const { return rows(t, b * whole.kv_len, seen.keys); }
  Columns queries(const Columns& c, int64_t b) const { return {queries(c.matrix, b), c.begin, c.count}; }
  // The same in a matrix of those rows alone.
  Tensor own_queries(const Tensor& t, int64_t b) const { return rows(t, b * one.q_len, {0, one.q_len}); }
  Tensor own_keys(const Tensor& t, int64_t b) const { return rows(t, b * one.kv_len, {0, one.kv_len}); }

  AttentionShape whole;
  SeenKeys seen;
  AttentionShape one;  // of one sequence

 private:
  static Tensor rows(const Tensor& t, int64_t begin, const Part& part) {
    return t.slice(begin + part.begin, begin + part.end);
  }
};

// What the queries of this rank see of the block of rank `owner`, which under a window may be its own.
std::vector<Sight> sights_of(const ContextShare& share, int owner, const AttentionShape& s) {
  if (s.window == 0) return {Sight(s, share.seen_of(owner, s.q_len))};
  std::vector<Sight> sights;
  for (const SeenKeys& seen : share.seen_within(s.window, owner, s.q_len)) sights.emplace_back(s, seen);
  return sights;
}

// The halves of a packed [k | v].
Columns keys_of(const Tensor& packed) { return {packed, 0, packed.dim(1) / 2}; }
Columns values_of(const Tensor& packed) { return {packed, packed.dim(1) / 2, packed.dim(1) / 2}; }

// [B, H, queries] of [B, H, all].
Tensor lse_of_queries(Context& ctx, const Sight& sight, const Tensor& lse) {
  const AttentionShape& s = sight.whole;
  const int64_t n = sight.one.q_len, rows = s.batch * s.num_heads;
  const Tensor part = buffer(ctx, {s.batch, s.num_heads, n}, DType::f32);
  ops::copy_columns(ctx, {lse.view({rows, s.q_len}), sight.seen.queries.begin, n},
                    {part.view({rows, n}), 0, n});
  return part;
}

// What one block adds to the output.
struct BlockOutput {
  Tensor out, lse;  // of the queries that see some of it
};

BlockOutput attend(Context& ctx, const Sight& sight, const Columns& q, const Tensor& block) {
  const AttentionShape &s = sight.whole, &one = sight.one;
  const BlockOutput partial{buffer(ctx, {s.batch * one.q_len, q.count}, q.matrix.dtype()),
                            buffer(ctx, {s.batch, s.num_heads, one.q_len}, DType::f32)};
  for (int64_t b = 0; b < s.batch; ++b) {
    const Tensor seen = sight.keys(block, b);
    ops::attention(ctx, one, sight.queries(q, b), keys_of(seen), values_of(seen),
                   sight.own_queries(partial.out, b), partial.lse.slice(b, b + 1));
  }
  return partial;
}

// What one block adds to the gradients.
struct BlockGradients {
  Tensor dq, dkv;  // of the queries and keys that see each other

  void add_queries(Context& ctx, const Sight& sight, const Tensor& sum) const {
    for (int64_t b = 0; b < sight.whole.batch; ++b)
      ops::accumulate(ctx, sight.own_queries(dq, b), sight.queries(sum, b));
  }
  void add_keys(Context& ctx, const Sight& sight, const Tensor& sum) const {
    for (int64_t b = 0; b < sight.whole.batch; ++b)
      ops::accumulate(ctx, sight.own_keys(dkv, b), sight.keys(sum, b));
  }
};

BlockGradients attend_backward(Context& ctx, const Sight& sight, const Columns& q, const Tensor& block,
                               const Tensor& out, const Tensor& lse, const Tensor& dout) {
  const AttentionShape &s = sight.whole, &one = sight.one;
  const BlockGradients partial{buffer(ctx, {s.batch * one.q_len, q.count}, out.dtype()),
                               buffer(ctx, {s.batch * one.kv_len, block.dim(1)}, out.dtype())};
  const Tensor lse_seen = lse_of_queries(ctx, sight, lse);
  for (int64_t b = 0; b < s.batch; ++b) {
    const Tensor seen = sight.keys(block, b), dkv = sight.own_keys(partial.dkv, b);
    ops::attention_backward(ctx, one, sight.queries(q, b), keys_of(seen), values_of(seen),
                            sight.queries(out, b), lse_seen.slice(b, b + 1), sight.queries(dout, b),
                            {sight.own_queries(partial.dq, b), 0, q.count}, keys_of(dkv), values_of(dkv));
  }
  return partial;
}

void check_parts(const ContextParallel& context, int num_parts, const AttentionShape& s) {
  TRIREME_CHECK(num_parts == context.group().size(), "sequences in {} parts on a ring of {}", num_parts,
                context.group().size());
  TRIREME_CHECK(s.causal && s.q_len == s.kv_len, "ring attention of {} queries and {} keys", s.q_len,
                s.kv_len);
}

}  // namespace

void ring_attention(Context& ctx, const ContextParallel& context, int num_parts, const AttentionShape& s,
                    const Columns& q, const Columns& k, const Columns& v, const Tensor& out,
                    const Tensor& lse) {
  if (num_parts == 1) return ops::attention(ctx, s, q, k, v, out, lse);
  check_parts(context, num_parts, s);
  Tensor own = pack(ctx, {k, v});
  const ContextShare share = context.share();
  BlocksOfOthers others(ctx, context.group(), own);
  Tensor merged;
  const auto merge = [&](int owner, const Tensor& block) {
    for (const Sight& sight : sights_of(share, owner, s)) {
      const BlockOutput partial = attend(ctx, sight, q, block);
      ops::merge_attention(ctx, partial.out, partial.lse, sight.seen.queries.begin, merged, lse);
    }
  };
  if (s.window == 0) {
    own = Tensor();
    ops::attention(ctx, s, q, k, v, out, lse);
    merged = as_f32(ctx, out);
  } else {  // the places of the own chunks are not one run
    merged = out.dtype() == DType::f32 ? out : buffer(ctx, out.shape(), DType::f32);
    ops::fill(ctx, merged, 0);
    ops::fill(ctx, lse, -std::numeric_limits<double>::infinity());
    merge(share.rank, std::exchange(own, Tensor()));
  }
  while (others.next()) merge(others.owner(), others.block());
  if (out.dtype() != DType::f32) ops::copy(ctx, merged, out);
}

void ring_attention_backward(Context& ctx, const ContextParallel& context, int num_parts,
                             const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v,
                             const Tensor& out, const Tensor& lse, const Tensor& dout, const Columns& dq,
                             const Columns& dk, const Columns& dv) {
  if (num_parts == 1) return ops::attention_backward(ctx, s, q, k, v, out, lse, dout, dq, dk, dv);
  check_parts(context, num_parts, s);
  Tensor own = pack(ctx, {k, v});
  const ContextShare share = context.share();
  BlocksOfOthers others(ctx, context.group(), own);
  RingTransfer sums(ctx, context.group());
  Tensor dq_sum, dkv_own;
  const auto differentiate = [&](const std::vector<Sight>& sights, const Tensor& block) {
    std::vector<BlockGradients> partial;
    for (const Sight& sight : sights) {
      partial.push_back(attend_backward(ctx, sight, q, block, out, lse, dout));
      partial.back().add_queries(ctx, sight, dq_sum);
    }
    return partial;
  };
  const auto add_keys = [&](const std::vector<Sight>& sights, const std::vector<BlockGradients>& partial,
                            const Tensor& sum) {
    for (size_t i = 0; i < sights.size(); ++i) partial[i].add_keys(ctx, sights[i], sum);
  };
  if (s.window == 0) {
    own = Tensor();
    ops::attention_backward(ctx, s, q, k, v, out, lse, dout, dq, dk, dv);
    dq_sum = as_f32(ctx, pack(ctx, {dq}));
  } else {
    dq_sum = ops::zeros(ctx, {q.rows(), q.count}, DType::f32, MemoryCategory::buffers);
    dkv_own = ops::zeros(ctx, {k.rows(), 2 * k.count}, DType::f32, MemoryCategory::buffers);
    const auto sights = sights_of(share, share.rank, s);
    add_keys(sights, differentiate(sights, std::exchange(own, Tensor())), dkv_own);
  }
  Tensor dkv_sum =
      ops::zeros(ctx, {k.rows(), 2 * k.count}, DType::f32, MemoryCategory::buffers);  // of the block at hand
  while (others.next()) {
    const auto sights = sights_of(share, others.owner(), s);
    const auto partial = differentiate(sights, others.block());
    // They come from the rank that had this block in the step before.
    if (!others.is_first()) dkv_sum = sums.finish();
    add_keys(sights, partial, dkv_sum);
    sums.start(dkv_sum);
  }
  unpack(ctx, dq_sum, {dq});
  dkv_sum = sums.finish();
  ops::accumulate(ctx, s.window == 0 ? pack(ctx, {dk, dv}) : dkv_own, dkv_sum);
  unpack(ctx, dkv_sum, {dk, dv});
}

}  // namespace trireme
