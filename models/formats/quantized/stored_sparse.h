// StoredSparse: a matrix that a file of ours has without its zeros, read in parts.
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "models/formats/quantized/compressed_codes.h"
#include "models/formats/quantized/stored_numbers.h"
#include "parallel/module/parameter.h"

namespace trireme {

/// NAME_mask and NAME_values, and NAME_shape: [outputs, inputs].
inline constexpr std::string_view kMask = ".weight_mask", kValues = ".weight_values";

/// Immutable but for where its rows begin, which the first to read finds out; calls are safe from several
/// threads.
class StoredSparse {
 public:
  /// Of `module`, whose values are numbers of a compute type, or of codes signed bytes. UserError
  /// (bad_input) naming `path` and tensor for one that is missing, there twice (dense as well), or of another
  /// type or shape. `tensors` outlive it.
  StoredSparse(const StoredTensors& tensors, const std::string& path, const std::string& module,
               bool are_codes);

  int64_t outputs() const { return outputs_; }
  int64_t inputs() const { return inputs_; }
  DType dtype() const { return values_->dtype; }

  /// A part, row by row, with zeros: of values as f32, of codes as they are, with `zero` for those that are
  /// not stored. UserError (bad_input) naming the tensor where the mask has another number of bits than there
  /// are values, or bits beyond the inputs.
  void read(Part rows, Part columns, std::span<float> to) const;
  void codes(Part rows, Part columns, uint8_t zero, std::span<uint8_t> to) const;

 private:
  template <class Take>
  void for_each_value(Part rows, Part columns, const Take& take) const;
  int64_t bits_before(int64_t row, int64_t column) const;
  const std::vector<int64_t>& begins() const;

  std::string where_;
  const StoredTensor *mask_, *values_;
  int64_t outputs_ = 0, inputs_ = 0;
  mutable std::mutex mutex_;
  mutable std::vector<int64_t> begins_;  // of rows in the values, and their number
};

/// Modules of which the file has a mask, or values. UserError (bad_input) where it has one without the other.
std::vector<std::string> sparse_modules(const StoredTensors& tensors, const std::string& path);

}  // namespace trireme
