#include "models/config/quantization_config.h"

#include <algorithm>
#include <array>
#include <set>

#include <fmt/ranges.h>

#include "models/config/model_config.h"
#include "parallel/plan/parameter_rules.h"

namespace trireme {

namespace {

using Strings = std::vector<std::string>;

constexpr std::string_view kScaleEnd = "_scale", kWeightEnd = ".weight";
constexpr std::string_view kTokenTable = "embedding.tokens.weight", kHead = "head.weight";

/// Matrices of one product share their fate: their last names.
constexpr std::array<std::array<std::string_view, 3>, 3> kProducts = {
    {{".query.weight", ".key.weight", ".value.weight"},
     {".gate.weight", ".up.weight", ""},
     {".in_gate.weight", ".out_gate.weight", ".in_value.weight"}}};

/// "layers.3.ffn.experts.*.up.weight": all experts of a block are one product.
std::string without_expert(std::string_view name) {
  constexpr std::string_view kExperts = ".experts.";
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos) return std::string(name);
  const size_t number = at + kExperts.size();
  return std::string(name.substr(0, number)) + "*" + std::string(name.substr(name.find('.', number)));
}

/// The names of the matrices that are multiplied as one with this, itself included.
Strings product_of(std::string_view full_name) {
  const std::string name = without_expert(full_name);
  for (const auto& ends : kProducts) {
    for (const std::string_view end : ends) {
      if (end.empty() || !name.ends_with(end)) continue;
      Strings names;
      for (const std::string_view other : ends) {
        if (!other.empty()) names.push_back(name.substr(0, name.size() - end.size()) + std::string(other));
      }
      return names;
    }
  }
  return {name};
}

bool is_skipped(const Strings& skip, std::string_view name) {
  const Strings names = skip.empty() ? Strings() : product_of(name);
  return std::ranges::any_of(names, [&](const std::string& one) {
    return std::ranges::any_of(
        skip, [&](const std::string& p) { return ParameterRule{.pattern = p}.matches(one, {}); });
  });
}

/// A matrix, and how its inputs are divided.
struct MatrixInputs {
  std::string part;  ///< "attention.output.weight"
  int64_t inputs;
  int ranks;
};

std::vector<MatrixInputs> matrices_of(const ModelConfig& c, int64_t block, int tensor, int expert_tensor) {
  std::vector<MatrixInputs> all;
  const auto add = [&](const std::string& part, int64_t inputs, int ranks) {
    all.push_back({part, inputs, ranks});
  };
  const int64_t width = c.inner_size();
  if (c.convolution.is_in(block)) {
    for (const char* part : {"in_gate", "out_gate", "in_value"})
      add(fmt::format("convolution.{}.weight", part), width, 1);
    add("convolution.output.weight", width, tensor);
  } else {
    for (const char* part : {"attention.query.weight", "attention.key.weight", "attention.value.weight"})
      add(part, width, 1);
    add("attention.output.weight", c.num_heads * c.head_dim(), tensor);
  }
  const bool gated = is_gated(c.activation);
  if (c.bottleneck.width > 0) {
    add("bottleneck.in.weight", c.hidden_size, 1);
    add("bottleneck.out.weight", width, 1);
    for (int64_t k = 0; k < c.bottleneck.num_feed_forwards; ++k) {
      if (gated) add(fmt::format("ffn.{}.gate.weight", k), width, 1);
      add(fmt::format("ffn.{}.up.weight", k), width, 1);
      add(fmt::format("ffn.{}.down.weight", k), c.ffn_size, tensor);
    }
    return all;
  }
  if (!c.moe.is_in(block)) {
    if (gated) add("ffn.gate.weight", c.hidden_size, 1);
    add("ffn.up.weight", c.hidden_size, 1);
    add("ffn.down.weight", c.ffn_size, tensor);
    return all;
  }
  if (gated) add("ffn.experts.*.gate.weight", c.hidden_size, 1);
  add("ffn.experts.*.up.weight", c.hidden_size, 1);
  add("ffn.experts.*.down.weight", c.expert_ffn_size(), expert_tensor > 0 ? expert_tensor : tensor);
  if (c.moe.shared_ffn_size == 0) return all;
  if (gated) add("ffn.shared.gate.weight", c.hidden_size, 1);
  add("ffn.shared.up.weight", c.hidden_size, 1);
  add("ffn.shared.down.weight", c.moe.shared_ffn_size, tensor);
  return all;
}

bool fits(const MatrixInputs& matrix, int64_t group) {
  if (group == 0) return matrix.ranks <= 1;
  for (int64_t r = 1; r <= matrix.ranks; ++r) {
    if (matrix.inputs * r / matrix.ranks % group != 0) return false;
  }
  return true;
}

std::string misfit(const MatrixInputs& matrix, int64_t group) {
  Strings groups;
  for (const int64_t other : {0, 32, 64, 128}) {
    if (fits(matrix, other)) groups.push_back(fmt::to_string(other));
  }
  const std::string divided =
      matrix.ranks > 1 ? fmt::format(", divided by {} tensor-parallel ranks", matrix.ranks) : "";
  return fmt::format("qat.group {}{}: layers.*.{} has {} inputs{}: {}; use {}--qat.skip 'layers.*.{}'{}",
                     group, group == 0 ? " (per channel)" : "", matrix.part, matrix.inputs, divided,
                     group == 0 ? "a scale needs all of them on one rank" : "groups would be cut",
                     groups.empty() ? "" : fmt::format("--qat.group {} or ", fmt::join(groups, ", ")),
                     matrix.part, matrix.ranks > 1 ? ", or another --parallel.tensor" : "");
}

void check_matrices(const ModelConfig& c, int tensor, int expert_tensor, Strings& errors) {
  const QuantizationConfig& q = c.quantization;
  std::set<std::string> told;
  std::set<std::string_view> used;
  bool any = q.embedding || q.head;
  for (int64_t i = 0; i < c.num_layers; ++i) {
    for (const MatrixInputs& matrix : matrices_of(c, i, tensor, expert_tensor)) {
      const std::string name = fmt::format("layers.{}.{}", i, matrix.part);
      for (const std::string& pattern : q.skip) {
        if (is_skipped({pattern}, name)) used.insert(pattern);
      }
      if (is_skipped(q.skip, name)) continue;
      any = true;
      if (!fits(matrix, q.spec().group) && told.insert(matrix.part).second)
        errors.push_back(misfit(matrix, q.spec().group));
    }
  }
  for (const std::string& pattern : q.skip) {
    if (!used.contains(pattern))
      errors.push_back(fmt::format(
          "qat.skip {}: no matrix of the model's {} blocks has such a name; they are as "
          "layers.0.attention.query.weight, layers.0.ffn.down.weight, layers.0.ffn.experts.*.up.weight",
          pattern, c.num_layers));
  }
  if (!any) errors.push_back("qat.skip: it leaves no matrix to quantize; use --qat.weights none");
}

}  // namespace

std::string scale_name(std::string_view weight) { return std::string(weight) + std::string(kScaleEnd); }

bool is_scale_name(std::string_view name) {
  return name.ends_with(kScaleEnd) && name.substr(0, name.size() - kScaleEnd.size()).ends_with(kWeightEnd);
}

ops::PackedSpec QuantizationConfig::spec() const {
  return weights.format == ops::PackedFormat::fp8 ? ops::PackedSpec{weights.format} : weights;
}

std::optional<ops::PackedSpec> QuantizationConfig::spec_of(std::string_view name) const {
  if (!*this) return std::nullopt;
  if (name == kTokenTable) return embedding ? std::optional(spec()) : std::nullopt;
  if (name == kHead) return head ? std::optional(spec()) : std::nullopt;
  const bool is_of_block = name.starts_with("layers.") && name.ends_with(kWeightEnd) &&
                           name.find(".router.") == std::string_view::npos;
  return is_of_block && !is_skipped(skip, name) ? std::optional(spec()) : std::nullopt;
}

bool QuantizationConfig::learns_scales_of(std::string_view name) const {
  return learned_scales && name.starts_with("layers.") && spec_of(name).has_value();
}

Strings quantization_errors(const ModelConfig& c, int tensor, int expert_tensor) {
  const QuantizationConfig& q = c.quantization;
  Strings errors;
  if (!q) return errors;
  if (q.learned_scales && q.weights.format == ops::PackedFormat::fp8)
    errors.push_back("qat.scales learned: those of fp8 are powers of two; use --qat.scales measured");
  if (q.learned_scales && !q.spec().symmetric)
    errors.push_back(
        "qat.scales learned: zeros are not learned; use --qat.asymmetric off, or --qat.scales measured");
  if (c.tied_embeddings && q.embedding != q.head)
    errors.push_back(
        "qat.embedding and qat.head: the model's head is its token table (model.tied on): give both or "
        "neither");
  if ((q.embedding || q.head) && q.spec().group > 0 && c.hidden_size % q.spec().group != 0)
    errors.push_back(misfit({"attention.query.weight", c.hidden_size, 1}, q.spec().group));
  check_matrices(c, tensor, expert_tensor, errors);
  return errors;
}

}  // namespace trireme
