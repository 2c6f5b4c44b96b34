#include "models/cost/memory_estimate.h"

#include <algorithm>
#include <numeric>

#include "models/cost/activation_memory.h"
#include "models/cost/rank_shape.h"
#include "models/cost/state_memory.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

// Gradients that tensor ranks hold parts of: of copied key-value heads.
int64_t partial_gradients(const MemoryInputs& in, const RankShape& rank) {
  const bool copied_heads = in.plan.tensor > in.model.num_kv_heads;
  if (in.plan.tensor == 1 || !copied_heads) return 0;
  return block_bytes(2 * rank.kv_heads * rank.head_dim * in.model.hidden_size, DType::f32);
}

// The norm's sums of blocks of gradients, in f64.
int64_t norm_sums(const MemoryInputs& in) {
  int64_t numel = 0;
  for (const StateBlock& block : state_blocks(in)) numel += block.is_matrix ? block.numel : 0;
  return block_bytes(numel / ops::kSumBlock, DType::f64);
}

int64_t buffers_of_step(const MemoryInputs& in, int64_t of_layers) {
  const RankShape rank(in);
  const bool rotary = in.model.positions == PositionKind::rotary;
  // Ids, targets and positions; read in advance, all have the same positions.
  const auto batches = static_cast<double>(in.accumulation), steps = static_cast<double>(in.prefetch + 1);
  const double ids = (in.prefetch == 0 ? 3 * batches : 2 * batches * steps + 1) *
                     static_cast<double>(block_bytes(rank.rows, DType::i32));
  const int64_t lasting = static_cast<int64_t>(std::min(ids, 1e18)) +
                          (rotary ? block_bytes(in.seq_len, rank.head_dim, DType::f32) : 0);
  return lasting + std::max({of_layers + sent_gradients(in), partial_gradients(in, rank), norm_sums(in)});
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

std::pair<int64_t, int64_t> MemoryInputs::layers_of(size_t chunk) const {
  if (placement.empty()) return {0, model.num_layers + 2};
  const size_t v = chunk * static_cast<size_t>(plan.pipeline) + static_cast<size_t>(stage);
  return {placement[v], placement[v + 1]};
}

std::shared_ptr<const Schedule> schedule_of(const MemoryInputs& in) {
  if (in.schedule) return in.schedule;
  const auto micro_batches = static_cast<int>(std::clamp<int64_t>(in.accumulation, 1, 2));
  return std::make_shared<const Schedule>(make_schedule("1f1b", 1, micro_batches));
}

namespace {

int num_stages(const MemoryInputs& in) { return in.placement.empty() ? 1 : in.plan.pipeline; }

MemoryEstimate estimate_stage(const MemoryInputs& in) {
  MemoryEstimate estimate;
  estimate_state(in, estimate);
  const PassPeaks passes = simulate_passes(in);
  estimate[MemoryCategory::activations] = passes.activations;
  estimate[MemoryCategory::buffers] = buffers_of_step(in, passes.buffers);
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
