// Parameters: named trainable tensors, and the shard of each that this rank holds.
#pragma once

#include <string>
#include <vector>

#include "parallel/module/weight_view.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

class Layer;

/// The indices [begin, end) of a dim.
struct Part {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
};

/// One named tensor of the model and the block of it that this rank holds. Name and global shape do not
/// depend on the layout: initial values, checkpoints and comparisons go by them.
struct Parameter {
  std::string name;    ///< "layers.3.attention.query.weight"
  Shape global_shape;  ///< of the whole tensor
  Shape offset;        ///< where this rank's block begins, one entry a dim
  Shape shape;         ///< extent of this rank's block
  float init_mean = 0;
  float init_std = 0;
  /// Neighbouring tensor-parallel ranks that replicate this block: ranks with equal rank / num_copies.
  int num_copies = 1;
  /// Each of them computes only a part of the gradient: it must be summed over the copies.
  bool is_gradient_partial = false;
  /// A copy of a parameter that an earlier pipeline stage uses first: that one counts it in norms and writes
  /// it to files.
  bool is_tied_copy = false;
  /// Number of the expert it belongs to: held by the ranks that hold this expert. -1: held by all.
  int expert = -1;
  /// A learned scale of quantization: measured from its weights (measure_scales()) where no file has it.
  bool is_scale = false;

  /// A parameter that this rank holds whole.
  static Parameter whole(std::string name, const Shape& shape, float init_mean, float init_std);
  /// One of which this rank holds `part` of dim `dim`.
  static Parameter part_of(std::string name, const Shape& shape, int dim, Part part, float init_mean,
                           float init_std);
};

/// Parameters that lie back to back, so that one GEMM reads them as one matrix (query, key and value; gate
/// and up). All members are matrices with equal columns, or all are vectors. Matrices have the compute type
/// and are decayed by the optimizer; what has another number of dims (norm gains, biases, learned scales of
/// quantization) counts as vectors, which stay in f32 and are not. A block without
/// members stands for "this layer has none".
struct ParameterBlock {
  std::vector<Parameter> members;
  const Layer* owner = nullptr;  ///< the rank's first layer that uses it; set by Stage
  int holders = 0;  ///< number, from 1, of the pipeline ranks that hold it (ModelPart::holders); 0: this one
  /// Members one below the other; set by ParameterStorage, and where ranks divide weights (ZeRO 3) by
  /// WeightAccess, while a layer that reads it runs.
  Tensor weight;
  /// In place of `weight` where a model is for inference alone and its matrices are packed.
  std::shared_ptr<const PackedBlock> packed;
  /// f32, laid out as weight: the *sum* over tokens; set by ParameterStorage. Undefined where the block is
  /// frozen (ParameterSettings): nothing is computed for it.
  Tensor gradient;

  explicit operator bool() const { return !members.empty(); }
  bool is_of_experts() const { return members.front().expert >= 0; }
  bool is_matrix() const { return members.front().shape.rank() == 2; }
  Shape shape() const;  ///< of the members together
  /// What layers multiply with, while the weight is set.
  WeightView view() const {
    if (packed) return {.values = {}, .format = WeightFormat::packed, .packed = packed};
    return {weight};
  }
};

/// The value of a scale that was not measured yet.
inline constexpr float kUnmeasuredScale = 1e30f;

/// The scales of a block of matrices, in groups of so many inputs (0: all of an output), on the ranks that
/// hold it: f32 [outputs, groups, 1] each. Groups lie on one rank whole.
ParameterBlock scales_of(const ParameterBlock& matrices, int64_t group);

/// A block of one parameter.
ParameterBlock single(Parameter parameter);

}  // namespace trireme
