#include "models/cost/model_size.h"

#include <fmt/format.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

class Table {
 public:
  explicit Table(const ModelConfig& config) : config_(config) {}

  void weight(std::string name, Shape shape) { rows_.push_back({std::move(name), shape}); }

  void linear(const std::string& name, int64_t out, int64_t in) {
    weight(name + ".weight", {out, in});
    if (config_.bias) weight(name + ".bias", {out});
  }

  void norm(const std::string& name) {
    weight(name + ".gain", {config_.hidden_size});
    if (config_.bias && config_.norm == NormKind::layer_norm) weight(name + ".bias", {config_.hidden_size});
  }

  void feed_forward(const std::string& name, int64_t ffn, bool bias) {
    const int64_t hidden = config_.hidden_size;
    const auto add = [&](const char* part, int64_t out, int64_t in) {
      weight(name + part + ".weight", {out, in});
      if (bias) weight(name + part + ".bias", {out});
    };
    if (config_.activation == ActivationKind::swiglu) add(".gate", ffn, hidden);
    add(".up", ffn, hidden);
    add(".down", hidden, ffn);
  }

  void experts(const std::string& name) {
    const MoeConfig& moe = config_.moe;
    weight(name + ".router.weight", {moe.num_experts, config_.hidden_size});
    for (int64_t e = 0; e < moe.num_experts; ++e)
      feed_forward(fmt::format("{}.experts.{}", name, e), config_.expert_ffn_size(), false);
    if (moe.shared_ffn_size > 0) feed_forward(name + ".shared", moe.shared_ffn_size, config_.bias);
  }

  void layer(const std::string& prefix, bool has_experts) {
    const int64_t hidden = config_.hidden_size;
    const int64_t queries = config_.num_heads * config_.head_dim();
    const int64_t keys = config_.num_kv_heads * config_.head_dim();
    norm(prefix + "attention_norm");
    linear(prefix + "attention.query", queries, hidden);
    linear(prefix + "attention.key", keys, hidden);
    linear(prefix + "attention.value", keys, hidden);
    linear(prefix + "attention.output", hidden, queries);
    norm(prefix + "ffn_norm");
    if (has_experts) {
      experts(prefix + "ffn");
    } else {
      feed_forward(prefix + "ffn", config_.ffn_size, config_.bias);
    }
  }

  std::vector<ParameterInfo> take() { return std::move(rows_); }

 private:
  const ModelConfig& config_;
  std::vector<ParameterInfo> rows_;
};

// Of one layer's scores and their product with the values, forward.
double attention_flops_per_token(const ModelConfig& config, int64_t seq_len) {
  return 2.0 * static_cast<double>(seq_len) * static_cast<double>(config.num_heads * config.head_dim());
}

}  // namespace

bool is_of_expert(const ParameterInfo& row) { return row.name.find(".experts.") != std::string::npos; }

std::vector<ParameterInfo> parameter_table(const ModelConfig& config) {
  Table table(config);
  table.weight("embedding.tokens.weight", {config.vocab_size, config.hidden_size});
  if (config.positions == PositionKind::learned) {
    table.weight("embedding.positions.weight", {config.max_positions, config.hidden_size});
  }
  for (int64_t i = 0; i < config.num_layers; ++i)
    table.layer(fmt::format("layers.{}.", i), config.moe.is_in(i));
  table.norm("final_norm");
  if (!config.tied_embeddings) table.weight("head.weight", {config.vocab_size, config.hidden_size});
  return table.take();
}

ModelSize size_of(const ModelConfig& config) {
  ModelSize size;
  int64_t of_experts = 0;
  for (const ParameterInfo& row : parameter_table(config)) {
    const bool embedding = row.name.starts_with("embedding.");
    size.parameters += row.count();
    if (!embedding && row.name != "head.weight") size.non_embedding += row.count();
    if (!embedding && row.shape.rank() == 2) size.matmul += row.count();
    if (is_of_expert(row)) of_experts += row.count();
  }
  if (config.tied_embeddings) size.matmul += config.vocab_size * config.hidden_size;
  const int64_t idle = of_experts == 0 ? 0
                                       : of_experts / config.moe.num_experts *
                                             (config.moe.num_experts - config.moe.experts_per_token);
  size.active = size.parameters - idle;
  size.matmul -= idle;
  return size;
}

double forward_flops_per_token(const ModelConfig& config, int64_t seq_len) {
  const double matmul = 2.0 * static_cast<double>(size_of(config).matmul);
  return matmul + static_cast<double>(config.num_layers) * attention_flops_per_token(config, seq_len);
}

double training_flops_per_token(const ModelConfig& config, int64_t seq_len) {
  return 3 * forward_flops_per_token(config, seq_len);
}

double recomputed_flops_per_token(const ModelConfig& config, int64_t seq_len,
                                  const Recomputation& recomputation) {
  const auto layers = static_cast<double>(config.num_layers);
  if (recomputation.of_attention()) return layers * attention_flops_per_token(config, seq_len);
  const double head = 2.0 * static_cast<double>(config.vocab_size * config.hidden_size);
  return static_cast<double>(recomputation.num_whole_blocks(config.num_layers)) / layers *
         (forward_flops_per_token(config, seq_len) - head);
}

StateBytes state_bytes(int64_t parameters, DType precision, bool master) {
  TRIREME_CHECK(is_compute_type(precision), "{}", to_string(precision));
  const int64_t f32 = parameters * static_cast<int64_t>(size_of(DType::f32));
  StateBytes bytes;
  bytes.weights = parameters * static_cast<int64_t>(size_of(precision));
  bytes.gradients = f32;
  bytes.optimizer = 2 * f32 + (precision == DType::f32 || !master ? 0 : f32);
  return bytes;
}

}  // namespace trireme
