#include "models/compress/input_sums.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/gemm/gemm.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

constexpr int64_t kRowsAtOnce = 256, kProductsAtOnce = 8;

size_t index(int64_t i) { return static_cast<size_t>(i); }

Part share_of_rows(int64_t rows, const Communicator& ranks, int rank) {
  return {rows * rank / ranks.size(), rows * (rank + 1) / ranks.size()};
}

// Sums of |x| and the largest, column by column.
void add_magnitudes(int num_threads, std::span<const float> x, InputStatistics& to) {
  const int64_t width = to.inputs, rows = std::ssize(x) / width;
  parallel_for(num_threads, width, 256, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = x.data() + r * width;
      for (int64_t i = begin; i < end; ++i) {
        const float magnitude = std::abs(row[i]);
        to.magnitudes[index(i)] += magnitude;
        to.largest[index(i)] = std::max(to.largest[index(i)], magnitude);
      }
    }
  });
}

// Products of equal sums may differ in their last bits by the place in which they are computed.
void make_symmetric(int num_threads, InputStatistics& s) {
  const int64_t n = s.inputs;
  parallel_for(num_threads, n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < i; ++j) s.hessian[index(i * n + j)] = s.hessian[index(j * n + i)];
  });
}

}  // namespace

InputSums::InputSums(SharedRows rows, int64_t num_matrices, bool all_rows, bool same_inputs)
    : rows_(std::move(rows)),
      all_rows_(all_rows),
      same_inputs_(all_rows && same_inputs),
      sums_(same_inputs_ ? 1 : index(num_matrices)) {
  for (Sums& sums : sums_) {
    InputStatistics& s = sums.statistics;
    s.inputs = rows_.inputs;
    s.hessian.assign(index(s.inputs * s.inputs), 0.0);
    s.magnitudes.assign(index(s.inputs), 0.0);
    s.largest.assign(index(s.inputs), 0.0f);
  }
}

void InputSums::inputs(Context& ctx, const Tensor& x, std::span<const int64_t> counts) {
  const Part share = share_of_rows(x.dim(0), *rows_.ranks, rows_.ranks->rank());
  const Tensor own = own_rows(ctx, x, share);
  int64_t begin = 0;
  for (size_t m = 0; m < counts.size(); ++m) {
    const int64_t end = begin + counts[m];
    const int64_t from = std::max(begin, share.begin), to = std::min(end, share.end);
    if (from < to && m < sums_.size()) take(ctx, own.slice(from - share.begin, to - share.begin), sums_[m]);
    begin = end;
  }
}

// Of this rank's share of the rows all columns.
Tensor InputSums::own_rows(Context& ctx, const Tensor& x, const Part& rows) const {
  if (!rows_.has_parts()) return x.slice(rows.begin, rows.end);
  Communicator& ranks = *rows_.ranks;
  const Part& held = rows_.columns[index(ranks.rank())];
  std::vector<int64_t> sent, received;
  for (int r = 0; r < ranks.size(); ++r) {
    sent.push_back(share_of_rows(x.dim(0), ranks, r).size() * held.size());
    received.push_back(rows.size() * rows_.columns[index(r)].size());
  }
  const Tensor pieces = Tensor::empty(ctx, {rows.size() * rows_.inputs}, x.dtype());
  ranks.all_to_all_v(ctx.stream(), x, sent, pieces, received);
  const Tensor whole = Tensor::empty(ctx, {rows.size(), rows_.inputs}, x.dtype());
  int64_t at = 0;
  for (const Part& columns : rows_.columns) {
    const int64_t numel = rows.size() * columns.size();
    if (numel > 0)
      ops::copy_columns(ctx, pieces.flat_slice(at, {rows.size(), columns.size()}),
                        {whole, columns.begin, columns.size()});
    at += numel;
  }
  return whole;
}

void InputSums::take(Context& ctx, const Tensor& x, Sums& sums) {
  if (!sums.pending) sums.pending = Tensor::empty(ctx, {kRowsAtOnce, x.dim(1)}, x.dtype());
  for (int64_t begin = 0; begin < x.dim(0);) {
    const int64_t count = std::min(x.dim(0) - begin, kRowsAtOnce - sums.num_pending);
    ops::copy(ctx, x.slice(begin, begin + count),
              sums.pending.slice(sums.num_pending, sums.num_pending + count));
    sums.num_pending += count;
    begin += count;
    if (sums.num_pending == kRowsAtOnce) add_pending(ctx, sums);
  }
}

void InputSums::add_pending(Context& ctx, Sums& sums) {
  const int64_t width = rows_.inputs, rows = std::exchange(sums.num_pending, 0);
  if (rows == 0) return;
  InputStatistics& s = sums.statistics;
  s.tokens += rows;
  const Tensor x = sums.pending.slice(0, rows);
  if (!sums.product) sums.product = Tensor::empty(ctx, {width, width}, DType::f32, MemoryCategory::buffers);
  ops::gemm(ctx, {.transpose_a = true, .accumulate = sums.num_products > 0}, x, x, {}, sums.product);
  add_magnitudes(ctx.num_threads(), ops::to_host_f32(ctx, x), s);
  if (++sums.num_products == kProductsAtOnce) add_products(ctx, sums);
}

void InputSums::add_products(Context& ctx, Sums& sums) {
  if (std::exchange(sums.num_products, 0) == 0) return;
  std::vector<double>& hessian = sums.statistics.hessian;
  const std::vector<float> values = ops::to_host<float>(ctx, sums.product);
  parallel_for(ctx.num_threads(), std::ssize(values), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) hessian[index(i)] += values[index(i)];
  });
}

std::vector<InputStatistics> InputSums::reduce(Context& ctx, Communicator& holders) {
  std::vector<InputStatistics> all;
  for (Sums& sums : sums_) {
    add_pending(ctx, sums);
    add_products(ctx, sums);
    sums.pending = sums.product = {};
    InputStatistics& s = all.emplace_back(std::move(sums.statistics));
    const auto add = [&](auto* data, int64_t count, DType dtype, ReduceOp op) {
      holders.all_reduce(ctx.host_stream(), Tensor::borrow(data, {count}, dtype), op);
    };
    add(&s.tokens, 1, DType::i64, ReduceOp::sum);
    add(s.hessian.data(), std::ssize(s.hessian), DType::f64, ReduceOp::sum);
    add(s.magnitudes.data(), s.inputs, DType::f64, ReduceOp::sum);
    add(s.largest.data(), s.inputs, DType::f32, ReduceOp::max);
    make_symmetric(ctx.num_threads(), s);
  }
  return all;
}

void divide_inputs(InputStatistics& s, std::span<const float> scales) {
  for (int64_t i = 0; i < s.inputs; ++i) {
    const double of_i = scales[index(i)];
    s.magnitudes[index(i)] /= of_i;
    s.largest[index(i)] /= scales[index(i)];
    for (int64_t j = 0; j < s.inputs; ++j) s.hessian[index(i * s.inputs + j)] /= of_i * scales[index(j)];
  }
}

}  // namespace trireme
