#include "models/compress/structured/unit_sums.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/base/parallel_for.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

size_t place(int64_t i) { return static_cast<size_t>(i); }

/// The rank's part of a matrix, some rows at a time.
template <class Take>
void for_rows(const WeightSource& source, const Parameter& p, const Take& take) {
  constexpr int64_t kMostNumbers = int64_t{1} << 22;
  const int64_t height = p.shape[0], width = p.shape[1];
  const int64_t at_once = std::max<int64_t>(1, kMostNumbers / std::max<int64_t>(1, width));
  std::vector<float> values;
  for (int64_t row = 0; row < height && width > 0; row += at_once) {
    Parameter rows = p;
    rows.offset = {p.offset[0] + row, p.offset[1]};
    rows.shape = {std::min(at_once, height - row), width};
    values.resize(place(rows.shape.numel()));
    source.read(p.name, rows, values);
    take(rows.shape[0], values);
  }
}

/// x^T x [width, width] of columns [begin, begin + width).
std::vector<float> products(Context& ctx, const Tensor& x, int64_t begin, int64_t width) {
  const Tensor part = Tensor::empty(ctx, {x.dim(0), width}, x.dtype()),
               sum = Tensor::empty(ctx, {width, width}, DType::f32);
  ops::copy_columns(ctx, {x, begin, width}, part);
  ops::gemm(ctx, {.transpose_a = true}, part, part, {}, sum);
  return ops::to_host<float>(ctx, sum);
}

}  // namespace

NeuronSums::NeuronSums(const ParameterBlock& block, const WeightSource& source,
                       const std::vector<std::vector<double>*>& to) {
  TRIREME_CHECK(block.members.size() == to.size(), "{} matrices, and scores of {}", block.members.size(),
                to.size());
  for (size_t m = 0; m < to.size(); ++m) {
    const Parameter& p = block.members[m];
    const int64_t width = p.shape[1];
    Matrix& matrix = matrices_.emplace_back();
    matrix.norms.resize(place(width));
    matrix.scores = std::span(*to[m]).subspan(place(p.offset[1]), place(width));
    for_rows(source, p, [&](int64_t rows, std::span<const float> w) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = 0; i < width; ++i) {
          const double v = w[place(r * width + i)];
          matrix.norms[place(i)] += v * v;
        }
      }
    });
  }
}

void NeuronSums::inputs(Context& ctx, const Tensor& x, std::span<const int64_t> counts) {
  const std::vector<float> values = ops::to_host_f32(ctx, x);
  const int64_t width = x.dim(1);
  int64_t row = 0;
  for (size_t m = 0; m < counts.size(); ++m) {
    const int64_t first = row, end = row += counts[m];
    Matrix& matrix = matrices_[m];
    parallel_for(ctx.num_threads(), width, 256, [&](int64_t from, int64_t to) {
      std::vector<double> sums(place(to - from));
      for (int64_t r = first; r < end; ++r) {
        const float* row_of = values.data() + r * width;
        for (int64_t i = from; i < to; ++i) {
          const double v = row_of[i];
          sums[place(i - from)] += v * v;
        }
      }
      for (int64_t i = from; i < to; ++i)
        matrix.scores[place(i)] += sums[place(i - from)] * matrix.norms[place(i)];
    });
  }
}

HeadSums::HeadSums(Context& ctx, const ParameterBlock& block, const WeightSource& source, int64_t width,
                   std::vector<double>& to)
    : width_(width) {
  const Parameter& p = block.members.front();
  const int64_t num_heads = p.shape[1] / width;
  scores_ = std::span(to).subspan(place(p.offset[1] / width), place(num_heads));
  weights_.assign(place(num_heads), std::vector<float>(place(width * width)));
  for_rows(source, p, [&](int64_t rows, const std::vector<float>& w) {
    const Tensor part = ops::to_device(ctx, w, {rows, p.shape[1]});
    for (int64_t h = 0; h < num_heads; ++h) {
      const std::vector<float> sum = products(ctx, part, h * width, width);
      for (size_t i = 0; i < sum.size(); ++i) weights_[place(h)][i] += sum[i];
    }
  });
}

void HeadSums::inputs(Context& ctx, const Tensor& x, std::span<const int64_t>) {
  if (x.dim(0) == 0) return;
  for (size_t h = 0; h < weights_.size(); ++h) {
    const std::vector<float> sum = products(ctx, x, static_cast<int64_t>(h) * width_, width_);
    double score = 0;
    for (size_t i = 0; i < sum.size(); ++i) score += static_cast<double>(sum[i]) * weights_[h][i];
    scores_[h] += score;
  }
}

void ExpertSums::after_experts(Context& ctx, const RouterBalance&, const ExpertOutputs& made) {
  Tensor whole = made.returned;
  if (width_.size() > 1) {
    whole = Tensor::empty(ctx, made.returned.shape(), made.returned.dtype());
    ops::copy(ctx, made.returned, whole);
    width_.all_reduce(ctx.stream(), whole);
    if (width_.rank() != 0) return;  // all of them pass the same rows
  }
  const auto chosen = ops::to_host<int32_t>(ctx, made.chosen), slots = ops::to_host<int32_t>(ctx, made.slots);
  const auto gates = ops::to_host<float>(ctx, made.gates);
  const std::vector<float> rows = ops::to_host_f32(ctx, whole);
  const int64_t hidden = whole.dim(1);
  for (size_t c = 0; c < slots.size(); ++c) {
    if (slots[c] < 0) continue;
    const float* row = rows.data() + slots[c] * hidden;
    double square = 0;
    for (int64_t i = 0; i < hidden; ++i) square += static_cast<double>(row[i]) * row[i];
    scores_[place(chosen[c])] += gates[c] * std::sqrt(square);
  }
}

double sum_of_cosines(Context& ctx, const Tensor& a, const Tensor& b) {
  const std::vector<float> x = ops::to_host_f32(ctx, a), y = ops::to_host_f32(ctx, b);
  const int64_t rows = a.dim(0), width = a.dim(1);
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double xy = 0, xx = 0, yy = 0;
    for (int64_t i = r * width; i < (r + 1) * width; ++i) {
      const double u = x[place(i)], v = y[place(i)];
      xy += u * v;
      xx += u * u;
      yy += v * v;
    }
    sum += xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : xx == yy ? 1 : 0;
  }
  return sum;
}

}  // namespace trireme
