#include "models/formats/mapped_weights.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/ranges.h>

#include "models/spec/describe.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

/// Rows (of a vector: elements) of a parameter that lie one behind the other in the file.
struct RowRun {
  int64_t stored, row, count;
};

std::vector<RowRun> runs_of(const RowMap& map, int64_t begin, int64_t count) {
  std::vector<RowRun> runs;
  if (map.group == 0 && map.interleaved_head_dim == 0) {
    if (count > 0) runs.push_back({map.offset + begin, 0, count});
    return runs;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t stored = map.stored_row(begin + i);
    if (!runs.empty() && runs.back().stored + runs.back().count == stored) {
      ++runs.back().count;
    } else {
      runs.push_back({stored, i, 1});
    }
  }
  return runs;
}

int64_t columns_of(const Shape& shape) { return shape.rank() == 0 ? 1 : shape[-1]; }

/// Of a stored [N, rows, columns]: where matrix `index` begins.
int64_t first_row(const StoredPlace& place, const Shape& stored) {
  return place.index < 0 ? 0 : place.index * stored[1];
}

class MappedWeights final : public WeightSource {
 public:
  MappedWeights(std::unique_ptr<RawTensors> raw, TensorMap map, const ModelConfig& config, std::string path)
      : raw_(std::move(raw)), map_(std::move(map)), path_(std::move(path)) {
    for (const StoredTensorShape& tensor : map_.tensors) shapes_.insert({tensor.name, tensor.shape});
    const auto tensors = raw_->tensors();
    check_shapes(tensors);
    for (const Parameter& p : parameters_of(config)) {
      const auto place = map_.places.find(p.name);
      TRIREME_CHECK(place != map_.places.end(), "{} has no place in the files", p.name);
      const auto found = tensors.find(place->second.tensor);
      if (found != tensors.end()) kinds_.insert({p.name, {p.global_shape, found->second.dtype}});
    }
    for (const auto& [name, tensor] : tensors) {
      if (!shapes_.contains(name)) kinds_.insert({name, {tensor.shape, tensor.dtype}});
    }
  }

  const std::string& path() const override { return path_; }
  std::map<std::string, StoredKind, std::less<>> kinds() const override { return kinds_; }

  void read(std::string_view name, const Parameter& p, std::span<float> values) const override {
    const auto found = map_.places.find(name);
    TRIREME_CHECK(found != map_.places.end(), "{} has no place in the files", name);
    TRIREME_CHECK(std::ssize(values) == p.shape.numel(), "{} values for {}", values.size(), name);
    const StoredPlace& place = found->second;
    if (p.shape.numel() == 0) return;
    const std::vector<RowRun> runs = runs_of(place.rows, p.offset[0], p.shape[0]);
    if (p.shape.rank() == 1) {
      read_vector(place, runs, values);
    } else if (place.transposed) {
      read_transposed(place, runs, p, values);
    } else {
      read_matrix(place, runs, p, values);
    }
    if (place.added != 0) {
      for (float& value : values) value += place.added;
    }
  }

  std::optional<StoredMatrix> stored(std::string_view name, const Parameter& p) const override {
    const auto found = map_.places.find(name);
    TRIREME_CHECK(found != map_.places.end(), "{} has no place in the files", name);
    const StoredPlace& place = found->second;
    const auto raw = raw_->rows(place.tensor);
    if (!raw || p.shape.rank() != 2 || place.added != 0) return std::nullopt;
    StoredMatrix matrix{.format = raw->format, .transposed = place.transposed};
    const auto before = bytes_before(raw->format, {p.offset[1], p.offset[1] + p.shape[1]});
    if (place.transposed || !before) return matrix;
    const int64_t base = first_row(place, stored_shape(place)), first = p.offset[0];
    matrix.row = [rows = *raw, map = place.rows, base, first, before = *before](int64_t row) {
      return rows.first + (base + map.stored_row(first + row)) * rows.row_bytes + before;
    };
    return matrix;
  }

  std::optional<ops::PackedSpec> coded_spec(std::string_view name, const Parameter& p) const override {
    const auto found = map_.places.find(name);
    TRIREME_CHECK(found != map_.places.end(), "{} has no place in the files", name);
    const StoredPlace& place = found->second;
    if (p.shape.rank() != 2 || place.added != 0 || place.transposed) return std::nullopt;
    return raw_->coded_spec(place.tensor, {p.offset[1], p.offset[1] + p.shape[1]});
  }

  std::optional<ops::CodedMatrix> coded(std::string_view name, const Parameter& p) const override {
    const auto spec = coded_spec(name, p);
    if (!spec) return std::nullopt;
    const StoredPlace& place = map_.places.find(name)->second;
    const int64_t base = first_row(place, stored_shape(place)), columns = p.shape[1];
    std::vector<RowRun> runs = runs_of(place.rows, p.offset[0], p.shape[0]);
    if (runs.empty()) runs.push_back({place.rows.offset, 0, 0});
    std::optional<ops::CodedMatrix> all;
    for (const RowRun& run : runs) {
      ops::CodedMatrix part = raw_->coded(place.tensor, {base + run.stored, base + run.stored + run.count},
                                          {p.offset[1], p.offset[1] + columns});
      if (!all) {
        all = std::move(part);
        continue;
      }
      all->outputs += part.outputs;
      all->codes.insert(all->codes.end(), part.codes.begin(), part.codes.end());
      all->scales.insert(all->scales.end(), part.scales.begin(), part.scales.end());
      all->zeros.insert(all->zeros.end(), part.zeros.begin(), part.zeros.end());
    }
    return all;
  }

  bool is_sparse(std::string_view name) const override {
    const auto found = map_.places.find(name);
    TRIREME_CHECK(found != map_.places.end(), "{} has no place in the files", name);
    const StoredPlace& place = found->second;
    return place.added == 0 && raw_->is_sparse(place.tensor);
  }

  void release_pages() const noexcept override { raw_->release_pages(); }

 private:
  void check_shapes(const std::map<std::string, RawTensor, std::less<>>& tensors) const {
    constexpr size_t kMost = 5;
    std::vector<std::string> errors;
    for (const auto& [name, shape] : shapes_) {
      const auto found = tensors.find(name);
      if (found == tensors.end()) {
        errors.push_back(fmt::format("{} is missing", name));
      } else if (found->second.shape != shape) {
        errors.push_back(fmt::format("{} is {}, of this configuration {}", name,
                                     to_string(found->second.shape), to_string(shape)));
      }
    }
    if (errors.empty()) return;
    const size_t count = errors.size();
    errors.resize(std::min(count, kMost));
    if (count > kMost) errors.push_back(fmt::format("{} more", count - kMost));
    throw_bad_input("{} does not fit its configuration: {}", path_, fmt::join(errors, "; "));
  }

  const Shape& stored_shape(const StoredPlace& place) const { return shapes_.find(place.tensor)->second; }

  void read_vector(const StoredPlace& place, const std::vector<RowRun>& runs, std::span<float> values) const {
    const int64_t row = std::max<int64_t>(place.index, 0);
    for (const RowRun& run : runs) {
      raw_->read(place.tensor, {row, row + 1}, {run.stored, run.stored + run.count},
                 values.subspan(static_cast<size_t>(run.row), static_cast<size_t>(run.count)));
    }
  }

  void read_matrix(const StoredPlace& place, const std::vector<RowRun>& runs, const Parameter& p,
                   std::span<float> values) const {
    const int64_t base = first_row(place, stored_shape(place)), width = p.shape[1];
    for (const RowRun& run : runs) {
      raw_->read(
          place.tensor, {base + run.stored, base + run.stored + run.count},
          {p.offset[1], p.offset[1] + width},
          values.subspan(static_cast<size_t>(run.row * width), static_cast<size_t>(run.count * width)));
    }
  }

  void read_transposed(const StoredPlace& place, const std::vector<RowRun>& runs, const Parameter& p,
                       std::span<float> values) const {
    const int64_t base = first_row(place, stored_shape(place)), width = p.shape[1];
    std::vector<float> block;
    for (const RowRun& run : runs) {
      block.resize(static_cast<size_t>(width * run.count));
      raw_->read(place.tensor, {base + p.offset[1], base + p.offset[1] + width},
                 {run.stored, run.stored + run.count}, block);
      for (int64_t r = 0; r < run.count; ++r) {
        for (int64_t c = 0; c < width; ++c)
          values[static_cast<size_t>((run.row + r) * width + c)] =
              block[static_cast<size_t>(c * run.count + r)];
      }
    }
  }

  std::unique_ptr<RawTensors> raw_;
  TensorMap map_;
  std::string path_;
  std::map<std::string, Shape, std::less<>> shapes_;
  std::map<std::string, StoredKind, std::less<>> kinds_;
};

/// Puts a parameter's values into the stored tensor. Returns how many.
int64_t put(const StoredPlace& place, const Shape& stored, std::span<const float> parameter,
            std::span<float> values) {
  const int64_t columns = columns_of(stored);
  const bool is_vector = stored.rank() - (place.index < 0 ? 0 : 1) == 1;
  const int64_t inner = place.transposed ? stored[-2] : is_vector ? 1 : columns;
  const int64_t rows = inner == 0 ? 0 : std::ssize(parameter) / inner;
  const int64_t base =
      is_vector ? std::max<int64_t>(place.index, 0) * columns : first_row(place, stored) * columns;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = place.rows.stored_row(row);
    const int64_t begin = base + (place.transposed || is_vector ? at : at * columns);
    const int64_t step = place.transposed ? columns : 1;
    TRIREME_CHECK(begin >= 0 && begin + (inner - 1) * step < std::ssize(values), "{}: row {} is outside",
                  place.tensor, at);
    for (int64_t c = 0; c < inner; ++c)
      values[static_cast<size_t>(begin + c * step)] =
          parameter[static_cast<size_t>(row * inner + c)] - place.added;
  }
  return rows * inner;
}

}  // namespace

ops::CodedMatrix RawTensors::coded(std::string_view name, Part /*rows*/, Part /*columns*/) const {
  TRIREME_CHECK(false, "{} is not stored as codes", name);
  return {};
}

std::unique_ptr<WeightSource> mapped_weights(std::unique_ptr<RawTensors> raw, TensorMap map,
                                             const ModelConfig& config, std::string path) {
  return std::make_unique<MappedWeights>(std::move(raw), std::move(map), config, std::move(path));
}

std::vector<std::string> parameters_in(const TensorMap& map, std::string_view stored) {
  std::vector<std::string> names;
  for (const auto& [name, place] : map.places) {
    if (place.tensor == stored) names.push_back(name);
  }
  return names;
}

std::vector<float> assemble(const TensorMap& map, const StoredTensorShape& stored,
                            const std::function<std::vector<float>(const std::string&)>& parameter) {
  std::vector<float> values(static_cast<size_t>(stored.shape.numel()));
  int64_t filled = 0;
  for (const std::string& name : parameters_in(map, stored.name))
    filled += put(map.places.find(name)->second, stored.shape, parameter(name), values);
  TRIREME_CHECK(filled == std::ssize(values), "parameters have {} of the {} elements of {}", filled,
                values.size(), stored.name);
  return values;
}

std::vector<Parameter> parameters_of(const ModelConfig& config) {
  std::vector<Parameter> all;
  for (const auto& layer : parameters_by_layer(spec_of(config)))
    all.insert(all.end(), layer.begin(), layer.end());
  return all;
}

}  // namespace trireme
