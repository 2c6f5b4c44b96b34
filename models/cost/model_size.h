// What a model consists of, computed from its config: parameters, arithmetic and bytes. Nothing is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/plan/recomputation.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme {

struct ParameterInfo {
  std::string name;  ///< global name, "layers.3.attention.query.weight"
  Shape shape;       ///< global shape; weights are [out, in]
  int expert = -1;   ///< as Parameter::expert

  int64_t count() const { return shape.numel(); }
};

/// Every parameter, layer by layer; weights beside their biases. Needs a config without errors.
std::vector<ParameterInfo> parameter_table(const ModelConfig& config);

struct ModelSize {
  int64_t parameters = 0;     ///< all; a tied head counts once
  int64_t non_embedding = 0;  ///< without the token and position tables and the head
  int64_t active = 0;         ///< those that a token meets: of E experts k
  int64_t matmul = 0;  ///< weights that every token is multiplied with: matrices of the layers, of E experts
                       ///< k, and the head
};
ModelSize size_of(const ModelConfig& config);

/// Floating-point operations of one token in a sequence of `seq_len`, a multiply-add counted as two: 2 *
/// matmul, and per layer 2 * seq_len * heads * head_dim for causal attention (QK^T and PV are 2 * seq_len *
/// heads * head_dim each, half of it is masked; less under a window). Norms, activations and softmax are left
/// out, as is usual for MFU (arXiv 2204.02311, B).
double forward_flops_per_token(const ModelConfig& config, int64_t seq_len);
/// Forward and backward: three times the forward pass. Recomputation is not counted.
double training_flops_per_token(const ModelConfig& config, int64_t seq_len);

/// What recomputation adds to it: the forward pass of whole blocks, or attention's scores and their product
/// with the values.
double recomputed_flops_per_token(const ModelConfig& config, int64_t seq_len,
                                  const Recomputation& recomputation);

/// Bytes of a model's state under AdamW, in one place (not divided).
struct StateBytes {
  int64_t weights = 0;    ///< in the compute type
  int64_t gradients = 0;  ///< f32
  int64_t optimizer = 0;  ///< two f32 moments; with half weights and masters an f32 copy too

  int64_t total() const { return weights + gradients + optimizer; }
};
StateBytes state_bytes(int64_t parameters, DType precision, bool master = true);

}  // namespace trireme
