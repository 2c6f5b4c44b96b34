#include "parallel/context_parallel/ring_attention.h"

#include "parallel/context_parallel/limited_ring.h"
#include "parallel/context_parallel/ring_support.h"
#include "runtime/ops/attention/attention_merge.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

using ops::AttentionShape;
using ops::Columns;
using namespace ring;

// Gives one tensor after another to the next rank of the ring and takes the previous rank's.
class RingTransfer {
 public:
  RingTransfer(Context& ctx, Communicator& ring)
      : transfer_(ctx, ring),
        next_((ring.rank() + 1) % ring.size()),
        previous_((ring.rank() + ring.size() - 1) % ring.size()) {}

  void start(const Tensor& outgoing) { transfer_.start(outgoing, next_, outgoing.shape(), previous_); }
  Tensor finish() { return transfer_.finish(); }

 private:
  RankTransfer transfer_;
  int next_, previous_;
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

// Queries of this rank and keys of another rank's block that they see; no pair of them is masked. Between the
// rows of two sequences lie some that are not looked at, so ops are called a sequence at a time.
struct BlockView {
  BlockView(const AttentionShape& s, const SeenKeys& seen_keys) : whole(s), seen(seen_keys), one(s) {
    one.batch = 1;
    one.q_len = seen.queries.size();
    one.kv_len = seen.keys.size();
    one.causal = false;
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

// [B, H, queries] of [B, H, all].
Tensor lse_of_queries(Context& ctx, const BlockView& view, const Tensor& lse) {
  const AttentionShape& s = view.whole;
  const int64_t n = view.one.q_len, rows = s.batch * s.num_heads;
  const Tensor part = buffer(ctx, {s.batch, s.num_heads, n}, DType::f32);
  ops::copy_columns(ctx, {lse.view({rows, s.q_len}), view.seen.queries.begin, n},
                    {part.view({rows, n}), 0, n});
  return part;
}

// What one block adds to the output.
struct BlockOutput {
  Tensor out, lse;  // of the queries that see some of it
};

BlockOutput attend(Context& ctx, const BlockView& view, const Columns& q, const Tensor& block) {
  const AttentionShape &s = view.whole, &one = view.one;
  const BlockOutput partial{buffer(ctx, {s.batch * one.q_len, q.count}, q.matrix.dtype()),
                            buffer(ctx, {s.batch, s.num_heads, one.q_len}, DType::f32)};
  for (int64_t b = 0; b < s.batch; ++b) {
    const Tensor seen = view.keys(block, b);
    ops::attention(ctx, one, view.queries(q, b), keys_of(seen), values_of(seen),
                   view.own_queries(partial.out, b), partial.lse.slice(b, b + 1));
  }
  return partial;
}

// What one block adds to the gradients.
struct BlockGradients {
  Tensor dq, dkv;  // of the queries and keys that see each other

  void add_queries(Context& ctx, const BlockView& view, const Tensor& sum) const {
    for (int64_t b = 0; b < view.whole.batch; ++b)
      ops::accumulate(ctx, view.own_queries(dq, b), view.queries(sum, b));
  }
  void add_keys(Context& ctx, const BlockView& view, const Tensor& sum) const {
    for (int64_t b = 0; b < view.whole.batch; ++b)
      ops::accumulate(ctx, view.own_keys(dkv, b), view.keys(sum, b));
  }
};

BlockGradients attend_backward(Context& ctx, const BlockView& view, const Columns& q, const Tensor& block,
                               const Tensor& out, const Tensor& lse, const Tensor& dout) {
  const AttentionShape &s = view.whole, &one = view.one;
  const BlockGradients partial{buffer(ctx, {s.batch * one.q_len, q.count}, out.dtype()),
                               buffer(ctx, {s.batch * one.kv_len, block.dim(1)}, out.dtype())};
  const Tensor lse_seen = lse_of_queries(ctx, view, lse);
  for (int64_t b = 0; b < s.batch; ++b) {
    const Tensor seen = view.keys(block, b), dkv = view.own_keys(partial.dkv, b);
    ops::attention_backward(ctx, one, view.queries(q, b), keys_of(seen), values_of(seen),
                            view.queries(out, b), lse_seen.slice(b, b + 1), view.queries(dout, b),
                            {view.own_queries(partial.dq, b), 0, q.count}, keys_of(dkv), values_of(dkv));
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
                    const Tensor& lse, std::span<const int32_t> chunk_first_keys) {
  if (num_parts == 1) return ops::attention(ctx, s, q, k, v, out, lse);
  check_parts(context, num_parts, s);
  if (limits_keys(s)) return limited_ring_attention(ctx, context, s, q, k, v, out, lse, chunk_first_keys);
  BlocksOfOthers others(ctx, context.group(), pack(ctx, {k, v}));
  ops::attention(ctx, s, q, k, v, out, lse);
  const Tensor merged = as_f32(ctx, out);
  while (others.next()) {
    const BlockView view(s, context.share().seen_of(others.owner(), s.q_len));
    const BlockOutput partial = attend(ctx, view, q, others.block());
    ops::merge_attention(ctx, partial.out, partial.lse, view.seen.queries.begin, merged, lse);
  }
  if (out.dtype() != DType::f32) ops::copy(ctx, merged, out);
}

void ring_attention_backward(Context& ctx, const ContextParallel& context, int num_parts,
                             const AttentionShape& s, const Columns& q, const Columns& k, const Columns& v,
                             const Tensor& out, const Tensor& lse, const Tensor& dout, const Columns& dq,
                             const Columns& dk, const Columns& dv,
                             std::span<const int32_t> chunk_first_keys) {
  if (num_parts == 1) return ops::attention_backward(ctx, s, q, k, v, out, lse, dout, dq, dk, dv);
  check_parts(context, num_parts, s);
  if (limits_keys(s)) {
    return limited_ring_attention_backward(ctx, context, s, q, k, v, out, lse, dout, dq, dk, dv,
                                           chunk_first_keys);
  }
  BlocksOfOthers others(ctx, context.group(), pack(ctx, {k, v}));
  RingTransfer sums(ctx, context.group());
  ops::attention_backward(ctx, s, q, k, v, out, lse, dout, dq, dk, dv);
  const Tensor dq_sum = as_f32(ctx, pack(ctx, {dq}));
  Tensor dkv_sum =
      ops::zeros(ctx, {k.rows(), 2 * k.count}, DType::f32, MemoryCategory::buffers);  // of the block at hand
  while (others.next()) {
    const BlockView view(s, context.share().seen_of(others.owner(), s.q_len));
    const BlockGradients partial = attend_backward(ctx, view, q, others.block(), out, lse, dout);
    partial.add_queries(ctx, view, dq_sum);
    // They come from the rank that had this block in the step before.
    if (!others.is_first()) dkv_sum = sums.finish();
    partial.add_keys(ctx, view, dkv_sum);
    sums.start(dkv_sum);
  }
  unpack(ctx, dq_sum, {dq});
  dkv_sum = sums.finish();
  ops::accumulate(ctx, pack(ctx, {dk, dv}), dkv_sum);
  unpack(ctx, dkv_sum, {dk, dv});
}

}  // namespace trireme
