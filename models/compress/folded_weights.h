// FoldedWeights: the weights of a source with scales folded into them.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/module/parameter.h"

namespace trireme {

class FoldedWeights {
 public:
  /// `source` outlives it.
  explicit FoldedWeights(const WeightSource& source) : source_(source) {}

  const WeightSource& source() const { return source_; }
  /// From now on column i of the matrix is what it was times scales[i].
  void multiply_columns(const std::string& name, std::span<const float> scales);
  /// From now on row i of the matrix, or element i of the vector, is what it was divided by scales[i].
  void divide_rows(const std::string& name, std::span<const float> scales);
  bool is_folded(const std::string& name) const { return rows_.contains(name) || columns_.contains(name); }

  /// Block `p.offset`, `p.shape` of the parameter as f32, row-major. Errors of WeightSource::read().
  std::vector<float> read(const Parameter& p) const;
  /// Rows [begin, end) of the whole parameter.
  std::vector<float> rows(const Parameter& p, int64_t begin, int64_t end) const;
  std::vector<float> whole(const Parameter& p) const { return rows(p, 0, p.global_shape[0]); }

 private:
  using Scales = std::map<std::string, std::vector<float>, std::less<>>;

  const WeightSource& source_;
  Scales rows_, columns_;
};

}  // namespace trireme
