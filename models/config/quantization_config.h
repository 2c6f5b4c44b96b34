// QuantizationConfig: which matrices of a model are trained through their quantization, and how.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/ops/packed/packed_linear.h"
#include "runtime/tensor/dtype.h"

namespace trireme {

struct ModelConfig;

/// Forward, matrices are what they will be once quantized: codes of the nearest numbers, multiplied by the
/// kernels that a server uses, with the same bits. Gradients pass straight through the rounding (arXiv
/// 1308.3432).
struct QuantizationConfig {
  ops::PackedSpec weights = {.group = 64};                 ///< int8, int4 or fp8; f32: nothing is quantized
  ops::Activations activations = ops::Activations::exact;  ///< what the codes are multiplied with
  bool learned_scales = false;           ///< of the blocks' matrices (LSQ, arXiv 1902.08153)
  bool embedding = false, head = false;  ///< the token table and the head too
  std::vector<std::string> skip = {};    ///< patterns (*) of names of matrices that stay
  /// Weights are rounded to this type before they become codes: what the training computes in.
  DType compute_type = DType::f32;

  explicit operator bool() const { return ops::is_integer(weights.format); }
  /// fp8 has one scale an output, whatever `weights` says of groups.
  ops::PackedSpec spec() const;
  /// How the matrix of this name ("layers.3.ffn.up.weight") is quantized; nothing: it stays.
  std::optional<ops::PackedSpec> spec_of(std::string_view name) const;
  /// Whether it has scales that are parameters.
  bool learns_scales_of(std::string_view name) const;

  friend bool operator==(const QuantizationConfig&, const QuantizationConfig&) = default;
};

/// "layers.3.ffn.up.weight_scale", of "layers.3.ffn.up.weight": f32 [outputs, groups, 1], base-2 logarithms
/// (ops::scale_of_log).
std::string scale_name(std::string_view weight);
bool is_scale_name(std::string_view name);

/// Why the model's matrices cannot be quantized so, each with names, numbers and what would work; empty: they
/// can. A scale's inputs lie on one rank.
std::vector<std::string> quantization_errors(const ModelConfig& config, int tensor, int expert_tensor);

}  // namespace trireme
