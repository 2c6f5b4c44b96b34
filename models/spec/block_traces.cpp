#include <algorithm>

#include "models/spec/layer_traces.h"
#include "runtime/ops/scratch_sizes.h"

namespace trireme::traces {

Norm::Output Norm::forward(const Held& x, bool has_residual) {
  sum_ = has_residual ? s_.outer() : x;
  Held y = s_.outer();
  rstd_ = s_.floats(s_.sizes.outer_rows);
  if (spec_.kind == NormKind::layer_norm) mean_ = s_.floats(s_.sizes.outer_rows);
  return {sum_, y};
}

Held Norm::backward() {
  Held dx = s_.outer();
  const int64_t rows = s_.sizes.outer_rows, block = ops::norm_rows_per_block(rows);
  const bool with_bias = spec_.bias && spec_.kind == NormKind::layer_norm;
  s_.buffer((rows + block - 1) / block, (with_bias ? 2 : 1) * s_.sizes.hidden);
  sum_ = mean_ = rstd_ = nullptr;
  return dx;
}

Attention::Attention(const Scene& scene, const AttentionSpec& spec)
    : s_(scene),
      heads_(spec, scene.conditions),
      window_(spec.window),
      pattern_(spec.keys),
      normalises_(spec.qk_norm.has_value()),
      of_all_heads_(spec.norms_whole_projection),
      recomputes_core_(scene.conditions.recomputes_core),
      qkv_linear_(scene, scene.sizes.hidden, heads_.qkv()),
      output_(scene, heads_.queries(), scene.sizes.hidden) {}

void Attention::attend() {
  out_ = s_.make(s_.sizes.rows, heads_.queries());
  lse_ = s_.floats(s_.sizes.rows, heads_.heads);
  if (s_.sizes.context > 1) return;
  const int64_t kv_heads = s_.sizes.batch * heads_.kv_heads, threads = s_.conditions.threads;
  const ops::KeyLimits keys{s_.sizes.length, window_, pattern_};
  const int64_t blocks = ops::attention_task_blocks(s_.sizes.length, keys, kv_heads, threads);
  s_.buffer(std::min(threads, kv_heads),
            ops::attention_forward_floats(keys, heads_.head_dim, blocks, s_.sizes.type != DType::f32));
}

Held Attention::forward(const Held& x) {
  qkv_ = qkv_linear_.forward(x);
  if (normalises_) {  // queries and keys as they were, and the scale of each head, or of all together
    raw_ = s_.make(s_.sizes.rows, heads_.queries() + heads_.keys());
    rstd_ = s_.floats(s_.sizes.rows, of_all_heads_ ? 2 : heads_.heads + heads_.kv_heads);
  }
  attend();
  Held y = output_.forward(out_);
  if (recomputes_core_) {
    output_.keep_input(nullptr);
    out_ = lse_ = nullptr;
  }
  return y;
}

Held Attention::backward_input(const Held& dy) {
  const Held dout = output_.backward_input(dy);
  if (recomputes_core_) {
    attend();
    output_.keep_input(out_);
  }
  const Held dqkv = attend_backward();
  if (normalises_ && of_all_heads_) {
    const Held sums = s_.floats(s_.sizes.rows, 2);
    const int64_t rows = s_.sizes.rows, block = ops::norm_rows_per_block(rows);
    s_.buffer((rows + block - 1) / block, heads_.queries());
    s_.buffer((rows + block - 1) / block, heads_.keys());
  }
  raw_ = rstd_ = nullptr;
  return qkv_linear_.backward_input(dqkv);
}

void Attention::backward_weight() {
  output_.backward_weight();
  qkv_linear_.backward_weight();
}

Held Attention::attend_backward() {
  Held dqkv = s_.make(s_.sizes.rows, heads_.qkv());
  if (s_.sizes.context > 1) {
    ring_backward();
  } else {
    core_backward(s_.sizes.length, s_.sizes.batch);
  }
  qkv_ = out_ = lse_ = nullptr;
  return dqkv;
}

// Scratch of one call of the op's backward pass, for `batch` sequences of `length` tokens. cuDNN's workspace
// is as its frontend 1.32 lays it out: sums of rows in f32, and either the scores' gradients in 16 bits,
// which have one order, or dq in f32. Gradients of keys and values are one for each query head first where
// heads share them. What would be larger than allowed is done by own kernels, with less.
void Attention::core_backward(int64_t length, int64_t batch) const {
  const LayerConditions& c = s_.conditions;
  const int64_t tasks = batch * heads_.kv_heads;
  const int64_t own = block_bytes(std::min<int64_t>(c.threads, tasks),
                                  ops::attention_backward_floats({length, window_, pattern_}, heads_.head_dim,
                                                                 s_.sizes.type != DType::f32),
                                  DType::f32);
  const int64_t heads = batch * heads_.heads, rows = heads * length;
  const auto padded = [&](int64_t tile) { return (length + tile - 1) / tile * tile; };
  const int64_t shared =
      block_bytes(rows, DType::f32) +
      (heads_.heads == heads_.kv_heads ? 0 : 2 * block_bytes(rows, heads_.head_dim, s_.sizes.type));
  const int64_t scores = shared + block_bytes(heads * padded(64), padded(128), s_.sizes.type);
  const bool keeps_scores = c.deterministic_attention && scores <= c.attention_workspace;
  const int64_t cudnn =
      keeps_scores ? scores
                   : std::min(c.attention_workspace, shared + block_bytes(rows, heads_.head_dim, DType::f32));
  s_.buffer(std::max(own, cudnn), 1, DType::u8);
}

// Keys and values come round, gradients follow them (parallel/context_parallel/ring_attention.cpp).
void Attention::ring_backward() const {
  if (window_ > 0 || pattern_ || s_.conditions.separate_documents) return limited_ring_backward();
  const int64_t rows = s_.sizes.rows, q = heads_.queries(), kv = 2 * heads_.keys(), ranks = s_.sizes.context;
  const DType type = s_.sizes.type;
  const bool rounds = type != DType::f32;
  Held block = s_.buffer(rows, kv, type), incoming = s_.buffer(rows, kv, type);
  core_backward(s_.sizes.length, s_.sizes.batch);
  Held packed = s_.buffer(rows, q, type);
  const Held dq_sum = rounds ? s_.buffer(rows, q) : packed;
  packed = nullptr;
  Held dkv_sum = s_.buffer(rows, kv), dkv_incoming;
  for (int64_t step = 1; step < ranks; ++step) {
    block = incoming;
    incoming = step + 1 < ranks ? s_.buffer(rows, kv, type) : nullptr;
    // All queries and half of the keys, or half of the queries and all keys: what is more, since every rank
    // has steps of one kind or the other.
    const bool all_keys = kv > q;
    const Held dq = s_.buffer(all_keys ? rows / 2 : rows, q, type),
               dkv = s_.buffer(all_keys ? rows : rows / 2, kv, type);
    core_backward(s_.sizes.length, 1);
    if (dkv_incoming) dkv_sum = dkv_incoming;
    dkv_incoming = s_.buffer(rows, kv);
  }
  block = nullptr;
  const Held narrow_dq = rounds ? s_.buffer(rows, q, type) : nullptr;
  dkv_sum = dkv_incoming;
  const Held narrow = s_.buffer(rows, kv, type);
}

// Rows that a rank takes of others in the steps of a limited ring, and gives them.
struct LimitedRing {
  int64_t ranks, chunk, steps;
  int64_t of_window;  // 0: no window, and documents as long as their sequences

  // Without a window both chunks of a rank behind it, and one of a rank before.
  int64_t takes(int64_t r, int64_t step) const {
    return of_window > 0 ? of_window : r < step ? 2 * chunk : chunk;
  }
  int64_t gives(int64_t r, int64_t step) const {
    return of_window > 0 ? of_window : r + step >= ranks ? 2 * chunk : chunk;
  }
  // The most at once on the way back. Sums are in f32, `wide` times as many bytes.
  int64_t most(int64_t r, int64_t wide) const {
    int64_t rows = 0;
    for (int64_t step = 1; step <= steps; ++step) {
      const int64_t now = takes(r, step) * (1 + wide),
                    next = step < steps ? takes(r, step + 1) + gives(r, step + 1) : 0,
                    before = step > 1 ? (takes(r, step - 1) + gives(r, step - 1)) * wide : 0;
      rows = std::max(rows, now + next + before);
    }
    return rows;
  }
  int64_t fullest(int64_t wide) const {
    int64_t rank = 0;
    for (int64_t r = 1; r < ranks; ++r) rank = most(r, wide) > most(rank, wide) ? r : rank;
    return rank;
  }
};

// Under a window or first keys (parallel/context_parallel/limited_ring.cpp): the rank that takes the most.
// How long documents will be nobody knows; no longer than their sequence.
void Attention::limited_ring_backward() const {
  const int64_t rows = s_.sizes.rows, q = heads_.queries(), kv = 2 * heads_.keys(), ranks = s_.sizes.context;
  const int64_t chunk = s_.sizes.length / 2;
  const DType type = s_.sizes.type;
  // The most that a rank takes under a window are the keys in it before one of its chunks, where the
  // other rank's chunks are neighbours. A window that ends within the chunk before takes of the ranks on both
  // sides alone. Of the keys that a pattern has beside, all are counted.
  const int64_t window = pattern_ ? 0 : window_;
  const bool is_wide = window == 0 || window > chunk + 1;
  const int64_t steps = window == 1 ? 0 : is_wide ? ranks - 1 : std::min<int64_t>(2, ranks - 1);
  const int64_t of_window = window == 0 ? 0 : s_.sizes.batch * std::min(window - 1, 2 * chunk);
  const LimitedRing ring{ranks, s_.sizes.batch * chunk, steps, of_window};
  const int64_t rank = ring.fullest(type == DType::f32 ? 1 : 2);
  const auto look = [&] {
    const Held dq = s_.buffer(chunk, q, type), dkv = s_.buffer(chunk, kv, type),
               lse = s_.buffer(chunk, heads_.heads);
    core_backward(chunk, 1);
  };
  Held own = s_.buffer(rows, kv, type);
  Held outgoing, incoming;
  if (steps > 0) {
    outgoing = s_.buffer(ring.gives(rank, 1), kv, type);
    incoming = s_.buffer(ring.takes(rank, 1), kv, type);
  }
  const Held dq_sum = s_.buffer(rows, q), dkv_own = s_.buffer(rows, kv);
  look();
  Held sums, sums_incoming;
  for (int64_t step = 1; step <= steps; ++step) {
    const Held pieces = incoming;
    outgoing = incoming = nullptr;
    if (step < steps) {
      outgoing = s_.buffer(ring.gives(rank, step + 1), kv, type);
      incoming = s_.buffer(ring.takes(rank, step + 1), kv, type);
    } else {
      own = nullptr;
    }
    const Held theirs = s_.buffer(ring.takes(rank, step), kv);
    look();
    sums = sums_incoming = nullptr;
    sums = theirs, sums_incoming = s_.buffer(ring.gives(rank, step), kv);
  }
  own = sums = sums_incoming = nullptr;
  if (type == DType::f32) return;
  s_.buffer(rows, q, type);
  s_.buffer(rows, kv, type);
}

FeedForward::FeedForward(const Scene& scene, const FeedForwardSpec& spec)
    : s_(scene),
      width_(RankSizes::share(spec.width, scene.sizes.tensor)),
      gated_(spec.num_up() > 1),
      is_one_call_(spec.activation == ActivationKind::gelu),
      up_(scene, scene.sizes.hidden, spec.num_up() * width_),
      down_(scene, width_, scene.sizes.hidden) {}

Held FeedForward::forward(const Held& x) {
  Held a;
  if (is_one_call_) {
    h_ = s_.make(s_.sizes.rows, width_);
    a = s_.make(s_.sizes.rows, width_);
    up_.forward_into(x);
  } else {
    h_ = up_.forward(x);
    a = s_.make(s_.sizes.rows, width_);
  }
  return down_.forward(a);
}

Held FeedForward::backward_input(const Held& dy) {
  Held dh = down_.backward_input(dy);
  if (gated_) dh = h_;  // in place
  h_ = nullptr;
  return up_.backward_input(dh);
}

void FeedForward::backward_weight() {
  down_.backward_weight();
  up_.backward_weight();
}

}  // namespace trireme::traces
