#include "models/config/tensor_parallel_errors.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "parallel/plan/nearest.h"

namespace trireme {

namespace {

bool heads_fit(const ModelConfig& c, int64_t tensor) {
  return c.num_heads % tensor == 0 && (c.num_kv_heads % tensor == 0 || tensor % c.num_kv_heads == 0);
}

/// Of dense blocks, shared experts, and experts where these are divided alike.
int64_t narrowest_ffn(const ModelConfig& c, bool with_experts = true) {
  int64_t narrowest = c.ffn_size;
  if (c.moe.num_experts > 0 && with_experts) narrowest = std::min(narrowest, c.expert_ffn_size());
  if (c.moe.num_experts > 0 && c.moe.shared_ffn_size > 0)
    narrowest = std::min(narrowest, c.moe.shared_ffn_size);
  return narrowest;
}

/// "2 or 4": the nearest degrees that work for everything.
std::string nearest_degrees(const ModelConfig& c, int64_t tensor) {
  const int64_t narrowest = std::min(narrowest_ffn(c), c.vocab_size > 0 ? c.vocab_size : c.ffn_size);
  const int64_t most = std::min(c.num_heads, narrowest);
  return nearest_that_fit(tensor, most, [&](int64_t degree) { return heads_fit(c, degree); });
}

}  // namespace

std::vector<std::string> tensor_parallel_errors(const ModelConfig& c, int tensor, int expert_tensor) {
  std::vector<std::string> errors;
  if (tensor < 1) return errors;
  const auto add = [&](const std::string& why) {
    errors.push_back(
        fmt::format("{}; nearest degrees are --parallel.tensor {}", why, nearest_degrees(c, tensor)));
  };
  if (c.num_heads % tensor != 0) {
    add(fmt::format("model.heads {} does not divide by parallel.tensor {}", c.num_heads, tensor));
  } else if (!heads_fit(c, tensor)) {
    add(fmt::format("model.kv-heads {} and parallel.tensor {}: neither divides the other", c.num_kv_heads,
                    tensor));
  }
  if (c.ffn_size < tensor) {
    add(fmt::format("model.ffn {} is less than parallel.tensor {}", c.ffn_size, tensor));
  }
  const bool alike = expert_tensor == 0 || expert_tensor == tensor;
  if (c.ffn_size >= tensor && narrowest_ffn(c, alike) < tensor) {
    add(fmt::format("experts (moe.ffn, moe.shared-ffn) of width {} are narrower than parallel.tensor {}",
                    narrowest_ffn(c, alike), tensor));
  }
  if (!alike && c.moe.num_experts > 0 && c.expert_ffn_size() < expert_tensor) {
    errors.push_back(fmt::format("moe.ffn {} is less than parallel.expert-tensor {}: at most {}",
                                 c.expert_ffn_size(), expert_tensor, c.expert_ffn_size()));
  }
  if (c.vocab_size > 0 && c.vocab_size < tensor) {
    add(fmt::format("a vocabulary of {} is less than parallel.tensor {}", c.vocab_size, tensor));
  }
  return errors;
}

std::vector<std::string> sequence_parallel_errors(int64_t micro_batch, int64_t seq_len, int tensor,
                                                  int context) {
  if (tensor < 1 || context < 1) return {};
  const int64_t held = seq_len / context, rows = micro_batch * held;
  if (rows % tensor == 0) return {};
  const auto factor = [&](int64_t other) { return tensor / std::gcd<int64_t>(tensor, other); };
  const int64_t chunks_held = context > 1 ? 2 : 1;
  return {fmt::format(
      "parallel.sequence: a micro-batch of {} x {} = {} tokens{} does not divide by parallel.tensor "
      "{}: nearest are --train.micro-batch {}, or --train.seq-len {}",
      micro_batch, held, rows, context > 1 ? fmt::format(" (a rank of parallel.context {})", context) : "",
      tensor, nearest_multiples(factor(held), micro_batch),
      nearest_multiples(context * std::lcm(chunks_held, factor(micro_batch)), seq_len))};
}

}  // namespace trireme
