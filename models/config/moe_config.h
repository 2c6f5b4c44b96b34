// Mixture of experts: which blocks have one, and how tokens choose.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

enum class RouterScore : uint8_t { softmax, sigmoid };
/// Whose load the auxiliary loss is taken from: each sequence's own, or that of the whole global batch of the
/// step before.
enum class BalanceScope : uint8_t { sequence, batch };
/// What becomes of tokens that choose an expert which is full: there are none (dropless); their choice counts
/// for nothing (drop); likewise, and experts are filled up with rows of zeros, so that messages have one size
/// (pad).
enum class CapacityMode : uint8_t { dropless, drop, pad };

/// num_experts 0: every block is dense. Experts and the shared expert have the activation of the family;
/// experts have no biases. docs/moe.md has the equations.
struct MoeConfig {
  int64_t num_experts = 0;
  int64_t experts_per_token = 2;  ///< k
  int64_t expert_ffn_size = 0;    ///< width of an expert; 0: the model's ffn_size
  int64_t shared_ffn_size = 0;    ///< width of what every token passes through besides; 0: none
  int64_t first_block = 0;        ///< blocks before it are dense
  int64_t every = 1;              ///< from it on every n-th block has experts

  RouterScore score = RouterScore::softmax;
  int64_t num_groups = 1;        ///< groups of neighbouring experts
  int64_t groups_per_token = 1;  ///< within which a token chooses (arXiv 2412.19437, section 2.1.2)
  bool normalize_gates = true;   ///< the gates of a token sum to gate_scale
  double gate_scale = 1;

  double jitter = 0;  ///< training multiplies the router's input by uniform numbers in (1 - jitter, 1 +
                      ///< jitter) (arXiv 2101.03961); 0: does not

  CapacityMode capacity = CapacityMode::dropless;
  double capacity_factor = 1.25;  ///< room of an expert in each sequence, times the even share

  double aux_loss = 0.01;  ///< factor on the auxiliary loss (arXiv 2101.03961); 0: none
  BalanceScope aux_scope = BalanceScope::sequence;
  double z_loss = 0;     ///< factor on the router's z-loss (arXiv 2202.08906); 0: none
  double bias_rate = 0;  ///< step of the biases that balance without a loss (arXiv 2408.15664); 0: none

  /// Whether block `index` has experts.
  bool is_in(int64_t index) const {
    return num_experts > 0 && index >= first_block && (index - first_block) % every == 0;
  }
  /// Choices of one expert that count in a sequence of `seq_len` tokens: ceil(factor * k * seq_len /
  /// experts), never more than seq_len, which is also the answer without a limit.
  int64_t capacity_of(int64_t seq_len) const;

  friend bool operator==(const MoeConfig&, const MoeConfig&) = default;
};

/// What is wrong with the numbers, as errors_of(ModelConfig); empty when nothing is.
std::vector<std::string> errors_of(const MoeConfig& config, int64_t num_layers);

/// Why the experts cannot be divided over `expert` ranks, or those of a rank into `chunks`, with the nearest
/// degrees that work; empty when they can.
std::vector<std::string> expert_parallel_errors(const MoeConfig& config, int expert, int chunks = 1);

}  // namespace trireme
