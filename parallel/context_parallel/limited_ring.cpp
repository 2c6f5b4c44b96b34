#include "parallel/context_parallel/limited_ring.h"

#include <limits>
#include <utility>

#include "parallel/context_parallel/key_visibility.h"
#include "parallel/context_parallel/ring_support.h"
#include "runtime/ops/attention/attention_merge.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

using ops::AttentionShape;
using ops::Columns;
using namespace ring;

// Rows of a sequence in a matrix of all that this rank holds.
Tensor held_rows(const Tensor& held, const AttentionShape& s, int64_t sequence, const Part& rows) {
  return held.slice(sequence * s.q_len + rows.begin, sequence * s.q_len + rows.end);
}

// A piece, where pieces lie one after the other.
Tensor rows_of(const Tensor& pieces, const Piece& piece) {
  return pieces.slice(piece.at, piece.at + piece.rows.size());
}

Tensor gather(Context& ctx, const Tensor& held, const AttentionShape& s, const VisibleKeys& visible) {
  const Tensor rows = buffer(ctx, {visible.rows(), held.dim(1)}, held.dtype());
  for (const Piece& piece : visible.pieces)
    ops::copy(ctx, held_rows(held, s, piece.sequence, piece.rows), rows_of(rows, piece));
  return rows;
}

// Keys and values ([k | v], packed) that this rank sees of others, a step at a time. While those of a step
// are looked at the next step's are on their way.
class PiecesOfOthers {
 public:
  PiecesOfOthers(Context& ctx, Communicator& group, const KeyVisibility& visibility, const AttentionShape& s,
                 const Tensor& own)
      : ctx_(ctx), transfer_(ctx, group), visibility_(visibility), shape_(s), own_(own) {
    start();
  }

  bool next() {
    if (at_ == visibility_.steps().size()) return false;
    pieces_ = transfer_.finish();
    step_ = visibility_.steps()[at_++];
    visible_ = visibility_.visible(visibility_.rank(), visibility_.holder(step_));
    start();
    return true;
  }
  int step() const { return step_; }
  const VisibleKeys& visible() const { return visible_; }
  const Tensor& pieces() const { return pieces_; }

 private:
  void start() {
    if (at_ == visibility_.steps().size()) {
      own_ = Tensor();  // nobody else needs it
      return;
    }
    const int step = visibility_.steps()[at_], reader = visibility_.reader(step),
              holder = visibility_.holder(step);
    transfer_.start(gather(ctx_, own_, shape_, visibility_.visible(reader, visibility_.rank())), reader,
                    {visibility_.visible(visibility_.rank(), holder).rows(), own_.dim(1)}, holder);
  }

  Context& ctx_;
  RankTransfer transfer_;
  const KeyVisibility& visibility_;
  const AttentionShape& shape_;
  Tensor own_, pieces_;
  VisibleKeys visible_;
  size_t at_ = 0;
  int step_ = 0;
};

// A visit as attention of one sequence.
struct Look {
  Look(const AttentionShape& shape, const VisibleKeys& visible, const Visit& visit)
      : whole(shape),
        one(shape),
        seen(visit.seen),
        piece(visible.pieces[visit.piece]),
        sequence(visit.sequence) {
    one.batch = 1;
    one.q_len = seen.queries.size();
    one.kv_len = seen.keys.size();
    one.shift = seen.shift;
    one.first_place = seen.first_place;
    if (shape.first_key) {
      one.first_key = shape.first_key.flat_slice(first_query(), {1, one.q_len});
    }
  }

  int64_t first_query() const { return sequence * whole.q_len + seen.queries.begin; }
  Tensor queries(const Tensor& t) const { return t.slice(first_query(), first_query() + one.q_len); }
  Columns queries(const Columns& c) const { return {queries(c.matrix), c.begin, c.count}; }

  // The keys of a matrix of all that this rank holds, and of one of pieces.
  Tensor held_keys(const Tensor& held) const { return held_rows(held, whole, sequence, seen.keys); }
  Tensor keys(const Tensor& pieces) const {
    const int64_t begin = piece.at + seen.keys.begin - piece.rows.begin;
    return pieces.slice(begin, begin + seen.keys.size());
  }

  const AttentionShape& whole;
  AttentionShape one;
  SeenKeys seen;
  const Piece& piece;
  int64_t sequence;
};

Tensor lse_of_queries(Context& ctx, const Look& look, const Tensor& lse) {
  const int64_t heads = look.whole.num_heads, n = look.one.q_len;
  const Tensor part = buffer(ctx, {1, heads, n}, DType::f32);
  ops::copy_columns(ctx,
                    {lse.slice(look.sequence, look.sequence + 1).view({heads, look.whole.q_len}),
                     look.seen.queries.begin, n},
                    {part.view({heads, n}), 0, n});
  return part;
}

// Adds what each visit of visible keys gives to the gradients of its queries and of its keys.
struct Differentiate {
  Context& ctx;
  const AttentionShape& s;
  const Columns& q;
  const Tensor &out, &lse, &dout;
  Tensor dq;  // f32

  template <class Keys, class Sums>
  void operator()(const VisibleKeys& visible, const Keys& keys_of_look, const Sums& sums_of_look) const {
    for (const Visit& visit : visible.visits) {
      const Look look(s, visible, visit);
      const Tensor kv = keys_of_look(look);
      const Tensor part_dq = buffer(ctx, {look.one.q_len, q.count}, out.dtype()),
                   part_dkv = buffer(ctx, kv.shape(), out.dtype());
      ops::attention_backward(ctx, look.one, look.queries(q), keys_of(kv), values_of(kv), look.queries(out),
                              lse_of_queries(ctx, look, lse), look.queries(dout), part_dq, keys_of(part_dkv),
                              values_of(part_dkv));
      ops::accumulate(ctx, part_dq, look.queries(dq));
      ops::accumulate(ctx, part_dkv, sums_of_look(look));
    }
  }
};

// What other ranks have summed for this one's keys, which comes back a step behind.
class SumsOfOthers {
 public:
  SumsOfOthers(Context& ctx, Communicator& group, const KeyVisibility& visibility, const AttentionShape& s,
               const Tensor& dkv)
      : ctx_(ctx), transfer_(ctx, group), visibility_(visibility), shape_(s), dkv_(dkv) {}

  // Gives what this rank has summed in a step to the holder of its keys.
  void give(int step, const Tensor& theirs) {
    const int reader = visibility_.reader(step);
    awaited_ = visibility_.visible(reader, visibility_.rank());
    transfer_.start(theirs, visibility_.holder(step), {awaited_.rows(), theirs.dim(1)}, reader);
    is_in_flight_ = true;
  }
  // Adds what the step given last brings, where there was one.
  void take() {
    if (!std::exchange(is_in_flight_, false)) return;
    const Tensor sums = transfer_.finish();
    for (const Piece& piece : awaited_.pieces)
      ops::accumulate(ctx_, rows_of(sums, piece), held_rows(dkv_, shape_, piece.sequence, piece.rows));
  }

 private:
  Context& ctx_;
  RankTransfer transfer_;
  const KeyVisibility& visibility_;
  const AttentionShape& shape_;
  Tensor dkv_;
  VisibleKeys awaited_;
  bool is_in_flight_ = false;
};

}  // namespace

void limited_ring_attention(Context& ctx, const ContextParallel& context, const AttentionShape& s,
                            const Columns& q, const Columns& k, const Columns& v, const Tensor& out,
                            const Tensor& lse, std::span<const int32_t> chunk_first_keys) {
  const KeyVisibility visibility(context.share(), s, chunk_first_keys);
  Tensor own = pack(ctx, {k, v});
  PiecesOfOthers others(ctx, context.group(), visibility, s, own);
  const bool wide = out.dtype() == DType::f32;
  const Tensor merged = wide ? out : buffer(ctx, out.shape(), DType::f32);
  ops::fill(ctx, merged, 0);
  ops::fill(ctx, lse, -std::numeric_limits<double>::infinity());
  const auto look_at = [&](const VisibleKeys& visible, const auto& keys_of_look) {
    for (const Visit& visit : visible.visits) {
      const Look look(s, visible, visit);
      const Tensor kv = keys_of_look(look);
      const Tensor part = buffer(ctx, {look.one.q_len, q.count}, q.dtype()),
                   part_lse = buffer(ctx, {1, s.num_heads, look.one.q_len}, DType::f32);
      ops::attention(ctx, look.one, look.queries(q), keys_of(kv), values_of(kv), part, part_lse);
      const int64_t b = look.sequence;
      ops::merge_attention(ctx, part, part_lse, look.seen.queries.begin,
                           merged.slice(b * s.q_len, (b + 1) * s.q_len), lse.slice(b, b + 1));
    }
  };
  const VisibleKeys at_home = visibility.visible(visibility.rank(), visibility.rank());
  look_at(at_home, [&](const Look& look) { return look.held_keys(own); });
  own = Tensor();
  while (others.next())
    look_at(others.visible(), [&](const Look& look) { return look.keys(others.pieces()); });
  if (!wide) ops::copy(ctx, merged, out);
}

void limited_ring_attention_backward(Context& ctx, const ContextParallel& context, const AttentionShape& s,
                                     const Columns& q, const Columns& k, const Columns& v, const Tensor& out,
                                     const Tensor& lse, const Tensor& dout, const Columns& dq,
                                     const Columns& dk, const Columns& dv,
                                     std::span<const int32_t> chunk_first_keys) {
  const KeyVisibility visibility(context.share(), s, chunk_first_keys);
  Tensor own = pack(ctx, {k, v});
  const int64_t width = own.dim(1);
  PiecesOfOthers others(ctx, context.group(), visibility, s, own);
  const Differentiate differentiate{
      ctx, s, q, out, lse, dout, ops::zeros(ctx, {q.rows(), q.count}, DType::f32, MemoryCategory::buffers)};
  const Tensor dkv = ops::zeros(ctx, {k.rows(), width}, DType::f32, MemoryCategory::buffers);
  differentiate(
      visibility.visible(visibility.rank(), visibility.rank()),
      [&](const Look& look) { return look.held_keys(own); },
      [&](const Look& look) { return look.held_keys(dkv); });
  own = Tensor();
  SumsOfOthers sums(ctx, context.group(), visibility, s, dkv);
  while (others.next()) {
    const Tensor theirs =
        ops::zeros(ctx, {others.visible().rows(), width}, DType::f32, MemoryCategory::buffers);
    differentiate(
        others.visible(), [&](const Look& look) { return look.keys(others.pieces()); },
        [&](const Look& look) { return look.keys(theirs); });
    sums.take();
    sums.give(others.step(), theirs);
  }
  sums.take();
  unpack(ctx, differentiate.dq, {dq});
  unpack(ctx, dkv, {dk, dv});
}

}  // namespace trireme
