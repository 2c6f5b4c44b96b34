#include "launch/verify/layout_trace.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include <fmt/format.h>

#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

namespace {

constexpr uint64_t kSignKey = 0x7ace;
constexpr int64_t kNoHash = std::numeric_limits<int64_t>::max();

// Adds values of the columns of a row.
void add_row(uint64_t row, const float* values, int64_t n, double* sums) {
  constexpr int64_t kAtOnce = 4;  // columns whose signs a call of the generator gives
  for (int64_t begin = 0; begin < n; begin += kAtOnce) {
    const auto signs = philox4x32(kSignKey, row, static_cast<uint64_t>(begin));
    for (int64_t i = begin; i < std::min(begin + kAtOnce, n); ++i) {
      const double x = values[i];
      const uint32_t bits = signs[static_cast<size_t>(i - begin)];
      sums[0] += x * x;
      for (size_t j = 0; j < TraceTable::kSigns; ++j) sums[1 + j] += (bits >> j & 1) != 0 ? x : -x;
    }
  }
}

int64_t hash_of(const std::vector<float>& values) {
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  return static_cast<int64_t>(std::hash<std::string_view>()(bytes) >> 2);  // below kNoHash
}

}  // namespace

std::vector<int64_t> rows_of(const MicroBatch& mb, const ContextShare& share) {
  const int64_t length = mb.seq_len * mb.context_parts;
  std::vector<int64_t> rows;
  for (int64_t b = 0; b < mb.batch; ++b) {
    for (const Part& part : (mb.context_parts > 1 ? share : ContextShare()).tokens(length)) {
      for (int64_t t = part.begin; t < part.end; ++t) rows.push_back(b * length + t);
    }
  }
  return rows;
}

double distance(const TraceTable& a, const TraceTable& b, size_t place) {
  const double *x = &a.sums[place * TraceTable::kWidth], *y = &b.sums[place * TraceTable::kWidth];
  if (!std::isfinite(x[0]) || !std::isfinite(y[0]))
    return std::isfinite(x[0]) == std::isfinite(y[0]) ? 0 : INFINITY;
  double squares = 0;
  for (size_t j = 1; j < TraceTable::kWidth; ++j) squares += (x[j] - y[j]) * (x[j] - y[j]);
  squares /= TraceTable::kSigns;
  if (squares == 0) return 0;
  return y[0] > 0 ? std::sqrt(squares / y[0]) : INFINITY;
}

LayoutTrace::LayoutTrace(const ParallelContext& parallel, const Transformer& model, int64_t num_micro_batches)
    : parallel_(parallel),
      placement_(model.placement()),
      num_layers_(static_cast<size_t>(placement_.back())),
      num_places_(static_cast<size_t>(num_micro_batches) * 2 * num_layers_),
      sums_(num_places_ * TraceTable::kWidth, 0.0),
      least_(num_places_, kNoHash),
      most_(num_places_, -1) {}

void LayoutTrace::enter(int64_t index, const MicroBatch& mb, int stage) {
  // Replicas take micro-batches in turn.
  micro_batch_ = static_cast<size_t>(index * parallel_.data().size() + parallel_.data().rank());
  first_layer_ = static_cast<size_t>(placement_[static_cast<size_t>(stage)]);
  const TensorParallel tensor(parallel_);
  shards_rows_ = tensor.shards_rows(mb);
  rows_ = rows_of(mb, ContextParallel(parallel_).share());
  if (!shards_rows_) return;
  const Part own = tensor.part(std::ssize(rows_));
  rows_ = {rows_.begin() + own.begin, rows_.begin() + own.end};
}

void LayoutTrace::after_forward(Context& ctx, const ObservedLayer& layer, const Tensor& y) {
  note(ctx, first_layer_ + layer.index, true, y);
}

void LayoutTrace::after_backward_input(Context& ctx, const ObservedLayer& layer, const Tensor& dx) {
  note(ctx, first_layer_ + layer.index, false, dx);
}

// A recomputed forward pass gives the same again.
void LayoutTrace::note(Context& ctx, size_t layer, bool is_forward, const Tensor& t) {
  if (!t) return;
  // Streams kept for exits come behind, over a pipeline alone.
  const std::vector<float> values = ops::to_host_f32(ctx, t.slice(0, std::min(t.dim(0), std::ssize(rows_))));
  const size_t place = micro_batch_ * 2 * num_layers_ + (is_forward ? layer : 2 * num_layers_ - 1 - layer);
  if (!shards_rows_) {
    least_[place] = most_[place] = hash_of(values);
    if (parallel_.tensor().rank() != 0) return;
  }
  double* sums = &sums_[place * TraceTable::kWidth];
  std::fill_n(sums, TraceTable::kWidth, 0.0);
  const auto width = static_cast<int64_t>(values.size()) / std::max<int64_t>(std::ssize(rows_), 1);
  for (size_t r = 0; r < rows_.size(); ++r) {
    add_row(static_cast<uint64_t>(rows_[r]), &values[r * static_cast<size_t>(width)], width, sums);
  }
}

TraceTable LayoutTrace::take(Context& ctx, double loss_scale) {
  TraceTable table;
  table.sums.assign(sums_.size(), 0.0);
  table.sums.swap(sums_);
  std::vector<int64_t> least(num_places_, kNoHash), most(num_places_, -1);
  least.swap(least_);
  most.swap(most_);
  const auto reduce = [&]<class T>(Communicator& ranks, std::vector<T>& values, ReduceOp op) {
    ranks.all_reduce(ctx.host_stream(),
                     Tensor::borrow(values.data(), {std::ssize(values)}, DTypeOf<T>::value), op);
  };
  reduce(parallel_.tensor(), least, ReduceOp::min);
  reduce(parallel_.tensor(), most, ReduceOp::max);
  std::vector<int64_t> unlike(num_places_);
  for (size_t i = 0; i < num_places_; ++i) unlike[i] = most[i] >= 0 && least[i] != most[i];
  reduce(parallel_.world(), unlike, ReduceOp::max);
  reduce(parallel_.world(), table.sums, ReduceOp::sum);
  for (size_t place = 0; place < num_places_; ++place) {
    if (place % (2 * num_layers_) < num_layers_) continue;  // forward
    double* sums = &table.sums[place * TraceTable::kWidth];
    sums[0] /= loss_scale * loss_scale;
    for (size_t i = 1; i < TraceTable::kWidth; ++i) sums[i] /= loss_scale;
  }
  for (size_t i = 0; i < num_places_; ++i) {
    if (unlike[i] != 0) table.unlike.push_back(i);
  }
  return table;
}

TracePlace trace_place(size_t place, int64_t num_layers) {
  const size_t length = static_cast<size_t>(num_layers) + 2;
  const size_t position = place % (2 * length);
  const bool is_forward = position < length;
  const size_t layer = is_forward ? position : 2 * length - 1 - position;
  return {place / (2 * length), is_forward,
          layer == 0            ? "embedding"
          : layer == length - 1 ? "head"
                                : fmt::format("layers.{}", layer - 1)};
}

}  // namespace trireme::launch
