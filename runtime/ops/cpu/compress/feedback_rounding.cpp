#include "runtime/ops/compress/feedback_rounding.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/ops/cpu/compress/panels.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops {

namespace {

/// Rows of the matrix, on one thread.
class FeedbackRows {
 public:
  FeedbackRows(const FeedbackRounding& rounding, const cpu::TrianglePanels& factor, CodedMatrix& to,
               std::span<const int32_t> group_of)
      : p_(rounding),
        factor_(factor),
        to_(to),
        group_of_(group_of),
        inputs_(to.inputs),
        stride_(round_up(inputs_, cpu::kPanel)),
        block_(round_up(p_.block, cpu::kPanel)),
        groups_(p_.groups.count()) {
    errors_.resize(static_cast<size_t>(cpu::kRowsAtOnce * stride_));
    sums_.resize(static_cast<size_t>(cpu::kRowsAtOnce * block_));
    triangle_.resize(static_cast<size_t>(block_ * block_));
  }

  void run(int64_t row, int64_t rows, FeedbackErrors* errors) {
    const double* at[cpu::kRowsAtOnce];
    for (int64_t r = 0; r < rows; ++r) at[r] = errors_.data() + r * stride_;
    for (begin_ = 0; begin_ < inputs_; begin_ += block_) {
      columns_ = std::min(block_, inputs_ - begin_);
      std::fill(sums_.begin(), sums_.end(), 0.0);
      cpu::add_triangle_product(rows, begin_, at, factor_, begin_, columns_, sums_.data(), block_);
      copy_triangle();
      for (int64_t r = 0; r < rows; ++r) {
        round_row(row + r, sums_.data() + r * block_, errors_.data() + r * stride_, errors[r]);
      }
    }
  }

 private:
  void copy_triangle() {
    for (int64_t i = 0; i < columns_; ++i) {
      for (int64_t j = i; j < columns_; ++j) {
        triangle_[static_cast<size_t>(i * block_ + j)] = factor_.at(begin_ + i, begin_ + j);
      }
    }
  }

  int32_t input_at(int64_t column) const { return p_.order[static_cast<size_t>(begin_ + column)]; }
  double weight(int64_t row, int32_t input) const {
    if (!p_.dead.empty() && p_.dead[static_cast<size_t>(input)] != 0) return 0;
    return static_cast<double>(p_.w[static_cast<size_t>(row * inputs_ + input)]);
  }

  // Every format has a code for zero.
  bool stays_zero(double w) const { return p_.keeps_zeros && w == 0; }

  // sums[j]: of the errors of all columns before this one with R's column j.
  void round_row(int64_t row, double* sums, double* row_errors, FeedbackErrors& total) {
    for (int64_t i = 0; i < columns_; ++i) {
      const double* factor = triangle_.data() + i * block_;
      const int32_t input = input_at(i);
      const auto at = static_cast<size_t>(row * groups_ + group_of_[static_cast<size_t>(input)]);
      if (!p_.has_scales && (begin_ + i) % p_.groups.size == 0) find_scale(row, i, sums, at);
      const GroupCode code{to_.scales[at], zero_at(at)};
      const double w = weight(row, input), target = w + sums[i] / factor[i];
      float rounded = static_cast<float>(target);
      if (!std::isfinite(rounded) || stays_zero(w)) rounded = static_cast<float>(w);
      uint8_t& coded = to_.codes[static_cast<size_t>(row * inputs_ + input)];
      code_values(to_.spec, code, {&rounded, 1}, {&coded, 1});
      const double d = w - static_cast<double>(value_of(to_.spec, code, coded));
      const double output = sums[i] + d * factor[i];
      total.output += output * output;
      total.weights += d * d;
      row_errors[begin_ + i] = d;
      cpu::add_scaled(columns_ - i - 1, d, factor + i + 1, sums + i + 1);
    }
  }

  float zero_at(size_t at) const {
    if (!to_.zeros.empty()) return static_cast<float>(to_.zeros[at]);
    return zero_of(to_.spec);
  }

  // Where the group's weights would go if they were not rounded: there its errors d have (d R)_j = 0.
  void find_scale(int64_t row, int64_t column, const double* sums, size_t at) {
    const int64_t count = std::min(p_.groups.size, columns_ - column);
    moved_.assign(sums + column, sums + column + count);
    values_.resize(static_cast<size_t>(count));
    for (int64_t j = 0; j < count; ++j) {
      const double* factor = triangle_.data() + (column + j) * block_ + column + j;
      const double d = -moved_[static_cast<size_t>(j)] / factor[0], w = weight(row, input_at(column + j));
      float& value = values_[static_cast<size_t>(j)];
      value = static_cast<float>(w - d);
      if (!std::isfinite(value) || stays_zero(w)) value = static_cast<float>(w);
      cpu::add_scaled(count - j - 1, d, factor + 1, moved_.data() + j + 1);
    }
    const int64_t group = (begin_ + column) / p_.groups.size;
    const GroupCode code =
        choose_code(to_.spec, values_, p_.forms.empty() ? nullptr : &p_.forms[static_cast<size_t>(group)]);
    to_.scales[at] = code.scale;
    if (!to_.zeros.empty()) to_.zeros[at] = static_cast<uint8_t>(code.zero);
  }

  const FeedbackRounding& p_;
  const cpu::TrianglePanels& factor_;
  CodedMatrix& to_;
  std::span<const int32_t> group_of_;
  int64_t inputs_, stride_, block_, groups_;
  int64_t begin_ = 0, columns_ = 0;
  std::vector<double> errors_, sums_, triangle_, moved_;
  std::vector<float> values_;
};

}  // namespace

FeedbackErrors round_with_feedback(Context& ctx, const FeedbackRounding& rounding,
                                   const HessianFactor& factor, CodedMatrix& to) {
  std::vector<int32_t> group_of(static_cast<size_t>(to.inputs));
  for (int64_t g = 0; g < rounding.groups.count(); ++g) {
    for (const int32_t input : rounding.groups.inputs_of(g)) {
      group_of[static_cast<size_t>(input)] = static_cast<int32_t>(g);
    }
  }
  std::vector<FeedbackErrors> errors(static_cast<size_t>(to.outputs));
  cpu::run_in_team(ctx.num_threads(), ceil_of(to.outputs, cpu::kRowsAtOnce), [&](int64_t t, int64_t) {
    const int64_t row = t * cpu::kRowsAtOnce;
    FeedbackRows(rounding, factor.panels(), to, group_of)
        .run(row, std::min(cpu::kRowsAtOnce, to.outputs - row), errors.data() + row);
  });
  FeedbackErrors total;
  for (const FeedbackErrors& of_row : errors) {
    total.output += of_row.output;
    total.weights += of_row.weights;
  }
  return total;
}

}  // namespace trireme::ops
