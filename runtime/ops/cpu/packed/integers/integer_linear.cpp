#include "runtime/ops/cpu/packed/integers/integer_linear.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "runtime/base/integers.h"
#include "runtime/ops/cpu/packed/sparse/few_rows_int8.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

/// Rows of x that meet a panel while its weights are in the cache.
constexpr int64_t kRowsAtOnce = 128;
/// Bytes of weights times rows of x that are worth a thread's asking for them; and so many that a stream of
/// weights is long before it breaks off.
constexpr int64_t kTaskBytes = int64_t{1} << 16, kMostTaskBytes = int64_t{1} << 20;
/// Tasks a thread, so that all end together.
constexpr int64_t kTasksPerThread = 8;

/// x as the kernels read it: fp32 rows or quantized ones, whole blocks, zeros beyond the inputs.
struct PreparedX {
  RowsOfX floats;
  QuantizedRows integers;
  Tensor memory;  // of either
};

template <class T>
void prepare_rows(Context& ctx, const Tensor& x, int64_t blocks, bool one_scale, const PreparedX& to) {
  const int64_t inputs = x.dim(1), whole = blocks * kBlock;
  parallel_for(ctx.num_threads(), x.dim(0), row_grain(inputs), [&](int64_t begin, int64_t end) {
    std::vector<float> row(to.integers.data == nullptr ? 0 : static_cast<size_t>(whole));
    for (int64_t r = begin; r < end; ++r) {
      float* values = row.empty() ? const_cast<float*>(to.floats.data) + r * to.floats.stride : row.data();
      convert_range(x.data<T>() + r * inputs, values, inputs);
      std::fill(values + inputs, values + whole, 0.0f);
      if (row.empty()) continue;
      auto* quantized = const_cast<QuantizedBlock*>(to.integers.data) + r * to.integers.stride;
      one_scale ? quantize_whole_row(values, blocks, quantized) : quantize_blocks(values, blocks, quantized);
    }
  });
}

PreparedX prepare(Context& ctx, const Tensor& x, int64_t blocks, Activations activations) {
  PreparedX to{};
  if (activations == Activations::exact && x.dtype() == DType::f32 && x.dim(1) == blocks * kBlock) {
    to.floats = {x.data<float>(), x.dim(1)};
    return to;
  }
  // An odd number of lines from row to row: rows at distances of 4 KiB would compete for few sets of the
  // cache.
  constexpr int64_t kLine = sizeof(QuantizedBlock);
  const bool one_scale = activations == Activations::int8_rows;
  const int64_t lines = activations == Activations::exact ? blocks * kBlock * 4 / kLine : blocks;
  const int64_t stride = lines | 1;
  to.memory = Tensor::empty(ctx, {x.dim(0) * stride * kLine}, DType::u8, MemoryCategory::buffers);
  if (activations != Activations::exact) {
    to.integers = {static_cast<const QuantizedBlock*>(to.memory.raw()), stride};
  } else {
    to.floats = {static_cast<const float*>(to.memory.raw()), stride * kLine / 4};
  }
  with_compute_type(x.dtype(), [&]<class T>(T) { prepare_rows<T>(ctx, x, blocks, one_scale, to); });
  return to;
}

/// Some panels of a matrix, by the rows of x that are its own.
struct PanelTask {
  int64_t matrix, panel, panels, row, rows;
};

std::vector<PanelTask> tasks_of(std::span<const int64_t> counts, int64_t panels, int64_t panel_bytes,
                                int num_threads) {
  const int64_t all = panels * panel_bytes * std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const int64_t bytes = std::clamp(all / (kTasksPerThread * num_threads), kTaskBytes, kMostTaskBytes);
  std::vector<PanelTask> tasks;
  int64_t row = 0;
  for (size_t m = 0; m < counts.size(); ++m) {
    const int64_t rows = counts[m];
    // Single rows take panels by two.
    const int64_t together = round_up(ceil_of(bytes, panel_bytes * std::max<int64_t>(rows, 1)), int64_t{2});
    for (int64_t p = 0; p < panels && rows > 0; p += together) {
      tasks.push_back({static_cast<int64_t>(m), p, std::min(together, panels - p), row, rows});
    }
    row += rows;
  }
  return tasks;
}

class Product {
 public:
  /// `expanded`: of each thread, memory for two panels; of sparse weights alone.
  Product(const PackedWeight& w, const PreparedX& x, const Tensor& bias, const Columns& y,
          const Tensor& expanded, const IntegerKernels& kernels)
      : w_(w),
        layout_(panel_layout(w)),
        x_(x),
        y_(y),
        expanded_(expanded),
        kernels_(kernels),
        panel_kernels_(kernels.of(layout_.kind)),
        bias_(bias ? bias.data<float>() : nullptr) {
    // The bits are those of all kernels.
    if (w.spec.sparse && x.integers.data != nullptr && &kernels == &integer_kernels())
      few_rows_ = few_int8_rows();
  }

  void run(const PanelTask& task, int64_t worker) const {
    const bool single = task.rows == 1 && x_.integers.data == nullptr;
    const int64_t step = single ? 2 : 1;
    for (int64_t p = task.panel; p < task.panel + task.panels; p += step) {
      single ? one_row(task, p, worker) : some_rows(task, p, worker);
    }
  }

 private:
  /// `place`: of two that are needed at once, which.
  Panel panel(const PanelTask& task, int64_t p, int64_t worker, int place) const {
    const int64_t index = task.matrix * panels_of(w_.outputs) + p;
    if (!w_.spec.sparse) return {layout_, w_.data.data<uint8_t>() + index * layout_.bytes};
    uint8_t* to = expanded_.data<uint8_t>() + (2 * worker + place) * layout_.bytes;
    SparsePanel(w_.data, shape_, index).expand(reinterpret_cast<std::byte*>(to));
    return {layout_, to};
  }

  void one_row(const PanelTask& task, int64_t p, int64_t worker) const {
    float sums[2 * kPanel];
    const bool has_second = p + 1 < task.panel + task.panels;
    const Panel first = panel(task, p, worker, 0),
                second = has_second ? panel(task, p + 1, worker, 1) : first;
    panel_kernels_.exact(first, second, x_.floats.data + task.row * x_.floats.stride, sums);
    write(p, task.row, 1, sums);
    if (has_second) write(p + 1, task.row, 1, sums + kPanel);
  }

  void some_rows(const PanelTask& task, int64_t p, int64_t worker) const {
    if (few_rows_ != nullptr && task.rows <= kFewInt8Rows) return few_rows(task, p);
    const Panel here = panel(task, p, worker, 0);
    float sums[kRowsAtOnce * kPanel];
    for (int64_t row = task.row; row < task.row + task.rows; row += kRowsAtOnce) {
      const int64_t rows = std::min(kRowsAtOnce, task.row + task.rows - row);
      if (x_.integers.data != nullptr) {
        const QuantizedRows x{x_.integers.data + row * x_.integers.stride, x_.integers.stride};
        panel_kernels_.integers(here, x, rows, sums);
      } else {
        exact_rows(here, row, rows, sums);
      }
      write(p, row, rows, sums);
    }
  }

  void few_rows(const PanelTask& task, int64_t p) const {
    float sums[kFewInt8Rows * kPanel];
    const SparsePanel here(w_.data, shape_, task.matrix * panels_of(w_.outputs) + p);
    const QuantizedRows x{x_.integers.data + task.row * x_.integers.stride, x_.integers.stride};
    few_rows_(layout_, here, x, task.rows, sums);
    write(p, task.row, task.rows, sums);
  }

  void exact_rows(const Panel& here, int64_t row, int64_t rows, float* sums) const {
    // A chunk's values stay in the first cache.
    constexpr int64_t kInputs = PanelLayout::kChunk * kBlock;
    float values[kInputs * kPanel];
    std::fill_n(sums, rows * kPanel, 0.0f);
    for (int64_t c = 0; c < layout_.chunks(); ++c) {
      panel_kernels_.unpack(here, c, values);
      const RowsOfX x{x_.floats.data + row * x_.floats.stride + c * kInputs, x_.floats.stride};
      kernels_.multiply(values, layout_.blocks_of(c) * kBlock, x, rows, sums);
    }
  }

  void write(int64_t p, int64_t row, int64_t rows, const float* sums) const {
    const int64_t output = p * kPanel, outputs = std::min(kPanel, w_.outputs - output);
    with_compute_type(y_.dtype(), [&]<class T>(T) {
      for (int64_t r = 0; r < rows; ++r, sums += kPanel) {
        T* to = y_.row<T>(row + r) + output;
        for (int64_t o = 0; o < outputs; ++o) {
          store(to + o, bias_ == nullptr ? sums[o] : sums[o] + bias_[output + o]);
        }
      }
    });
  }

  const PackedWeight& w_;
  const PanelLayout layout_;
  const PanelShape shape_ = panel_shape(layout_);
  const PreparedX& x_;
  const Columns& y_;
  const Tensor& expanded_;
  const IntegerKernels& kernels_;
  const PanelKernels& panel_kernels_;
  const float* bias_;
  FewInt8Rows few_rows_ = nullptr;
};

}  // namespace

void integers_linear(Context& ctx, const Tensor& x, std::span<const int64_t> counts, const PackedWeight& w,
                     Activations activations, const Tensor& bias, const Columns& y,
                     const IntegerKernels& kernels) {
  const PanelLayout layout = panel_layout(w);
  if (w.spec.format == PackedFormat::fp8) activations = Activations::exact;
  const PreparedX prepared = prepare(ctx, x, layout.blocks, activations);
  Tensor expanded;
  if (w.spec.sparse) {
    const int64_t bytes = ctx.num_threads() * 2 * layout.bytes;
    expanded = Tensor::empty(ctx, {bytes}, DType::u8, MemoryCategory::buffers);
  }
  const Product product(w, prepared, bias, y, expanded, kernels);
  const std::vector<PanelTask> tasks =
      tasks_of(counts, panels_of(w.outputs), layout.bytes, ctx.num_threads());
  run_in_team(ctx.num_threads(), std::ssize(tasks),
              [&](int64_t t, int64_t worker) { product.run(tasks[static_cast<size_t>(t)], worker); });
}

}  // namespace trireme::ops::cpu
