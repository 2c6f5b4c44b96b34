#include "models/cost/model_size.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "models/spec/describe.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

/// Rows in the order of a tree of their names, which for weights and biases that lie apart is beside one
/// another: branches by their first appearance.
void sort_as_tree(std::vector<ParameterInfo>& rows) {
  std::unordered_map<std::string, size_t> appeared;
  std::vector<std::pair<std::vector<size_t>, size_t>> order;
  for (size_t i = 0; i < rows.size(); ++i) {
    auto& [path, row] = order.emplace_back();
    row = i;
    const std::string& name = rows[i].name;
    for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
      path.push_back(appeared.try_emplace(name.substr(0, dot), i).first->second);
  }
  std::ranges::sort(order);
  std::vector<ParameterInfo> sorted;
  sorted.reserve(rows.size());
  for (const auto& [path, row] : order) sorted.push_back(std::move(rows[row]));
  rows = std::move(sorted);
}

double sum_of_flops(const std::vector<LayerProducts>& layers, int64_t seq_len) {
  double sum = 0;
  for (const LayerProducts& layer : layers) sum += layer.flops(seq_len);
  return sum;
}

}  // namespace

std::vector<ParameterInfo> parameter_table(const ModelConfig& config) {
  std::vector<ParameterInfo> rows;
  for (const auto& layer : parameters_by_layer(spec_of(config))) {
    for (const Parameter& p : layer) rows.push_back({p.name, p.global_shape, p.expert});
  }
  sort_as_tree(rows);
  return rows;
}

ModelSize size_of(const ModelConfig& config) {
  const ModelSpec spec = spec_of(config);
  const std::vector<LayerDescription> layers = describe(spec);
  ModelSize size;
  for (size_t i = 0; i < layers.size(); ++i) {
    int64_t all = 0, of_experts = 0, of_tables = 0;
    for (const ParameterBlock& block : layers[i].blocks) {
      const int64_t numel = block.shape().numel();
      all += numel;
      if (block.is_of_experts()) of_experts += numel;
      if (block.is_matrix() && (i == 0 || i + 1 == layers.size())) of_tables += numel;
    }
    size.parameters += all;
    size.non_embedding += all - of_tables;
    size.matmul += layers[i].products.weights();
    size.active += all;
    if (of_experts == 0) continue;
    const MoeConfig& routing = spec.blocks[i - 1].mixture->routing;
    size.active -= of_experts / routing.num_experts * (routing.num_experts - routing.experts_per_token);
  }
  return size;
}

double forward_flops_per_token(const ModelConfig& config, int64_t seq_len) {
  return sum_of_flops(describe_products(spec_of(config)), seq_len);
}

double training_flops_per_token(const ModelConfig& config, int64_t seq_len) {
  return 3 * forward_flops_per_token(config, seq_len);
}

double recomputed_flops_per_token(const ModelConfig& config, int64_t seq_len,
                                  const Recomputation& recomputation) {
  const ModelSpec spec = spec_of(config);
  double sum = 0;
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    const LayerProducts products = describe_products(spec, spec.blocks[static_cast<size_t>(i)]);
    if (recomputation.of_attention()) sum += products.flops_of_attention(seq_len);
    if (recomputation.of_block(i)) sum += products.flops(seq_len);
  }
  return sum;
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
