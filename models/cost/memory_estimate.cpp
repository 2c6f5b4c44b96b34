#include "models/cost/memory_estimate.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "models/cost/activation_memory.h"
#include "models/cost/model_size.h"
#include "models/cost/state_memory.h"
#include "models/spec/memory_trace.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

// Gradients that tensor-parallel ranks compute parts of, of a layer at a time: those of copied key-value
// heads.
int64_t partial_gradients(const std::vector<StateBlock>& blocks) {
  int64_t most = 0, of_layer = 0, layer = -1;
  for (const StateBlock& block : blocks) {
    if (std::exchange(layer, block.layer) != block.layer) of_layer = 0;
    if (!block.settings.frozen) most = std::max(most, of_layer += block.partial);
  }
  return block_bytes(most, DType::f32);
}

// The norm's sums of blocks of gradients, in f64.
int64_t norm_sums(const std::vector<StateBlock>& blocks) {
  int64_t numel = 0;
  for (const StateBlock& block : blocks) numel += block.is_matrix && !block.settings.frozen ? block.numel : 0;
  return block_bytes(numel / ops::kSumBlock, DType::f64);
}

// One for each kind of angles of the rank's blocks.
int64_t rotary_tables(const MemoryInputs& in) {
  const ModelSpec spec = spec_of(in.model);
  std::vector<RotarySpec> known;
  int64_t bytes = 0;
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    const RotarySpec& rotary = spec.blocks[static_cast<size_t>(i)].attention.rotary;
    if (!in.holds(i + 1) || rotary.dims == 0 || std::ranges::find(known, rotary) != known.end()) continue;
    known.push_back(rotary);
    bytes += block_bytes(in.seq_len, rotary.dims, DType::f32);
  }
  return bytes;
}

// Muon's, while it makes the largest of its matrices orthogonal: first the matrix, its pieces and what this
// rank sends of others, about as much; then the matrix and two iterates, two products of the smaller side.
int64_t muon_scratch(const MemoryInputs& in) {
  if (in.sharding.rules.empty()) return 0;
  const DType type = in.precision == DType::f32 ? DType::f32 : DType::bf16;
  int64_t most = 0;
  for (const ParameterInfo& row : parameter_table(in.model)) {
    const Shape& shape = row.shape;
    const ParameterSettings settings =
        settings_of(row.name, shape.rank(), row.expert >= 0, in.sharding.rules);
    if (settings.frozen || settings.optimizer != OptimizerKind::muon) continue;
    const int64_t whole = block_bytes(shape.numel(), DType::f32), least = std::min(shape[0], shape[1]);
    most = std::max({most, 3 * whole,
                     whole + 2 * block_bytes(shape.numel(), type) + 2 * block_bytes(least, least, type)});
  }
  return most;
}

int64_t buffers_of_step(const MemoryInputs& in, const std::vector<StateBlock>& blocks, int64_t of_layers) {
  const int64_t tokens = in.micro_batch * in.seq_len;
  const int64_t rows = (tokens + in.plan.context - 1) / in.plan.context;
  // Ids, targets and positions; read in advance, all have the same places in their sequences.
  const auto batches = static_cast<double>(in.accumulation), steps = static_cast<double>(in.prefetch + 1);
  const double own = in.separate_documents ? 4 : 2;
  const double ids = (in.prefetch == 0 ? (own + 1) * batches : own * batches * steps + 1) *
                     static_cast<double>(block_bytes(rows, DType::i32));
  const int64_t lasting = static_cast<int64_t>(std::min(ids, 1e18)) + rotary_tables(in);
  return lasting + std::max({of_layers + sent_gradients(in, blocks), partial_gradients(blocks),
                             norm_sums(blocks), muon_scratch(in)});
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
  return std::make_shared<const Schedule>(make_schedule(ScheduleKind::one_f_one_b, 1, micro_batches));
}

namespace {

int num_stages(const MemoryInputs& in) { return in.placement.empty() ? 1 : in.plan.pipeline; }

MemoryEstimate estimate_stage(const MemoryInputs& in) {
  MemoryEstimate estimate;
  const std::vector<StateBlock> blocks = state_blocks(in);
  estimate_state(in, blocks, estimate);
  const PassPeaks passes = simulate_passes(in);
  estimate[MemoryCategory::weights] += in.teacher.weights;
  estimate[MemoryCategory::activations] = passes.activations + in.teacher.activations;
  estimate[MemoryCategory::buffers] = buffers_of_step(in, blocks, passes.buffers);
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
