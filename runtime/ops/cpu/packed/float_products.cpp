#include "runtime/ops/cpu/packed/float_products.h"

#include <algorithm>

#include <omp.h>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/gemm/float_gemm.h"
#include "runtime/ops/cpu/packed/half_kernels.h"
#include "runtime/ops/cpu/packed/pair_dots.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// Of a piece at least: for less, waking a thread costs more than it saves.
constexpr int64_t kPieceOperations = int64_t{1} << 21, kPieceBytes = int64_t{1} << 18;
/// Rows of a piece at most: their sums stay in the cache; at least, where threads have fewer panels than
/// there are threads.
constexpr int64_t kMostRows = 1024, kLeastRows = 96;
/// Rows for which weights are widened in registers each time they are read.
constexpr int64_t kFewRows = 8;

/// Rows of x by the columns of a panel.
struct PanelPart {
  int64_t panel, row, rows;
  int64_t worker;
};

/// Calls body(PanelPart) for all rows and panels of a product, in threads. Each number of the result is
/// computed in one part, so that bits depend on no division.
template <class Body>
void for_each_part(int num_threads, int64_t m, const PackedFloats& w, Body&& body) {
  const int64_t panels = w.num_panels();
  const int64_t worth = std::max(2 * m * w.rows * w.inputs / kPieceOperations, w.bytes() / kPieceBytes);
  const int64_t pieces = std::clamp<int64_t>(worth, 1, panels);
  const int64_t wanted = num_threads == 1 ? 1 : std::min<int64_t>(worth, 2 * num_threads);
  const int64_t row_parts =
      std::max(ceil_of(m, kMostRows), std::min(ceil_of(wanted, pieces), m / kLeastRows));
  run_in_team(num_threads, pieces * row_parts, [&](int64_t t, int64_t worker) {
    const int64_t piece = t / row_parts, part = t % row_parts;
    const int64_t row = m * part / row_parts, end = m * (part + 1) / row_parts;
    for (int64_t p = panels * piece / pieces; p < panels * (piece + 1) / pieces; ++p) {
      body(PanelPart{p, row, end - row, worker});
    }
  });
}

// OpenMP gives a product within a team no further threads.
int threads_of(const Context& ctx) { return omp_in_parallel() != 0 ? 1 : ctx.num_threads(); }

Tensor scratch(Context& ctx, int64_t rows, int64_t floats) {
  return Tensor::empty(ctx, {rows, floats}, DType::f32, MemoryCategory::buffers);
}

/// Where the sums of a part are put together: in y itself if it is f32.
struct Sums {
  float* data;
  int64_t stride;
};

class PanelProducts {
 public:
  PanelProducts(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias, const Columns& y)
      : x_(x), w_(w), bias_(data_or_null<float>(bias)), y_(y), num_threads_(threads_of(ctx)) {
    if (y.dtype() != DType::f32) {
      sums_ = scratch(ctx, num_threads_, std::min(x.dim(0), kMostRows) * PackedFloats::panel_columns());
    }
  }

 protected:
  Sums sums_of(const PanelPart& p) const {
    if (!sums_) return {y_.row<float>(p.row) + column(p), y_.stride()};
    return {sums_.data<float>() + p.worker * sums_.dim(1), PackedFloats::panel_columns()};
  }
  int64_t column(const PanelPart& p) const { return p.panel * PackedFloats::panel_columns(); }
  int64_t width(const PanelPart& p) const {
    return std::min(PackedFloats::panel_columns(), w_.rows - column(p));
  }

  const Tensor& x_;
  const PackedFloats& w_;
  const float* bias_;
  const Columns& y_;
  int num_threads_;
  Tensor sums_;  // of each thread, or absent
};

class WidenedProducts : PanelProducts {
 public:
  WidenedProducts(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias, const Columns& y)
      : PanelProducts(ctx, x, w, bias, y) {
    is_fused_ = x.dim(0) <= kFewRows && w.layout != FloatLayout::rows && widening_kernels() != nullptr;
    if (w.format != PackedFormat::f32 && !is_fused_) {
      widened_ = scratch(ctx, num_threads_, 2 * kProductDepth * PackedFloats::panel_columns());
    }
  }

  void run() const {
    for_each_part(num_threads_, x_.dim(0), w_, [&](const PanelPart& p) { multiply(p); });
  }

 private:
  void multiply(const PanelPart& p) const {
    const Sums sums = sums_of(p);
    for (int64_t depth = 0; depth < w_.inputs; depth += kProductDepth) {
      const float* bias = bias_ == nullptr ? nullptr : bias_ + column(p);
      const FloatRows start = depth == 0 ? FloatRows{bias, 0} : FloatRows{sums.data, sums.stride};
      multiply(p, depth, std::min(kProductDepth, w_.inputs - depth), start, sums);
    }
    if (!sums_) return;
    with_compute_type(y_.dtype(), [&]<class T>(T) {
      for (int64_t r = 0; r < p.rows; ++r) {
        convert_range(sums.data + r * sums.stride, y_.row<T>(p.row + r) + column(p), width(p));
      }
    });
  }

  void multiply(const PanelPart& p, int64_t depth, int64_t depths, const FloatRows& start,
                const Sums& c) const {
    const FloatRows a = {x_.data<float>() + p.row * w_.inputs + depth, w_.inputs};
    if (is_fused_ && w_.format == PackedFormat::bf16) {
      return widening_kernels()->pairs(p.rows, width(p), depths, a, w_.panel<bf16>(p.panel, depth), start,
                                       c.data, c.stride);
    }
    if (is_fused_ && w_.format == PackedFormat::f16) {
      return widening_kernels()->halves(p.rows, width(p), depths, a, w_.panel<fp16>(p.panel, depth), start,
                                        c.data, c.stride);
    }
    const float* panel =
        w_.format == PackedFormat::f32 ? w_.panel<float>(p.panel, depth) : widened(p, depth, depths);
    gemm_kernels().multiply(p.rows, width(p), depths, a, panel, start, c.data, c.stride);
  }

  const float* widened(const PanelPart& p, int64_t depth, int64_t depths) const {
    float* values = widened_.data<float>() + p.worker * widened_.dim(1);
    widen_panel(w_, p.panel, depth, depths, values + widened_.dim(1) / 2, values);
    return values;
  }

  bool is_fused_;
  Tensor widened_;  // of each thread: a part of a panel, and scratch for it
};

class PairProducts : PanelProducts {
 public:
  using PanelProducts::PanelProducts;

  void run() const {
    for_each_part(num_threads_, x_.dim(0), w_, [&](const PanelPart& p) { multiply(p); });
  }

 private:
  // The bias comes last, as it does in oneDNN.
  void multiply(const PanelPart& p) const {
    const PairDots& dots = *pair_dots();
    const Sums sums = sums_of(p);
    const int64_t most = pair_depth(w_.inputs);
    for (int64_t depth = 0; depth < w_.inputs; depth += most) {
      const PairProduct product = {p.rows,
                                   width(p),
                                   std::min(most, w_.inputs - depth),
                                   x_.data<bf16>() + p.row * w_.inputs + depth,
                                   w_.inputs,
                                   w_.panel<bf16>(p.panel, depth)};
      dots.multiply(product, depth == 0 ? FloatRows{} : FloatRows{sums.data, sums.stride}, sums.data,
                    sums.stride);
    }
    for (int64_t r = 0; r < p.rows; ++r) {
      float* row = sums.data + r * sums.stride;
      if (bias_ != nullptr) accumulate_range(bias_ + column(p), row, width(p));
      if (sums_) dots.round(row, width(p), y_.row<bf16>(p.row + r) + column(p));
    }
  }
};

}  // namespace

void multiply_widened(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias,
                      const Columns& y) {
  WidenedProducts(ctx, x, w, bias, y).run();
}

void multiply_pairs(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias,
                    const Columns& y) {
  PairProducts(ctx, x, w, bias, y).run();
}

}  // namespace trireme::ops::cpu
