// Mixture of experts: which blocks are MoE blocks, how tokens are routed, and how load is balanced.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

enum class RouterScore : uint8_t { softmax, sigmoid };
/// Where the auxiliary loss takes expert load from: each sequence, or the global batch of the previous step.
enum class BalanceScope : uint8_t { sequence, batch };
/// What happens to tokens above an expert's capacity. dropless: there is no limit. drop: they skip the
/// expert. pad: they do, and experts are padded to capacity with zeros, so that all messages have one size.
enum class CapacityMode : uint8_t { dropless, drop, pad };

/// num_experts 0: every block is dense. Experts and the shared expert have the activation of the family;
/// experts have no biases. docs/moe.md has the equations.
struct MoeConfig {
  int64_t num_experts = 0;
  int64_t experts_per_token = 2;  ///< top-k
  int64_t expert_ffn_size = 0;    ///< hidden size of each expert; 0: the model's ffn_size
  int64_t shared_ffn_size = 0;    ///< hidden size of the shared expert; 0: none
  int64_t first_block = 0;        ///< blocks before it are dense
  int64_t every = 1;              ///< from it on every n-th block is an MoE block

  RouterScore score = RouterScore::softmax;
  int64_t num_groups = 1;        ///< groups of consecutive experts
  int64_t groups_per_token = 1;  ///< groups a token may choose from (arXiv 2412.19437, section 2.1.2)
  bool normalize_gates = true;   ///< the gates of a token sum to gate_scale
  double gate_scale = 1;

  double jitter = 0;  ///< uniform noise in (1 - jitter, 1 + jitter) on the router's input in training (arXiv
                      ///< 2101.03961); 0: off

  CapacityMode capacity = CapacityMode::dropless;
  double capacity_factor = 1.25;  ///< capacity per sequence, as a multiple of the even share

  double aux_loss = 0.01;  ///< coefficient of the auxiliary loss (arXiv 2101.03961); 0: off
  BalanceScope aux_scope = BalanceScope::sequence;
  double z_loss = 0;     ///< coefficient of the router z-loss (arXiv 2202.08906); 0: off
  double bias_rate = 0;  ///< update rate of the expert biases (arXiv 2408.15664); 0: off

  /// Whether block `index` is an MoE block.
  bool is_in(int64_t index) const {
    return num_experts > 0 && index >= first_block && (index - first_block) % every == 0;
  }
  /// Choices of one expert that count in a sequence of `seq_len` tokens: ceil(factor * k * seq_len /
  /// experts), never more than seq_len, which is also the answer without a limit.
  int64_t capacity_of(int64_t seq_len) const;

  friend bool operator==(const MoeConfig&, const MoeConfig&) = default;
};

/// All errors, as errors_of(ModelConfig); empty if there are none.
std::vector<std::string> errors_of(const MoeConfig& config, int64_t num_layers);

/// Why the experts cannot be sharded over `expert` ranks, or those of a rank into `chunks`, with the nearest
/// degrees that work; empty when they can.
std::vector<std::string> expert_parallel_errors(const MoeConfig& config, int expert, int chunks = 1);

}  // namespace trireme
