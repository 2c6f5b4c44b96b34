#include "runtime/ops/packed/fake_quantize.h"

#include <bit>
#include <cmath>

#include "runtime/base/float8.h"
#include "runtime/base/parallel_for.h"
#include "runtime/ops/compute_type.h"
#include "runtime/ops/cpu/packed/fake_quantize.h"
#include "runtime/ops/cpu/support.h"
#include "runtime/ops/host_copy.h"

namespace trireme::ops {

namespace {

constexpr float kLeastLog = -64, kMostLog = 64;

float middle_code(const PackedSpec& spec) { return spec.format == PackedFormat::int8 ? 128.0f : 8.0f; }

int64_t group_of(const PackedSpec& spec, int64_t inputs) { return spec.group == 0 ? inputs : spec.group; }

bool on_host(const Context& ctx) { return ctx.device().type == DeviceType::cpu; }

/// Rows of a matrix as fp32 on the host, wherever it lies.
class RowsOnHost {
 public:
  RowsOnHost(Context& ctx, const Tensor& w) : w_(w), width_(w.dim(1)) {
    if (!on_host(ctx)) copied_ = to_host_f32(ctx, w);
  }
  void read(int64_t row, std::span<float> to) const {
    if (!copied_.empty()) {
      std::copy_n(copied_.begin() + row * width_, width_, to.begin());
      return;
    }
    with_compute_type(
        w_.dtype(), [&]<class T>(T) { cpu::convert_range(w_.data<T>() + row * width_, to.data(), width_); });
  }

 private:
  Tensor w_;
  int64_t width_;
  std::vector<float> copied_;
};

/// Learned scales of rows: none, where they are measured.
class ScalesOfRows {
 public:
  ScalesOfRows(Context& ctx, const Tensor& logs, int64_t rows, int64_t groups) : groups_(groups) {
    if (!logs) return;
    TRIREME_CHECK(logs.numel() == rows * groups, "scales {} for {} rows of {} groups",
                  trireme::to_string(logs.shape()), rows, groups);
    scales_ = to_host<float>(ctx, logs);
    for (float& scale : scales_) scale = scale_of_log(scale);
  }
  bool empty() const { return scales_.empty(); }
  std::span<const float> row(int64_t r) const {
    return std::span(scales_).subspan(static_cast<size_t>(r * groups_), static_cast<size_t>(groups_));
  }

 private:
  int64_t groups_;
  std::vector<float> scales_;
};

/// Codes of a row, with measured scales or given ones; returns the first input that is not finite, or -1.
int64_t code_row(const PackedSpec& spec, std::span<const float> values, const ScalesOfRows& scales,
                 int64_t row, const CodedRow& to) {
  if (scales.empty()) return quantize_row(spec, values, to);
  std::ranges::copy(scales.row(row), to.scales.begin());
  std::ranges::fill(to.zeros, static_cast<uint8_t>(middle_code(spec)));
  return quantize_row_by(spec, values, to.scales, to.codes);
}

void decode(const PackedSpec& spec, const CodedRow& row, std::span<float> to) {
  if (spec.format == PackedFormat::fp8) {
    std::ranges::transform(row.codes, to.begin(), [&](uint8_t code) {
      fp8_e4m3 number;
      number.bits = code;
      return row.scales[0] * static_cast<float>(number);
    });
    return;
  }
  const auto inputs = static_cast<int64_t>(to.size()), group = group_of(spec, inputs);
  for (int64_t begin = 0, g = 0; begin < inputs; begin += group, ++g) {
    cpu::decode_group(row.codes.data() + begin, std::min(group, inputs - begin),
                      row.scales[static_cast<size_t>(g)], row.zeros[static_cast<size_t>(g)],
                      to.data() + begin);
  }
}

/// A row's numbers, and room for its codes.
struct RowBuffers {
  RowBuffers(int64_t inputs, int64_t groups)
      : values(static_cast<size_t>(inputs)),
        scales(static_cast<size_t>(groups)),
        codes(values.size()),
        zeros(scales.size()) {}
  CodedRow coded() { return {codes, scales, zeros}; }

  std::vector<float> values, scales;
  std::vector<uint8_t> codes, zeros;
};

void expect_matrix(const char* op, const PackedSpec& spec, const Tensor& w) {
  expect_compute_type(op, "w", w);
  TRIREME_CHECK(spec.format >= PackedFormat::int8, "{}: {}", op, to_string(spec));
}

}  // namespace

float scale_of_log(float log_scale) {
  return static_cast<float>(bf16(std::exp2(std::clamp(log_scale, kLeastLog, kMostLog))));
}

float log_of_scale(float scale) { return scale > 0 ? std::max(kLeastLog, std::log2(scale)) : kLeastLog; }

int64_t quantize_row_by(const PackedSpec& spec, std::span<const float> values, std::span<const float> scales,
                        std::span<uint8_t> codes) {
  const auto inputs = static_cast<int64_t>(values.size()), group = group_of(spec, inputs);
  const auto wrong = std::ranges::find_if_not(values, [](float v) { return std::isfinite(v); });
  if (wrong != values.end()) return wrong - values.begin();
  for (int64_t begin = 0, g = 0; begin < inputs; begin += group, ++g) {
    cpu::code_by_scale(values.data() + begin, std::min(group, inputs - begin), scales[static_cast<size_t>(g)],
                       middle_code(spec), codes.data() + begin);
  }
  return -1;
}

PackedWeight pack_weights(Context& ctx, const PackedSpec& spec, int64_t matrices, const Tensor& w,
                          const Tensor& log_scales) {
  expect_matrix("pack_weights", spec, w);
  const int64_t outputs = w.dim(0) / matrices, inputs = w.dim(1);
  const RowsOnHost rows(ctx, w);
  if (!log_scales) {
    return pack_rows(ctx, spec, matrices, outputs, inputs,
                     [&](int64_t row, std::span<float> to) { rows.read(row, to); });
  }
  TRIREME_CHECK(spec.symmetric && spec.format != PackedFormat::fp8, "pack_weights: learned scales of {}",
                to_string(spec));
  const ScalesOfRows scales(ctx, log_scales, w.dim(0), groups_of(spec, inputs));
  PackedWeight packed{spec, matrices, outputs, inputs, {}};
  pack_codes(ctx, packed, [&](int64_t r, const CodedRow& to) {
    std::vector<float> values(static_cast<size_t>(inputs));
    rows.read(r, values);
    const int64_t wrong = code_row(spec, values, scales, r, to);
    if (wrong >= 0) refuse_value(spec, r, wrong, values[static_cast<size_t>(wrong)]);
  });
  return packed;
}

void fake_quantize(Context& ctx, const PackedSpec& spec, const Tensor& w, const Tensor& log_scales,
                   const Tensor& to) {
  expect_matrix("fake_quantize", spec, w);
  expect_shape("fake_quantize", "to", to, w.shape());
  expect_dtype("fake_quantize", "to", to, w.dtype());
  const int64_t inputs = w.dim(1), groups = groups_of(spec, inputs);
  const RowsOnHost rows(ctx, w);
  const ScalesOfRows scales(ctx, log_scales, w.dim(0), groups);
  std::vector<float> staged(on_host(ctx) ? 0 : static_cast<size_t>(w.numel()));
  parallel_for(ctx.num_threads(), w.dim(0), cpu::row_grain(inputs), [&](int64_t begin, int64_t end) {
    RowBuffers row(inputs, groups);
    for (int64_t r = begin; r < end; ++r) {
      rows.read(r, row.values);
      // Of weights that are not finite the forward pass has complained.
      if (code_row(spec, row.values, scales, r, row.coded()) < 0) decode(spec, row.coded(), row.values);
      if (!staged.empty()) {
        std::ranges::copy(row.values, staged.begin() + r * inputs);
        continue;
      }
      with_compute_type(to.dtype(), [&]<class T>(T) {
        cpu::convert_range(row.values.data(), to.data<T>() + r * inputs, inputs);
      });
    }
  });
  if (!staged.empty()) copy(ctx, to_device(ctx, staged, w.shape()), to);
}

void add_learned_gradients(Context& ctx, const PackedSpec& spec, const Tensor& w, const Tensor& log_scales,
                           const Tensor& dvalues, const Tensor& dw, const Tensor& dlog_scales) {
  expect_matrix("add_learned_gradients", spec, w);
  expect_shape("add_learned_gradients", "dvalues", dvalues, w.shape());
  const int64_t inputs = w.dim(1), groups = groups_of(spec, inputs), group = group_of(spec, inputs);
  const RowsOnHost rows(ctx, w);
  const ScalesOfRows scales(ctx, log_scales, w.dim(0), groups);
  const float most = middle_code(spec) - 1;
  std::vector<float> dv, dweights, dlogs;
  if (!on_host(ctx)) {
    dv = to_host<float>(ctx, dvalues);
    dweights.resize(dv.size());
    dlogs.resize(static_cast<size_t>(w.dim(0) * groups));
  }
  const float* from = on_host(ctx) ? dvalues.data<float>() : dv.data();
  float* of_weights = !on_host(ctx) ? dweights.data() : dw ? dw.data<float>() : nullptr;
  float* of_logs = on_host(ctx) ? dlog_scales.data<float>() : dlogs.data();
  parallel_for(ctx.num_threads(), w.dim(0), cpu::row_grain(inputs), [&](int64_t begin, int64_t end) {
    std::vector<float> values(static_cast<size_t>(inputs)), unused(of_weights ? 0 : values.size());
    for (int64_t r = begin; r < end; ++r) {
      rows.read(r, values);
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t first = g * group, count = std::min(group, inputs - first);
        const float scale = scales.row(r)[static_cast<size_t>(g)];
        const float by_scale =
            cpu::add_group_gradients(values.data() + first, from + r * inputs + first, count, scale, most,
                                     of_weights ? of_weights + r * inputs + first : unused.data() + first);
        of_logs[r * groups + g] +=
            by_scale * scale * std::log(2.0f) / std::sqrt(static_cast<float>(count) * most);
      }
    }
  });
  if (on_host(ctx)) return;
  if (dw) add(ctx, dw, to_device(ctx, dweights, dw.shape()), dw);
  add(ctx, dlog_scales, to_device(ctx, dlogs, dlog_scales.shape()), dlog_scales);
}

}  // namespace trireme::ops
