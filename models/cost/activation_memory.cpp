#include "models/cost/activation_memory.h"

#include <algorithm>
#include <vector>

#include "models/cost/rank_shape.h"
#include "parallel/pipeline/schedule.h"
#include "runtime/tensor/shape.h"

namespace trireme {

namespace {

/// The tensors of a block and of the head. Lower-case x: the rank's rows outside the parallel layers; capital
/// X: all rows.
struct Tensors {
  int64_t x, X, statistics, qkv, attended, lse, h, a, logits;

  explicit Tensors(const MemoryInputs& in) {
    const RankShape rank(in);
    const bool layer_norm = in.model.norm == NormKind::layer_norm;
    const auto matrix = [&](int64_t rows, int64_t width) { return block_bytes(rows, width, in.precision); };
    x = matrix(rank.outer_rows, in.model.hidden_size);
    X = matrix(rank.rows, in.model.hidden_size);
    statistics = (layer_norm ? 2 : 1) * block_bytes(rank.outer_rows, DType::f32);
    qkv = matrix(rank.rows, rank.qkv());
    attended = matrix(rank.rows, rank.heads * rank.head_dim);
    lse = block_bytes(rank.rows, rank.heads, DType::f32);
    h = matrix(rank.rows, (in.model.activation == ActivationKind::swiglu ? 2 : 1) * rank.ffn);
    a = matrix(rank.rows, rank.ffn);
    logits = matrix(rank.rows, aligned_row_stride(rank.vocab));
  }
};

/// What experts keep in place of the dense feed-forward part, for a load that is even: the k rows of a token
/// before and behind them and what is between, the shared expert's, and the router's logits and choices.
int64_t bytes_with_experts(const MemoryInputs& in) {
  const MoeConfig& moe = in.model.moe;
  if (moe.num_experts == 0) return 0;
  const RankShape rank(in);
  const int64_t tensors = in.model.activation == ActivationKind::swiglu ? 3 : 2, k = moe.experts_per_token;
  const int64_t row = 2 * in.model.hidden_size +
                      tensors * RankShape::share(in.model.expert_ffn_size(), in.plan.expert_tensor_ranks());
  const int64_t rows = RankShape::share(rank.rows, in.plan.expert_row_parts());
  const int64_t shared = tensors * RankShape::share(moe.shared_ffn_size, in.plan.tensor);
  return block_bytes(rows, k * row, in.precision) + block_bytes(rank.rows, shared, in.precision) +
         block_bytes(rank.rows, moe.num_experts + 1 + 3 * k, DType::f32);
}

/// The backward pass of a block, call by call, beginning with all that the block keeps and the gradient of
/// its output.
int64_t peak_of_block(const Tensors& t, int64_t kept, bool sequence, bool recomputes_core) {
  const int64_t gathered = sequence ? t.X : 0, own = sequence ? t.x : 0;
  int64_t now = kept + t.x, peak = now;
  const auto reach = [&](int64_t more) { peak = std::max(peak, now + more); };
  // Down and activation: GELU makes dh and lets go of h, SwiGLU makes da and then dh of h.
  now += gathered;
  reach(t.a);
  // Up: its input gathered again, which replaces the rank's own rows, and dx.
  reach(gathered + t.X);
  now += gathered - own + t.x;
  // The second norm: dx, then its sum and statistics go.
  reach(t.x);
  now -= t.statistics;
  // Output projection: dout; the core again where it was dropped; dqkv.
  now += gathered + (recomputes_core ? t.attended + t.lse : 0);
  reach(t.attended + t.qkv);
  // Query, key and value: dqkv in place of qkv.
  now -= t.lse;
  reach(t.attended + gathered + t.X);
  now += gathered - own + t.x;
  reach(t.x);
  return peak;
}

}  // namespace

ActivationMemory::ActivationMemory(const MemoryInputs& in) {
  const Tensors t(in);
  const bool sequence = in.plan.sequence;
  const int64_t core = t.attended + t.lse;
  const int64_t all = 4 * t.x + 2 * t.statistics + t.qkv + core + t.h + t.a;
  kept_block = in.recomputation.of_attention() ? all - core : all;
  kept_whole_block = t.x;
  more_with_experts = bytes_with_experts(in) - t.h - t.a;
  block_at_work = peak_of_block(t, kept_block, sequence, in.recomputation.of_attention());
  kept_head = t.statistics + 2 * t.x + t.logits;
  boundary = t.x;
  // The final norm's input; its output or what is gathered of it, dx of all rows, and the norm's dx.
  head_at_work = t.statistics + t.x + t.logits + (sequence ? t.x + 2 * t.X : 3 * t.x);
}

int64_t ActivationMemory::peak(const MemoryInputs& in) const {
  std::vector<int64_t> blocks;
  for (int64_t i = 0; i < in.model.num_layers; ++i) {
    if (in.holds(1 + i)) blocks.push_back(i);
  }
  const auto kept_if = [&](int64_t block, bool recomputed) {
    if (recomputed) return static_cast<double>(kept_whole_block);
    return static_cast<double>(kept_block + (in.model.moe.is_in(block) ? more_with_experts : 0));
  };
  const auto kept_by = [&](int64_t block) { return kept_if(block, in.recomputation.of_block(block)); };
  double kept = 0, kept_without = 0;
  for (const int64_t block : blocks) {
    kept += kept_by(block);
    kept_without += kept_if(block, false);
  }
  const bool is_pipeline = !in.in_flight.empty(), has_head = in.holds(1 + in.model.num_layers);
  const int pairs = is_pipeline ? in.in_flight[static_cast<size_t>(in.stage)] : 1;
  // Between the two parts of a split backward pass what was recomputed is kept.
  const bool splits = is_pipeline && has_split_backward(in.plan.schedule);
  kept = splits ? pairs * kept_without : kept * pairs / in.plan.virtual_stages;
  if (is_pipeline) kept += 2 * static_cast<double>(boundary);
  if (has_head && in.plan.virtual_stages == 1) kept += (pairs - 1) * static_cast<double>(kept_head);
  double peak = kept + (has_head ? static_cast<double>(head_at_work) : 0);
  if (!blocks.empty())
    peak = std::max(peak, kept - kept_by(blocks.back()) + static_cast<double>(block_at_work));
  // Absurd sizes are to be shown as such, not to overflow.
  return static_cast<int64_t>(std::min(peak, 1e18));
}

}  // namespace trireme
