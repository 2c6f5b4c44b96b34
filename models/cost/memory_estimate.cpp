#include "models/cost/memory_estimate.h"

#include <algorithm>
#include <numeric>

#include "models/cost/activation_memory.h"
#include "models/cost/rank_shape.h"
#include "models/cost/state_memory.h"

namespace trireme {

namespace {

// A thread's tile of queries against all keys, backward: runtime/ops/cpu/attention_backward.cpp.
int64_t attention_scratch(const MemoryInputs& in, const RankShape& rank) {
  constexpr int64_t kQueries = 64, kVector = 16;
  const int64_t length = RankShape::share(in.seq_len, in.plan.context);
  const int64_t scores = 2 * kQueries * ((length + kVector - 1) / kVector * kVector + kVector);
  const int64_t widened = in.precision == DType::f32 ? 0 : 4 * (kQueries + length) * rank.head_dim;
  const int64_t tasks = in.micro_batch * rank.kv_heads;
  return block_bytes(std::min<int64_t>(in.threads, tasks), scores + widened, DType::f32);
}

// cuDNN's, backward, as its frontend 1.32 lays it out: sums of rows in f32, and either the scores' gradients
// in 16 bits, which have one order, or dq in f32. Gradients of keys and values are one for each query head
// first where heads share them. What would be larger than allowed is done by own kernels, with less.
int64_t cudnn_workspace(const MemoryInputs& in, const RankShape& rank) {
  const int64_t length = RankShape::share(in.seq_len, in.plan.context), heads = in.micro_batch * rank.heads;
  const int64_t rows = heads * length;
  const auto padded = [&](int64_t tile) { return (length + tile - 1) / tile * tile; };
  const int64_t shared =
      block_bytes(rows, DType::f32) +
      (rank.heads == rank.kv_heads ? 0 : 2 * block_bytes(rows, rank.head_dim, in.precision));
  const int64_t scores = shared + block_bytes(heads * padded(64), padded(128), in.precision);
  if (in.deterministic_attention && scores <= in.attention_workspace) return scores;
  return std::min(in.attention_workspace, shared + block_bytes(rows, rank.head_dim, DType::f32));
}

// Sums of blocks of rows for gain and bias: runtime/ops/cpu/norm.cpp.
int64_t norm_scratch(const MemoryInputs& in, const RankShape& rank) {
  const int64_t rows_per_sum = std::max<int64_t>(32, (rank.outer_rows + 255) / 256);
  const bool with_bias = in.model.bias && in.model.norm == NormKind::layer_norm;
  return block_bytes((rank.outer_rows + rows_per_sum - 1) / rows_per_sum,
                     (with_bias ? 2 : 1) * in.model.hidden_size, DType::f32);
}

// Ring attention's: two blocks of keys and values, two of their f32 gradients, an f32 sum of query gradients.
int64_t ring_buffers(const MemoryInputs& in, const RankShape& rank) {
  if (in.plan.context == 1) return 0;
  const int64_t block = 2 * rank.kv_heads * rank.head_dim;
  return 2 * block_bytes(rank.rows, block, in.precision) + 2 * block_bytes(rank.rows, block, DType::f32) +
         block_bytes(rank.rows, rank.heads * rank.head_dim, DType::f32);
}

// Gradients that tensor ranks hold parts of: of copied key-value heads.
int64_t partial_gradients(const MemoryInputs& in, const RankShape& rank) {
  const bool copied_heads = in.plan.tensor > in.model.num_kv_heads;
  if (in.plan.tensor == 1 || !copied_heads) return 0;
  return block_bytes(2 * rank.kv_heads * rank.head_dim * in.model.hidden_size, DType::f32);
}

// The factors of a product in fp8, and in bf16 as the CPU multiplies them: of the largest product of a linear
// layer's three.
int64_t float8_factors(const MemoryInputs& in, const RankShape& rank) {
  if (!in.float8) return 0;
  const auto factor = [](int64_t rows, int64_t width) {
    return block_bytes(rows, width, DType::f8e4m3) + block_bytes(rows, width, DType::bf16) +
           block_bytes(1, DType::f32);
  };
  const auto layer = [&](int64_t inputs, int64_t outputs) {
    const int64_t x = factor(rank.rows, inputs), y = factor(rank.rows, outputs), w = factor(outputs, inputs);
    return x + y + w - std::min({x, y, w});
  };
  const int64_t hidden = in.model.hidden_size;
  const int64_t up = (in.model.activation == ActivationKind::swiglu ? 2 : 1) * rank.ffn;
  return std::max({layer(hidden, rank.qkv()), layer(rank.heads * rank.head_dim, hidden), layer(hidden, up),
                   layer(rank.ffn, hidden)});
}

// The norm's sums of blocks of 1,024 gradients, in f64.
int64_t norm_sums(const MemoryInputs& in) {
  int64_t numel = 0;
  for (const StateBlock& block : state_blocks(in)) numel += block.is_matrix ? block.numel : 0;
  return block_bytes(numel / 1024, DType::f64);
}

int64_t estimate_buffers(const MemoryInputs& in) {
  const RankShape rank(in);
  const bool rotary = in.model.positions == PositionKind::rotary;
  // Ids, targets and positions; read in advance, all have the same positions.
  const auto batches = static_cast<double>(in.accumulation), steps = static_cast<double>(in.prefetch + 1);
  const double ids = (in.prefetch == 0 ? 3 * batches : 2 * batches * steps + 1) *
                     static_cast<double>(block_bytes(rank.rows, DType::i32));
  const int64_t lasting = static_cast<int64_t>(std::min(ids, 1e18)) +
                          (rotary ? block_bytes(in.seq_len, rank.head_dim, DType::f32) : 0);
  const int64_t statistics = in.plan.tensor == 1 ? 0 : block_bytes(rank.rows, 3 * in.plan.tensor, DType::f32);
  return lasting +
         std::max({std::max(attention_scratch(in, rank), cudnn_workspace(in, rank)) + ring_buffers(in, rank),
                   norm_scratch(in, rank), statistics, partial_gradients(in, rank), norm_sums(in),
                   float8_factors(in, rank)});
}

}  // namespace

int64_t MemoryEstimate::total() const { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

bool MemoryInputs::holds(int64_t layer) const {
  for (size_t v = static_cast<size_t>(stage); v + 1 < placement.size();
       v += static_cast<size_t>(plan.pipeline)) {
    if (layer >= placement[v] && layer < placement[v + 1]) return true;
  }
  return placement.empty();
}

namespace {

int num_stages(const MemoryInputs& in) { return in.placement.empty() ? 1 : in.plan.pipeline; }

MemoryEstimate estimate_stage(const MemoryInputs& in) {
  MemoryEstimate estimate;
  estimate_state(in, estimate);
  estimate[MemoryCategory::activations] = ActivationMemory(in).peak(in);
  estimate[MemoryCategory::buffers] = estimate_buffers(in);
  return estimate;
}

}  // namespace

int64_t estimate_stages_together(const MemoryInputs& inputs) {
  int64_t sum = 0;
  MemoryInputs in = inputs;
  for (in.stage = 0; in.stage < num_stages(in); ++in.stage) sum += estimate_stage(in).total();
  return sum;
}

MemoryEstimate estimate_memory(const MemoryInputs& inputs) {
  MemoryEstimate largest;
  MemoryInputs in = inputs;
  for (in.stage = 0; in.stage < num_stages(in); ++in.stage) {
    const MemoryEstimate estimate = estimate_stage(in);
    for (size_t i = 0; i < largest.bytes.size(); ++i)
      largest.bytes[i] = std::max(largest.bytes[i], estimate.bytes[i]);
  }
  return largest;
}

}  // namespace trireme
