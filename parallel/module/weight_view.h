// WeightView: the weight matrix that a linear layer multiplies with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/ops/packed/packed_linear.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// How the numbers of a matrix are stored.
enum class WeightFormat : uint8_t {
  plain,   ///< values are the numbers themselves, of a compute type; no scales
  float8,  ///< values are E4M3 codes, scales [1] f32 what one unit of them stands for
  packed,  ///< packed says how; there are no values. For forward passes alone
};

/// Sees what is multiplied with a block's packed matrices, as calibration does.
class InputObserver {
 public:
  virtual ~InputObserver() = default;
  /// x [rows, inputs], this rank's columns of the inputs; the first counts[0] rows go through the block's
  /// first matrix (of experts; else there is one). Before the product.
  virtual void inputs(Context& ctx, const Tensor& x, std::span<const int64_t> counts) = 0;
  /// Experts show it all rows that any rank passes to experts, for each of them, in place of those that the
  /// router chose; what they make of the others goes nowhere.
  virtual bool sees_all_rows() const { return false; }
};

/// A block's weights for inference: matrices one below the other, each in a format of its own; of experts one
/// with all of them. Immutable.
struct PackedBlock {
  std::vector<ops::PackedWeight> parts;
  ops::Activations activations = ops::Activations::exact;
  InputObserver* observer = nullptr;  ///< outlives its use; null: nobody

  int64_t num_outputs() const;  ///< of all parts, experts counted apart
  int64_t num_inputs() const { return parts.front().inputs; }
};

/// A weight matrix [outputs, inputs] in some format. It shares the memory of who holds it.
struct WeightView {
  Tensor values;
  Tensor scales = {};  ///< undefined where the format has none
  WeightFormat format = WeightFormat::plain;
  std::shared_ptr<const PackedBlock> packed = nullptr;

  int64_t num_outputs() const { return packed ? packed->num_outputs() : values.dim(0); }
  int64_t num_inputs() const { return packed ? packed->num_inputs() : values.dim(1); }
};

}  // namespace trireme
