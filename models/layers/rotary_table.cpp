#include "models/layers/rotary_table.h"

#include <cmath>
#include <vector>

#include "models/spec/rotary_frequencies.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

Tensor rotary_table(Context& ctx, const RotarySpec& spec, int64_t positions) {
  const std::vector<double> frequencies = rotary_frequencies(spec, positions);
  const double factor = rotary_attention_factor(spec);
  const size_t half = frequencies.size(), dims = 2 * half;
  std::vector<float> values(static_cast<size_t>(positions) * dims);
  for (size_t p = 0; p < static_cast<size_t>(positions); ++p) {
    float* row = values.data() + p * dims;
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(p) * frequencies[i];
      row[i] = static_cast<float>(factor * std::cos(angle));
      row[half + i] = static_cast<float>(factor * std::sin(angle));
    }
  }
  return ops::to_device(ctx, values, {positions, static_cast<int64_t>(dims)});
}

}  // namespace trireme
