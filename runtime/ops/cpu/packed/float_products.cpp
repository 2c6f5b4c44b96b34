#include "runtime/ops/cpu/packed/float_products.h"

#include <algorithm>
#include <optional>

#include <omp.h>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/gemm/float_gemm.h"
#include "runtime/ops/cpu/packed/half_kernels.h"
#include "runtime/ops/cpu/packed/pair_dots.h"
#include "runtime/ops/cpu/packed/sparse/few_rows.h"
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

/// Where the inputs of a panel from some one on are.
struct PanelPlace {
  PackedFloats w;
  int64_t number, depth;

  template <class T>
  const T* panel() const {
    return w.panel<T>(number, depth);
  }
};

/// A panel, part by part from its first input on; of a sparse weight each part is expanded into `scratch`.
class PanelParts {
 public:
  PanelParts(const PackedFloats& w, int64_t number, std::byte* scratch)
      : w_(w), number_(number), scratch_(scratch) {
    if (w.sparse != nullptr) sparse_.emplace(*w.sparse, w.panel_shape(), w.first_panel + number);
  }
  /// `depth`: what the parts so far had.
  PanelPlace next(int64_t depth, int64_t depths) {
    if (!sparse_) return {w_, number_, depth};
    const PackedFloats part = {w_.format, w_.layout, PackedFloats::panel_columns(), depths, scratch_};
    sparse_->expand_lines(part.panel_shape().lines(), scratch_);
    return {part, 0, 0};
  }
  /// Of a sparse weight.
  LineStream& stream() { return sparse_->stream(); }

 private:
  const PackedFloats& w_;
  int64_t number_;
  std::byte* scratch_;
  std::optional<SparsePanel> sparse_;
};

class PanelProducts {
 public:
  /// `most_inputs`: of a panel's parts.
  PanelProducts(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias, const Columns& y,
                int64_t most_inputs)
      : x_(x), w_(w), bias_(data_or_null<float>(bias)), y_(y), num_threads_(threads_of(ctx)) {
    if (w.sparse != nullptr) {
      const int64_t numbers = std::min(most_inputs, w.depth()) * PackedFloats::panel_columns();
      expanded_ = scratch(ctx, num_threads_, round_up(numbers, int64_t{kLineBytes}));
    }
    if (y.dtype() != DType::f32) {
      sums_ = scratch(ctx, num_threads_, std::min(x.dim(0), kMostRows) * PackedFloats::panel_columns());
    }
  }

 protected:
  PanelParts parts_of(const PanelPart& p) const {
    return {w_, p.panel,
            expanded_ ? reinterpret_cast<std::byte*>(expanded_.data<float>() + p.worker * expanded_.dim(1))
                      : nullptr};
  }
  /// So few rows that each line of a sparse weight is needed once.
  bool expands_in_registers() const {
    return w_.sparse != nullptr && x_.dim(0) <= kFewSparseRows && few_rows_kernels() != nullptr;
  }
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
  Tensor sums_;      // of each thread, or absent
  Tensor expanded_;  // of each thread: a part of a sparse panel
};

class WidenedProducts : PanelProducts {
 public:
  WidenedProducts(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias, const Columns& y)
      : PanelProducts(ctx, x, w, bias, y, kProductDepth) {
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
    PanelParts parts = parts_of(p);
    for (int64_t depth = 0; depth < w_.inputs; depth += kProductDepth) {
      const float* bias = bias_ == nullptr ? nullptr : bias_ + column(p);
      const FloatRows start = depth == 0 ? FloatRows{bias, 0} : FloatRows{sums.data, sums.stride};
      const int64_t depths = std::min(kProductDepth, w_.inputs - depth);
      if (expands_in_registers()) {
        const float* x = x_.data<float>() + p.row * w_.inputs + depth;
        multiply_few({p.rows, width(p), depths, x, w_.inputs, start, sums.data, sums.stride}, parts.stream());
        continue;
      }
      multiply(p, parts.next(depth, depths), depth, depths, start, sums);
    }
    if (!sums_) return;
    with_compute_type(y_.dtype(), [&]<class T>(T) {
      for (int64_t r = 0; r < p.rows; ++r) {
        convert_range(sums.data + r * sums.stride, y_.row<T>(p.row + r) + column(p), width(p));
      }
    });
  }

  void multiply_few(const FewRows<float>& few, LineStream& lines) const {
    const FewRowsKernels& kernels = *few_rows_kernels();
    if (w_.format == PackedFormat::f32) return kernels.floats(few, lines);
    kernels.pairs(few, lines);
  }

  void multiply(const PanelPart& p, const PanelPlace& from, int64_t depth, int64_t depths,
                const FloatRows& start, const Sums& c) const {
    const FloatRows a = {x_.data<float>() + p.row * w_.inputs + depth, w_.inputs};
    if (is_fused_ && w_.format == PackedFormat::bf16) {
      return widening_kernels()->pairs(p.rows, width(p), depths, a, from.panel<bf16>(), start, c.data,
                                       c.stride);
    }
    if (is_fused_ && w_.format == PackedFormat::f16) {
      return widening_kernels()->halves(p.rows, width(p), depths, a, from.panel<fp16>(), start, c.data,
                                        c.stride);
    }
    const float* panel = w_.format == PackedFormat::f32 ? from.panel<float>() : widened(p, from, depths);
    gemm_kernels().multiply(p.rows, width(p), depths, a, panel, start, c.data, c.stride);
  }

  const float* widened(const PanelPart& p, const PanelPlace& from, int64_t depths) const {
    float* values = widened_.data<float>() + p.worker * widened_.dim(1);
    widen_panel(from.w, from.number, from.depth, depths, values + widened_.dim(1) / 2, values);
    return values;
  }

  bool is_fused_;
  Tensor widened_;  // of each thread: a part of a panel, and scratch for it
};

class PairProducts : PanelProducts {
 public:
  PairProducts(Context& ctx, const Tensor& x, const PackedFloats& w, const Tensor& bias, const Columns& y)
      : PanelProducts(ctx, x, w, bias, y, pair_depth(w.inputs)) {}

  void run() const {
    for_each_part(num_threads_, x_.dim(0), w_, [&](const PanelPart& p) { multiply(p); });
  }

 private:
  // The bias comes last, as it does in oneDNN.
  void multiply(const PanelPart& p) const {
    const PairDots& dots = *pair_dots();
    const Sums sums = sums_of(p);
    const int64_t most = pair_depth(w_.inputs);
    PanelParts parts = parts_of(p);
    for (int64_t depth = 0; depth < w_.inputs; depth += most) {
      const int64_t depths = std::min(most, w_.inputs - depth);
      const FloatRows start = depth == 0 ? FloatRows{} : FloatRows{sums.data, sums.stride};
      if (expands_in_registers()) {
        const bf16* x = x_.data<bf16>() + p.row * w_.inputs + depth;
        few_rows_kernels()->dots({p.rows, width(p), depths, x, w_.inputs, start, sums.data, sums.stride},
                                 parts.stream());
        continue;
      }
      const PanelPlace from = parts.next(depth, depths);
      const PairProduct product = {
          p.rows,    width(p),           depths, x_.data<bf16>() + p.row * w_.inputs + depth,
          w_.inputs, from.panel<bf16>(),
      };
      dots.multiply(product, start, sums.data, sums.stride);
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
