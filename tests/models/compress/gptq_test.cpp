// GPTQ against the equations of Optimal Brain Quantization: one column after the other, with the inverse of
// the Hessian of the columns that are left.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <gmock/gmock.h>

#include "runtime/ops/packed/quantize_row.h"
#include "tests/models/compress/matrices.h"

namespace trireme {
namespace {

using ops::PackedFormat;
using test::correlated_inputs;
using test::drawn_weights;
using test::error_of;
using test::inverse_of;
using test::statistics_of;
using test::values_of;

/// The values that OBQ gives for the columns in `order`.
class Reference {
 public:
  Reference(const std::vector<float>& w, const InputStatistics& s, const RoundingOptions& options)
      : n_(static_cast<size_t>(s.inputs)),
        rows_(w.size() / n_),
        options_(options),
        w_(w.begin(), w.end()),
        original_(w_),
        hessian_(s.hessian) {
    double mean = 0;
    size_t live = 0;
    for (size_t i = 0; i < n_; ++i) {
      mean += hessian_[i * n_ + i];
      live += hessian_[i * n_ + i] != 0 ? 1 : 0;
    }
    order_.resize(n_);
    std::iota(order_.begin(), order_.end(), 0);
    if (options.order != ColumnOrder::as_is) {
      std::stable_sort(order_.begin(), order_.end(),
                       [&](size_t a, size_t b) { return hessian_[a * n_ + a] > hessian_[b * n_ + b]; });
    }
    for (size_t i = 0; i < n_; ++i) {
      double& x = hessian_[i * n_ + i];
      if (x == 0) {
        x = 1;
        for (size_t row = 0; row < rows_; ++row) w_[row * n_ + i] = original_[row * n_ + i] = 0;
      } else {
        x += options.damping * mean / static_cast<double>(live);
      }
    }
  }

  std::vector<float> run() {
    inverse_ = inverse_of(hessian_, n_);
    codes_.resize(rows_ * n_);
    std::vector<float> result(rows_ * n_);
    for (size_t at = 0; at < n_; ++at) {
      const size_t i = order_[at];
      for (size_t row = 0; row < rows_; ++row) round(at, row, result[row * n_ + i]);
      const double pivot = inverse_[i * n_ + i];
      for (size_t j = 0; j < n_; ++j) {
        for (size_t k = 0; k < n_; ++k) {
          if (j != i && k != i) inverse_[j * n_ + k] -= inverse_[j * n_ + i] * inverse_[i * n_ + k] / pivot;
        }
      }
      for (size_t j = 0; j < n_; ++j) inverse_[i * n_ + j] = inverse_[j * n_ + i] = 0;
    }
    return result;
  }

 private:
  void round(size_t at, size_t row, float& result) {
    const size_t i = order_[at];
    double* w = w_.data() + row * n_;
    const ops::GroupCode code = scale(at, row);
    const float x = stays_zero(row, i) ? 0.0f : static_cast<float>(w[i]);
    uint8_t coded = 0;
    ops::code_values(options_.spec, code, {&x, 1}, {&coded, 1});
    result = ops::value_of(options_.spec, code, coded);
    const double e = (w[i] - static_cast<double>(result)) / inverse_[i * n_ + i];
    for (size_t j = 0; j < n_; ++j) {
      if (j != i) w[j] -= e * inverse_[i * n_ + j];
    }
    w[i] = static_cast<double>(result);
  }

  bool stays_zero(size_t row, size_t i) const { return options_.keeps_zeros && original_[row * n_ + i] == 0; }

  ops::GroupCode scale(size_t at, size_t row) {
    const size_t size = options_.spec.group == 0 ? n_ : static_cast<size_t>(options_.spec.group);
    const bool fixed = options_.spec.group == 0 || options_.order == ColumnOrder::static_groups;
    const size_t place = options_.order == ColumnOrder::static_groups ? order_[at] : at;
    const size_t group = options_.spec.group == 0 ? 0 : place / size;
    ops::GroupCode& code = codes_[row * n_ + group];
    if (!fixed && at % size != 0) return code;
    float least = 0, most = 0;
    for (size_t j = group * size; j < std::min(n_, (group + 1) * size); ++j) {
      const size_t input = fixed ? j : order_[j];
      const float x =
          stays_zero(row, input) ? 0.0f : static_cast<float>((fixed ? original_ : w_)[row * n_ + input]);
      least = std::min(least, x);
      most = std::max(most, x);
    }
    return code = ops::group_code(options_.spec, least, most);
  }

  size_t n_, rows_;
  RoundingOptions options_;
  std::vector<double> w_, original_, hessian_, inverse_;
  std::vector<size_t> order_;
  std::vector<ops::GroupCode> codes_;
};

struct Case {
  ops::PackedSpec spec;
  ColumnOrder order;
  int64_t inputs;
  int64_t block;
  bool keeps_zeros = false;
};

class GptqTest : public testing::TestWithParam<Case> {};

TEST_P(GptqTest, IsOptimalBrainQuantization) {
  const Case& c = GetParam();
  constexpr int64_t kOutputs = 53;
  auto w = drawn_weights(kOutputs * c.inputs, 5);
  for (size_t i = 0; c.keeps_zeros && i < w.size(); i += i % 3 + 1) w[i] = 0;
  auto x = correlated_inputs(2 * c.inputs, c.inputs, 6);
  for (size_t t = 3; t < x.size(); t += static_cast<size_t>(c.inputs)) x[t] = 0;  // input 3 is dead
  const InputStatistics s = statistics_of(x, c.inputs);
  const RoundingOptions options{c.spec, RoundingMethod::gptq, c.order, 0.01, c.block, false, c.keeps_zeros};
  Context ctx({}, 2);
  const RoundedMatrix rounded = quantize_matrix(ctx, w, kOutputs, c.inputs, s, options);
  EXPECT_EQ(rounded.report.note, "");
  EXPECT_EQ(rounded.report.dead, 1);
  EXPECT_EQ(rounded.report.damping, 0.01);
  const auto values = values_of(rounded.matrix);
  const auto expected = Reference(w, s, options).run();
  for (size_t i = 0; c.keeps_zeros && i < w.size(); ++i) {
    if (w[i] == 0) {
      ASSERT_EQ(values[i], 0) << i;
    }
  }
  int different = 0;
  for (size_t row = 0; row < static_cast<size_t>(kOutputs); ++row) {
    const auto begin = static_cast<ptrdiff_t>(row) * c.inputs;
    different +=
        std::equal(values.begin() + begin, values.begin() + begin + c.inputs, expected.begin() + begin) ? 0
                                                                                                        : 1;
  }
  // A tie that rounds the other way changes the rest of its row.
  EXPECT_LE(different, 1);
  EXPECT_NEAR(rounded.report.error, error_of(w, values, s) / error_of(w, std::vector<float>(w.size()), s),
              1e-9 * rounded.report.error);
}

INSTANTIATE_TEST_SUITE_P(
    Specs, GptqTest,
    testing::Values(Case{{PackedFormat::int4, 0}, ColumnOrder::as_is, 70, 128},
                    Case{{PackedFormat::int4, 32}, ColumnOrder::as_is, 150, 128, true},
                    Case{{PackedFormat::int4, 32, false}, ColumnOrder::groups, 100, 24, true},
                    Case{{PackedFormat::int8, 0}, ColumnOrder::static_groups, 64, 128, true},
                    Case{{PackedFormat::fp8, 0}, ColumnOrder::as_is, 70, 128, true},
                    Case{{PackedFormat::int4, 32}, ColumnOrder::as_is, 150, 128},
                    Case{{PackedFormat::int4, 32, false}, ColumnOrder::as_is, 100, 40},
                    Case{{PackedFormat::int4, 64}, ColumnOrder::static_groups, 150, 24},
                    Case{{PackedFormat::int4, 64, false}, ColumnOrder::groups, 150, 128},
                    Case{{PackedFormat::int4, 128}, ColumnOrder::groups, 150, 1},
                    Case{{PackedFormat::int4, 0, false}, ColumnOrder::groups, 33, 8},
                    Case{{PackedFormat::int8, 128, false}, ColumnOrder::as_is, 129, 128},
                    Case{{PackedFormat::int8, 0}, ColumnOrder::static_groups, 64, 128},
                    Case{{PackedFormat::fp8, 0}, ColumnOrder::as_is, 100, 128},
                    Case{{PackedFormat::fp8, 0}, ColumnOrder::static_groups, 70, 32},
                    Case{{PackedFormat::int4, 32}, ColumnOrder::as_is, 5, 128}));

}  // namespace
}  // namespace trireme
