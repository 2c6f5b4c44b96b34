#include <algorithm>
#include <utility>

#include "models/spec/layer_traces.h"

namespace trireme::traces {

Held Scene::gather(const Held& x, int64_t width) const {
  return sizes.shards_rows ? make(sizes.outer_rows * sizes.tensor, width) : x;
}

Held Scene::reduce(Held all, int64_t width) const {
  if (!sizes.shards_rows) return all;
  return make(sizes.outer_rows, width);
}

Held Scene::gather_product(const Held& x, int64_t width, bool keep) const {
  if (!sizes.shards_rows || sizes.tensor_chunks == 1) return gather(x, width);
  const Held whole = keep ? make(sizes.outer_rows * sizes.tensor, width) : nullptr;
  const int64_t rows = RankSizes::share(sizes.outer_rows, sizes.tensor_chunks) * sizes.tensor;
  const Held current = make(rows, width), next = make(rows, width);  // a chunk, while the next comes
  return whole;
}

Held Scene::reduce_product(int64_t width) const {
  if (!sizes.shards_rows || sizes.tensor_chunks == 1) return reduce(make(sizes.rows, width), width);
  Held own = make(sizes.outer_rows, width);
  const int64_t rows = RankSizes::share(sizes.outer_rows, sizes.tensor_chunks) * sizes.tensor;
  const Held current = make(rows, width), before = make(rows, width);  // a chunk, while the last is summed
  return own;
}

void Scene::product(int64_t m, int64_t k, int64_t n) const {
  if (!sizes.float8) return;
  // In 8 bits with a scale, and in bf16 as the CPU multiplies them.
  const Held a = buffer(m, k, DType::f8e4m3), a_scale = buffer(1, 1), b = buffer(k, n, DType::f8e4m3),
             b_scale = buffer(1, 1);
  const Held wide_a = buffer(m, k, DType::bf16), wide_b = buffer(k, n, DType::bf16);
}

Held Scene::codes(int64_t outputs, int64_t inputs) const {
  return sizes.code_bits > 0 ? buffer(outputs, inputs * sizes.code_bits / 8, DType::u8) : nullptr;
}

Held Scene::values(int64_t outputs, int64_t inputs) const {
  return sizes.code_bits > 0 ? buffer(outputs, inputs, sizes.type) : nullptr;
}

Held Scene::dvalues(int64_t outputs, int64_t inputs) const {
  return sizes.learns_scales ? buffer(outputs, inputs) : nullptr;
}

void ColumnLinear::forward_into(const Held& x) {
  x_ = x;
  const Held codes = s_.codes(outputs_, inputs_);
  const Held all = s_.gather_product(x, inputs_, false);
  s_.product(s_.sizes.rows, inputs_, outputs_);
}

Held ColumnLinear::forward(const Held& x) {
  Held y = s_.make(s_.sizes.rows, outputs_);
  forward_into(x);
  return y;
}

Held ColumnLinear::backward_input(const Held& dy) {
  dy_ = dy;
  Held own;  // until all rows have come, for which nobody waits
  if (s_.sizes.shards_rows) own = std::exchange(x_, s_.make(s_.sizes.rows, inputs_));
  const Held values = s_.values(outputs_, inputs_);
  Held dx = s_.reduce_product(inputs_);
  s_.product(s_.sizes.rows, outputs_, inputs_);
  return dx;
}

void ColumnLinear::backward_weight() {
  const Held dvalues = s_.dvalues(outputs_, inputs_);
  s_.product(outputs_, s_.sizes.rows, inputs_);
  x_ = dy_ = nullptr;
}

Held RowLinear::forward(const Held& x) {
  x_ = x;
  const Held codes = s_.codes(outputs_, inputs_);
  Held y = s_.reduce_product(outputs_);
  s_.product(s_.sizes.rows, inputs_, outputs_);
  return y;
}

Held RowLinear::backward_input(const Held& dy) {
  Held dx = s_.make(s_.sizes.rows, inputs_);
  const Held values = s_.values(outputs_, inputs_);
  dy_ = s_.gather_product(dy, outputs_, true);
  s_.product(s_.sizes.rows, outputs_, inputs_);
  return dx;
}

void RowLinear::backward_weight() {
  const Held dvalues = s_.dvalues(outputs_, inputs_);
  s_.product(outputs_, s_.sizes.rows, inputs_);
  x_ = dy_ = nullptr;
}

Convolution::Convolution(const Scene& scene, const ConvolutionSpec& spec)
    : s_(scene),
      width_(RankSizes::share(spec.width, scene.sizes.tensor)),
      kernel_(spec.kernel),
      lead_(scene.sizes.context > 1 ? 2 * scene.sizes.batch * (spec.kernel - 1) : 0),
      in_(scene, scene.sizes.hidden, 3 * width_),
      output_(scene, width_, scene.sizes.hidden) {}

// Rows of neighbouring chunks (parallel/context_parallel/neighbour_rows.cpp): the chunks' own, what goes to
// two ranks and comes from them.
Held Convolution::neighbours(DType type) const {
  const Held own = s_.buffer(lead_, width_, type), out = s_.buffer(lead_, width_, type),
             in = s_.buffer(lead_, width_, type);
  return s_.recorder.make(lead_, width_, type);
}

Held Convolution::forward(const Held& x) {
  abx_ = in_.forward(x);
  const Held y = s_.make(s_.sizes.rows, width_);
  {
    const Held u = s_.make(s_.sizes.rows, width_);
    if (lead_ > 0) before_ = neighbours(s_.sizes.type);
  }
  return output_.forward(y);
}

Held Convolution::backward_input(const Held& dy) {
  Held dconvolved = output_.backward_input(dy), behind;
  if (lead_ > 0) {
    const Held dbefore = s_.recorder.make(lead_, width_, DType::f32);
    behind = neighbours(DType::f32);
  }
  const Held dabx = s_.make(s_.sizes.rows, 3 * width_);
  {
    const Held u = s_.make(s_.sizes.rows, width_);
    const int64_t rows = s_.sizes.rows, block = std::max<int64_t>(64, (rows + 63) / 64);
    s_.buffer((rows + block - 1) / block, kernel_ * width_);
  }
  abx_ = before_ = nullptr;
  return in_.backward_input(dabx);
}

void Convolution::backward_weight() {
  output_.backward_weight();
  in_.backward_weight();
}

}  // namespace trireme::traces
