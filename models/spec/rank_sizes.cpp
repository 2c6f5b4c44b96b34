#include "models/spec/rank_sizes.h"

#include <algorithm>
#include <cmath>

namespace trireme {

namespace {

int64_t rows_of(const LayerConditions& c) {
  return RankSizes::share(c.micro_batch * c.seq_len, c.plan.context);
}

// Rows for all experts from `passed` tokens of one sequence.
double rows_for_experts(const MoeConfig& moe, double passed, int64_t seq_len) {
  const auto k = static_cast<double>(moe.experts_per_token), experts = static_cast<double>(moe.num_experts);
  const auto capacity = static_cast<double>(moe.capacity_of(seq_len));
  switch (moe.capacity) {
    case CapacityMode::pad:
      return experts * std::min(capacity, passed);
    case CapacityMode::drop:  // those that an expert turns away are spread over the sequence's ranks
      return std::min(k * passed, experts * capacity * passed / static_cast<double>(seq_len));
    case CapacityMode::dropless:
      break;
  }
  return k * passed;
}

// The most that they can be where choices are uneven.
double most_for_experts(const MoeConfig& moe, double passed, int64_t seq_len) {
  if (moe.capacity == CapacityMode::pad) return rows_for_experts(moe, passed, seq_len);
  const auto k = static_cast<double>(moe.experts_per_token), experts = static_cast<double>(moe.num_experts);
  return std::min(k * passed, experts * std::min(static_cast<double>(moe.capacity_of(seq_len)), passed));
}

int64_t whole(double rows) { return static_cast<int64_t>(std::min(std::ceil(rows), 1e15)); }

}  // namespace

RankSizes::RankSizes(const ModelSpec& model, const LayerConditions& c)
    : type(c.precision),
      hidden(model.hidden_size),
      batch(c.micro_batch),
      length(share(c.seq_len, c.plan.context)),
      rows(rows_of(c)),
      outer_rows(share(rows, c.plan.sequence ? c.plan.tensor : 1)),
      shards_rows(c.plan.sequence),
      tensor(c.plan.tensor),
      context(c.plan.context),
      tensor_chunks(c.plan.tensor == 1 ? 1 : c.plan.tensor_chunks),
      threads(c.threads),
      float8(c.float8),
      code_bits(!c.quantizes || !model.quantization                            ? 0
                : model.quantization.weights.format == ops::PackedFormat::int4 ? 4
                                                                               : 8),
      learns_scales(code_bits > 0 && model.quantization.learned_scales) {}

HeadSizes::HeadSizes(const AttentionSpec& attention, const LayerConditions& c)
    : heads(RankSizes::share(attention.num_heads, c.plan.tensor)),
      kv_heads(std::max<int64_t>(1, attention.num_kv_heads / c.plan.tensor)),
      head_dim(attention.head_dim) {}

MixtureSizes::MixtureSizes(const MixtureSpec& mixture, const LayerConditions& c)
    : passed(RankSizes::share(rows_of(c), c.plan.expert_row_shards())),
      held(RankSizes::share(mixture.routing.num_experts, c.plan.expert)),
      width(RankSizes::share(mixture.expert.width, c.plan.expert_tensor_ranks())),
      num_chunks(c.plan.expert_chunks) {
  const MoeConfig& moe = mixture.routing;
  const double length = static_cast<double>(c.seq_len) / c.plan.context, parts = c.plan.expert_row_shards();
  // The passed rows are whole sequences and one that is cut, or a piece of one.
  const double of_sequence = std::min(length, static_cast<double>(passed));
  const double sequences = static_cast<double>(c.micro_batch) * length / parts / of_sequence;
  const bool worst = c.load == ExpertLoad::worst;
  sent = whole(sequences * (worst ? most_for_experts : rows_for_experts)(moe, of_sequence, c.seq_len));
  received = sent;
  reorders = c.plan.expert > 1 && held > num_chunks;
  if (!worst || moe.capacity == CapacityMode::pad || c.plan.expert == 1) return;
  const double room = std::min(static_cast<double>(moe.capacity_of(c.seq_len)), of_sequence);
  const auto chosen = static_cast<double>(std::min(moe.experts_per_token, held));
  received =
      whole(c.plan.expert * sequences * std::min(chosen * of_sequence, static_cast<double>(held) * room));
}

}  // namespace trireme
