// WeightSource: stored weights of any format, as a model's parameters.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "parallel/checkpoint/weights/load_weights.h"
#include "parallel/checkpoint/weights/stored_matrix.h"
#include "parallel/module/parameter.h"
#include "runtime/ops/packed/coded_matrix.h"

namespace trireme {

/// Every rank reads for itself, and of each tensor no more than its part. Immutable; calls are safe from
/// several threads.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  /// The file or directory, for messages.
  virtual const std::string& path() const = 0;
  /// Shapes and types by the names of parameters; what has no place in the model under its own name.
  virtual std::map<std::string, StoredKind, std::less<>> kinds() const = 0;
  /// Block `p.offset`, `p.shape` of the tensor `name` (of kinds(), shape p.global_shape), row-major, as f32.
  /// UserError (bad_input) naming file and tensor where it cannot be read.
  virtual void read(std::string_view name, const Parameter& p, std::span<float> values) const = 0;
  /// How the same block of a matrix is stored; rows are there as long as the source, and are what read()
  /// gives decoded. Nothing where what is read is not what is stored. Errors of read().
  virtual std::optional<StoredMatrix> stored(std::string_view /*name*/, const Parameter& /*p*/) const {
    return std::nullopt;
  }
  /// The same block as codes with scales, where it is stored so, and the block's columns are whole groups;
  /// what read() gives is its values. A whole matrix in memory. Errors of read().
  virtual std::optional<ops::CodedMatrix> coded(std::string_view /*name*/, const Parameter& /*p*/) const {
    return std::nullopt;
  }
  /// How coded() would give it, without reading it; nothing where it would give nothing.
  virtual std::optional<ops::PackedSpec> coded_spec(std::string_view /*name*/, const Parameter& /*p*/) const {
    return std::nullopt;
  }
  /// Whether the matrix is stored without its zeros: those who hold it may do so too (PackedSpec::sparse).
  virtual bool is_sparse(std::string_view /*name*/) const { return false; }
  /// Takes pages of the files from this process's memory (MappedFile::release_pages), so that what was read
  /// does not lie beside what was made of it.
  virtual void release_pages() const noexcept {}
};

}  // namespace trireme
