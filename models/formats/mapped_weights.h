// Weights in another program's files as a model's parameters, and the reverse: what is common to all formats.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/model_config.h"
#include "models/formats/tensor_map.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/module/parameter.h"
#include "runtime/ops/packed/coded_matrix.h"
#include "runtime/ops/packed/packed_weight.h"
#include "runtime/tensor/dtype.h"
#include "runtime/tensor/shape.h"

namespace trireme {

struct RawTensor {
  Shape shape;  ///< outermost dim first
  DType dtype;  ///< f32 where it is of a type that is read as f32 (blocks of integers)
};

/// Where the rows of a stored tensor lie, one behind the other.
struct RawRows {
  ops::PackedFormat format;
  const std::byte* first;
  int64_t row_bytes;
};

/// Tensors of files, by the names that they have there. Immutable; calls are safe from several threads.
class RawTensors {
 public:
  virtual ~RawTensors() = default;

  virtual std::map<std::string, RawTensor, std::less<>> tensors() const = 0;
  /// A part as f32, row by row. Columns are the innermost dim, rows all others together: a vector is one row.
  /// UserError (bad_input) naming file and tensor where it cannot be read.
  virtual void read(std::string_view name, Part rows, Part columns, std::span<float> values) const = 0;
  /// The same rows as they are stored; nothing where they are of no format that can be packed as it is.
  virtual std::optional<RawRows> rows(std::string_view /*name*/) const { return std::nullopt; }
  /// How coded() gives a part of these columns; nothing where the tensor is not stored as codes, or where the
  /// columns cut groups.
  virtual std::optional<ops::PackedSpec> coded_spec(std::string_view /*name*/, Part /*columns*/) const {
    return std::nullopt;
  }
  /// Whether the tensor is stored without its zeros.
  virtual bool is_sparse(std::string_view /*name*/) const { return false; }
  /// As WeightSource::release_pages().
  virtual void release_pages() const noexcept {}
  /// A part as codes, where coded_spec() says how. Errors of read().
  virtual ops::CodedMatrix coded(std::string_view name, Part rows, Part columns) const;
};

/// The parameters of the model, for which `map` has a place each (CHECK). `path` is what messages name.
/// kinds() leaves out parameters whose tensors are not there, and has those that have no place in the map
/// under their names in the files. UserError (bad_input) here naming all tensors whose shape is not that of
/// the map.
std::unique_ptr<WeightSource> mapped_weights(std::unique_ptr<RawTensors> raw, TensorMap map,
                                             const ModelConfig& config, std::string path);

/// The reverse, for writing: the stored tensor put together from parameters, row-major.
/// `parameter(name)` gives one whole. CHECKs that they have as many elements as it.
std::vector<float> assemble(const TensorMap& map, const StoredTensorShape& stored,
                            const std::function<std::vector<float>(const std::string&)>& parameter);

/// Names of the parameters that a stored tensor holds, in the order in which assemble() asks for them.
std::vector<std::string> parameters_in(const TensorMap& map, std::string_view stored);

/// Every parameter of the model, whole and once, in the order of the forward pass.
std::vector<Parameter> parameters_of(const ModelConfig& config);

}  // namespace trireme
