#include "models/compress/structured/unit_counts.h"

#include <fmt/format.h>

#include "parallel/plan/nearest.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

bool has_dense_layers(const ModelConfig& config) {
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (!config.moe.is_in(i)) return true;
  }
  return false;
}

// 0 asked for: all of them.
int64_t left_of(const char* unit, int64_t wanted, int64_t there) {
  if (wanted == 0) return there;
  if (there == 0) throw_usage("{} {}: the model has none", unit, wanted);
  if (wanted < 0 || wanted > there)
    throw_usage("{} {}: the model has {}; 1 to {} can be left", unit, wanted, there, there);
  return wanted;
}

void cut_heads(const ModelConfig& config, const StructuredCut& cut, UnitCounts& counts) {
  const int64_t wanted_heads = left_of("heads", cut.heads, counts.heads());
  counts.kv_heads = left_of("kv-groups", cut.kv_groups, counts.kv_heads);
  if (cut.heads == 0) return;
  if (counts.heads_per_kv_head == 1) {  // a query head goes with its key and value
    if (cut.kv_groups != 0 && cut.kv_groups != wanted_heads) {
      throw_usage(
          "heads {} and kv-groups {}: each query head has a key-value head of its own, so that they "
          "are as many; give one of the two",
          cut.heads, cut.kv_groups);
    }
    counts.kv_heads = wanted_heads;
    return;
  }
  const int64_t most = counts.heads();
  if (wanted_heads > most || wanted_heads % counts.kv_heads != 0) {
    throw_usage("heads {}: as many are left of each of {} key-value heads (of {} each); nearest are heads {}",
                cut.heads, counts.kv_heads, config.num_heads / config.num_kv_heads,
                nearest_multiples(counts.kv_heads, std::min(wanted_heads, most), most));
  }
  counts.heads_per_kv_head = wanted_heads / counts.kv_heads;
}

void cut_experts(const ModelConfig& config, const StructuredCut& cut, UnitCounts& counts) {
  counts.experts = left_of("experts", cut.experts, counts.experts);
  if (cut.experts == 0) return;
  const MoeConfig& moe = config.moe;
  if (counts.experts % moe.num_groups != 0) {
    throw_usage("experts {}: as many are left of each of {} groups (moe.groups); nearest are {}", cut.experts,
                moe.num_groups, nearest_multiples(moe.num_groups, cut.experts, moe.num_experts));
  }
  const int64_t choices = counts.experts / moe.num_groups * moe.groups_per_token;
  if (moe.experts_per_token > choices || counts.experts < 2) {
    const int64_t groups = moe.num_groups,
                  of_group = std::max<int64_t>(
                      (moe.experts_per_token + moe.groups_per_token - 1) / moe.groups_per_token,
                      groups == 1 ? 2 : 1);
    throw_usage("experts {}: a token passes through {} of {}; at least {} have to be left", cut.experts,
                moe.experts_per_token, choices, groups * of_group);
  }
}

}  // namespace

UnitCounts unit_counts(const ModelConfig& config) {
  UnitCounts counts{.layers = config.num_layers,
                    .kv_heads = config.num_kv_heads,
                    .heads_per_kv_head = config.num_heads / config.num_kv_heads,
                    .dense_neurons = has_dense_layers(config) ? config.ffn_size : 0};
  if (config.moe.num_experts == 0) return counts;
  counts.experts = config.moe.num_experts;
  counts.expert_neurons = config.expert_ffn_size();
  counts.shared_neurons = config.moe.shared_ffn_size;
  return counts;
}

UnitCounts counts_after(const ModelConfig& config, const StructuredCut& cut) {
  const bool convolves = config.convolution.kernel > 0;
  if (convolves || config.bottleneck.width > 0) {
    throw_usage(
        "cut: the model has {}, of which no unit can be cut; prune single weights, or quantize it",
        convolves
            ? fmt::format("blocks with convolutions (model.convolution {})", config.convolution.kernel)
            : fmt::format("blocks that are narrow inside (model.bottleneck {})", config.bottleneck.width));
  }
  UnitCounts counts = unit_counts(config);
  counts.layers = left_of("layers", cut.layers, counts.layers);
  cut_heads(config, cut, counts);
  cut_experts(config, cut, counts);
  counts.shared_neurons = left_of("shared-neurons", cut.shared_neurons, counts.shared_neurons);
  if (counts.experts == 0) {
    counts.dense_neurons = left_of("neurons", cut.neurons, counts.dense_neurons);
  } else {
    const bool are_alike = counts.dense_neurons == counts.expert_neurons;
    counts.expert_neurons = left_of("neurons", cut.neurons, counts.expert_neurons);
    if (are_alike) counts.dense_neurons = counts.expert_neurons;
  }
  return counts;
}

}  // namespace trireme
