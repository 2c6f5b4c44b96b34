// Scales that clip, by what the search minimises.
#include <bit>

#include <gmock/gmock.h>

#include "tests/models/compress/matrices.h"

namespace trireme {
namespace {

using ops::PackedFormat;
using test::correlated_inputs;
using test::drawn_weights;
using test::statistics_of;

constexpr int64_t kOutputs = 50;

TEST(ClippingScales, LoseLessWithinTheirGroups) {
  constexpr int64_t kInputs = 150;
  auto w = drawn_weights(kOutputs * kInputs, 4);
  for (size_t i = 7; i < w.size(); i += 97) w[i] *= 6;  // outliers
  InputStatistics s = statistics_of(correlated_inputs(300, kInputs, 5), kInputs);
  Context ctx({}, 2);
  const auto round = [&](const RoundingOptions& options, const InputStatistics& statistics) {
    return quantize_matrix(ctx, w, kOutputs, kInputs, statistics, options);
  };
  for (const ops::PackedSpec spec : {ops::PackedSpec{PackedFormat::int4, 32},
                                     {PackedFormat::int4, 64, false},
                                     {PackedFormat::int4, 0},
                                     {PackedFormat::int8, 128},
                                     {PackedFormat::fp8, 0}}) {
    SCOPED_TRACE(ops::to_string(spec));
    // Without correlation between groups the search sees the whole error.
    InputStatistics apart = s;
    const int64_t size = spec.group == 0 ? kInputs : spec.group;
    for (int64_t i = 0; i < kInputs * kInputs; ++i) {
      if (i / kInputs / size != i % kInputs / size) apart.hessian[static_cast<size_t>(i)] = 0;
    }
    const double plain = round({.spec = spec}, apart).report.error;
    const RoundedMatrix clipped = round({.spec = spec, .clips = true}, apart);
    if (spec.format == PackedFormat::int4) {
      EXPECT_LT(clipped.report.error, 0.95 * plain);
    } else {
      EXPECT_LE(clipped.report.error, plain);
    }
    for (const float scale : clipped.matrix.scales) EXPECT_EQ(std::bit_cast<uint32_t>(scale) & 0xffffu, 0u);
    const RoundedMatrix by_gptq = round(
        {.spec = spec, .method = RoundingMethod::gptq, .order = ColumnOrder::static_groups, .clips = true},
        s);
    EXPECT_LT(by_gptq.report.error, plain);
  }
}

}  // namespace
}  // namespace trireme
