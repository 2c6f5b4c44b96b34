#include "models/compress/folded_weights.h"

#include "runtime/base/error.h"

namespace trireme {

namespace {

void multiply(std::span<const float> scales, std::vector<float>& into) {
  if (into.empty()) into.assign(scales.size(), 1.0f);
  TRIREME_CHECK(into.size() == scales.size(), "{} scales, and {} before", scales.size(), into.size());
  for (size_t i = 0; i < scales.size(); ++i) into[i] *= scales[i];
}

}  // namespace

void FoldedWeights::multiply_columns(const std::string& name, std::span<const float> scales) {
  multiply(scales, columns_[name]);
}

void FoldedWeights::divide_rows(const std::string& name, std::span<const float> scales) {
  multiply(scales, rows_[name]);
}

std::vector<float> FoldedWeights::read(const Parameter& p) const {
  const int64_t height = p.shape[0], width = p.shape.rank() > 1 ? p.shape[1] : 1;
  std::vector<float> values(static_cast<size_t>(height * width));
  if (values.empty()) return values;
  source_.read(p.name, p, values);
  const auto of_rows = rows_.find(p.name), of_columns = columns_.find(p.name);
  const int64_t first_column = p.shape.rank() > 1 ? p.offset[1] : 0;
  for (int64_t r = 0; r < height; ++r) {
    float* row = values.data() + r * width;
    if (of_columns != columns_.end()) {
      const float* scales = of_columns->second.data() + first_column;
      for (int64_t c = 0; c < width; ++c) row[c] *= scales[c];
    }
    if (of_rows != rows_.end()) {
      const float scale = of_rows->second[static_cast<size_t>(p.offset[0] + r)];
      for (int64_t c = 0; c < width; ++c) row[c] /= scale;
    }
  }
  return values;
}

std::vector<float> FoldedWeights::rows(const Parameter& p, int64_t begin, int64_t end) const {
  Parameter part = p;
  if (p.global_shape.rank() == 2) {
    part.offset = {begin, 0};
    part.shape = {end - begin, p.global_shape[1]};
  } else if (p.global_shape.rank() == 3) {  // taps of a convolution
    part.offset = {begin, 0, 0};
    part.shape = {end - begin, p.global_shape[1], p.global_shape[2]};
  } else {
    part.offset = {begin};
    part.shape = {end - begin};
  }
  return read(part);
}

}  // namespace trireme
