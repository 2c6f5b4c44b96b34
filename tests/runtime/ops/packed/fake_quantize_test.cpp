// Weights rounded in training are those that packed kernels multiply with.
#include "runtime/ops/packed/fake_quantize.h"

#include <cmath>
#include <limits>

#include "tests/runtime/ops/op_test.h"
#include "tests/runtime/ops/packed/packed_cases.h"
#include "tests/support/expect_error.h"

namespace trireme::test {
namespace {

using ops::PackedFormat;
using ops::PackedSpec;
using ops::PackedWeight;

class FakeQuantize : public SharedContexts {
 protected:
  /// Logs of scales that clip some weights and are coarse for others; none of asymmetric ones and fp8.
  Tensor some_scales(Context& ctx, const PackedSpec& spec, int64_t rows, int64_t inputs, Draws& draws) {
    const int64_t groups = ops::groups_of(spec, inputs);
    if (!spec.symmetric || spec.format == PackedFormat::fp8) return {};
    std::vector<float> logs(static_cast<size_t>(rows * groups));
    for (float& log : logs) log = draws.normal() - (spec.format == PackedFormat::int8 ? 6.0f : 2.0f);
    const Tensor scales = Tensor::empty(ctx, {rows, groups, 1}, DType::f32);
    write(scales, logs);
    return scales;
  }
};

TEST_F(FakeQuantize, ValuesAreThoseOfThePackedCodes) {
  Draws draws(5);
  std::vector<PackedSpec> specs = group_specs();
  specs.push_back({PackedFormat::fp8});
  for (const PackedSpec& spec : specs) {
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) {
      const int64_t matrices = draws.number(1, 2), outputs = draws.number(1, 40),
                    inputs = draws.number(1, 200), rows = matrices * outputs;
      const Tensor w = random_tensor(context(), {rows, inputs}, type, 7);
      for (const Tensor& scales : {Tensor(), some_scales(context(), spec, rows, inputs, draws)}) {
        const PackedWeight packed = ops::pack_weights(context(), spec, matrices, w, scales);
        EXPECT_EQ(packed.matrices, matrices);
        EXPECT_EQ(packed.outputs, outputs);
        const Tensor values = Tensor::empty(context(), w.shape(), type),
                     again = Tensor::empty(context(), w.shape(), type);
        ops::fake_quantize(context(), spec, w, scales, values);
        ops::fake_quantize(context(3), spec, w, scales, again);
        EXPECT_EQ(to_vector(values), to_vector(again));
        const Tensor expected = make_tensor(context(), w.shape(), type, unpacked(context(), packed));
        EXPECT_EQ(to_vector(values), to_vector(expected)) << to_string(spec) << (scales ? ", learned" : "");
      }
    }
  }
}

TEST_F(FakeQuantize, MeasuredScalesAsGivenOnesGiveTheSameCodes) {
  Draws draws(6);
  for (const PackedSpec& spec : group_specs()) {
    if (!spec.symmetric) continue;
    const int64_t outputs = 5, inputs = draws.number(1, 150);
    const Tensor w = random_tensor(context(), {outputs, inputs}, DType::f32, 3);
    const std::vector<float> values = to_vector(w);
    const int64_t groups = ops::groups_of(spec, inputs);
    std::vector<float> logs;
    for (int64_t row = 0; row < outputs; ++row) {
      std::vector<uint8_t> codes(static_cast<size_t>(inputs)), zeros(static_cast<size_t>(groups)), by(codes);
      std::vector<float> scales(zeros.size());
      const std::span<const float> of_row(values.data() + row * inputs, codes.size());
      ops::quantize_row(spec, of_row, {codes, scales, zeros});
      ops::quantize_row_by(spec, of_row, scales, by);
      EXPECT_EQ(by, codes);
      for (const float scale : scales) {
        EXPECT_EQ(ops::scale_of_log(ops::log_of_scale(scale)), scale);
        logs.push_back(ops::log_of_scale(scale));
      }
    }
    const Tensor scales = Tensor::empty(context(), {outputs, groups, 1}, DType::f32);
    write(scales, logs);
    EXPECT_EQ(unpacked(context(), ops::pack_weights(context(), spec, 1, w, scales)),
              unpacked(context(), ops::pack_weights(context(), spec, 1, w)));
  }
}

TEST_F(FakeQuantize, ScalesStayPositiveAndFinite) {
  EXPECT_EQ(ops::scale_of_log(-1e30f), 0x1p-64f);
  EXPECT_EQ(ops::scale_of_log(1e30f), 0x1p64f);
  EXPECT_EQ(ops::scale_of_log(ops::log_of_scale(0)), 0x1p-64f);
  EXPECT_EQ(ops::scale_of_log(-3), 0.125f);
}

// Element by element; added to what is there.
TEST_F(FakeQuantize, GradientsOfLearnedScalesAreAdded) {
  const PackedSpec spec{PackedFormat::int4, 32};
  Draws draws(8);
  const int64_t rows = 3, inputs = 70, groups = 3;
  const Tensor w = random_tensor(context(), {rows, inputs}, DType::bf16, 3),
               dvalues = random_tensor(context(), {rows, inputs}, DType::f32, 4),
               dw = random_tensor(context(), {rows, inputs}, DType::f32, 5),
               dlogs = random_tensor(context(), {rows, groups, 1}, DType::f32, 6);
  const Tensor logs = some_scales(context(), spec, rows, inputs, draws);
  std::vector<float> expected = to_vector(dw), expected_logs = to_vector(dlogs);
  const std::vector<float> weights = to_vector(w), d = to_vector(dvalues), l = to_vector(logs);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < inputs; ++i) {
      const auto at = static_cast<size_t>(r * inputs + i), group = static_cast<size_t>(r * groups + i / 32);
      const float scale = ops::scale_of_log(l[group]), v = weights[at] / scale;
      const bool inside = std::abs(v) < 7;
      if (inside) expected[at] += d[at];
      const auto count = static_cast<float>(std::min<int64_t>(32, inputs - i / 32 * 32));
      expected_logs[group] += d[at] * (inside ? std::nearbyint(v) - v : std::copysign(7.0f, v)) * scale *
                              std::log(2.0f) / std::sqrt(count * 7);
    }
  }
  ops::add_learned_gradients(context(3), spec, w, logs, dvalues, dw, dlogs);
  EXPECT_EQ(to_vector(dw), expected);
  const std::vector<float> found = to_vector(dlogs);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected_logs[i], 1e-5) << i;
}

TEST_F(FakeQuantize, ValuesThatAreNotFiniteAreRefused) {
  const Tensor w = random_tensor(context(), {4, 40}, DType::f32, 3);
  std::vector<float> values = to_vector(w);
  values[2 * 40 + 7] = std::numeric_limits<float>::infinity();
  write(w, values);
  const PackedSpec spec{PackedFormat::int4, 32};
  const Tensor logs = Tensor::empty(context(), {4, 2, 1}, DType::f32);
  write(logs, std::vector<float>(8, -3));
  for (const Tensor& scales : {Tensor(), logs})
    expect_error(ExitCode::bad_input, {"row 2", "input 7", "inf"},
                 [&] { ops::pack_weights(context(), spec, 1, w, scales); });
}

}  // namespace
}  // namespace trireme::test
