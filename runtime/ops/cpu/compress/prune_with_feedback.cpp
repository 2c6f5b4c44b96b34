#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/ops/compress/pruning.h"
#include "runtime/ops/cpu/compress/panels.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops {

namespace {

class FeedbackPruner {
 public:
  FeedbackPruner(Context& ctx, const FeedbackPruning& pruning, const cpu::TrianglePanels& factor,
                 const RowRanks& ranks, std::span<float> values)
      : ctx_(ctx),
        p_(pruning),
        factor_(factor),
        ranks_(ranks),
        values_(values),
        block_(std::min(p_.block, p_.inputs)),
        stride_(round_up(block_, cpu::kPanel) + cpu::kPanel),
        sums_(static_cast<size_t>(p_.outputs * stride_)),
        triangle_(static_cast<size_t>(block_ * block_)),
        keys_(p_.of == 0 ? static_cast<size_t>(p_.outputs * block_) : 0),
        errors_(static_cast<size_t>(p_.outputs)) {
    TRIREME_CHECK(p_.of == 0 || p_.block % p_.of == 0, "blocks of {} with groups of {}", p_.block, p_.of);
  }

  FeedbackErrors run() {
    for (begin_ = 0; begin_ < p_.inputs; begin_ += block_) {
      columns_ = std::min(block_, p_.inputs - begin_);
      copy_triangle();
      for_rows([&](int64_t row, int64_t rows) { sum_errors_before(row, rows); });
      if (p_.of == 0) {
        const FirstKeys first = first_keys(
            ctx_, p_.outputs, columns_, p_.sparsity, ranks_,
            [&](int64_t row, uint64_t* keys) { std::copy_n(keys_.data() + row * block_, columns_, keys); });
        for_rows([&](int64_t row, int64_t rows) { choose_in_block(row, rows, first); });
      } else {
        for_rows([&](int64_t row, int64_t rows) { choose_by_groups(row, rows); });
      }
    }
    FeedbackErrors total;
    for (const FeedbackErrors& of_row : errors_) {
      total.output += of_row.output;
      total.weights += of_row.weights;
    }
    return total;
  }

 private:
  template <class Body>
  void for_rows(const Body& body) {
    cpu::run_in_team(ctx_.num_threads(), ceil_of(p_.outputs, cpu::kRowsAtOnce), [&](int64_t t, int64_t) {
      const int64_t row = t * cpu::kRowsAtOnce;
      body(row, std::min(cpu::kRowsAtOnce, p_.outputs - row));
    });
  }

  void copy_triangle() {
    for (int64_t i = 0; i < columns_; ++i) {
      for (int64_t j = i; j < columns_; ++j)
        triangle_[static_cast<size_t>(i * block_ + j)] = factor_.at(begin_ + i, begin_ + j);
    }
  }

  // Products need not begin where a panel does, but are made of whole ones.
  int64_t columns_ahead() const { return begin_ % cpu::kPanel; }
  double* sums_of(int64_t row) { return sums_.data() + row * stride_ + columns_ahead(); }
  float weight(int64_t row, int64_t input) const {
    if (!p_.dead.empty() && p_.dead[static_cast<size_t>(input)] != 0) return 0;
    return p_.w[static_cast<size_t>(row * p_.inputs + input)];
  }

  void sum_errors_before(int64_t row, int64_t rows) {
    std::vector<double> errors(static_cast<size_t>(rows * begin_));
    const double* at[cpu::kRowsAtOnce];
    for (int64_t r = 0; r < rows; ++r) {
      double* to = errors.data() + r * begin_;
      for (int64_t i = 0; i < begin_; ++i) {
        const float value = values_[static_cast<size_t>((row + r) * p_.inputs + i)];
        to[i] = static_cast<double>(weight(row + r, i)) - static_cast<double>(value);
      }
      at[r] = to;
    }
    std::fill_n(sums_.data() + row * stride_, rows * stride_, 0.0);
    const int64_t ahead = columns_ahead();
    cpu::add_triangle_product(rows, begin_, at, factor_, begin_ - ahead, columns_ + ahead,
                              sums_.data() + row * stride_, stride_);
    for (int64_t r = row; p_.of == 0 && r < row + rows; ++r)
      find_keys(r, 0, columns_, sums_of(r), keys_.data() + r * block_);
  }

  // Of columns [column, column + count) of the block as they would stand if none of them were pruned: there
  // their errors d have (d R)_j = 0.
  void find_keys(int64_t row, int64_t column, int64_t count, const double* sums, uint64_t* keys) const {
    std::vector<double> moved(sums + column, sums + column + count);
    for (int64_t j = 0; j < count; ++j) {
      const double* factor = triangle_.data() + (column + j) * block_ + column + j;
      const double d = -moved[static_cast<size_t>(j)] / factor[0];
      const float w = weight(row, begin_ + column + j);
      keys[j] = removal_key(w, std::abs((static_cast<double>(w) - d) * factor[0]));
      cpu::add_scaled(count - j - 1, d, factor + 1, moved.data() + j + 1);
    }
  }

  void choose_in_block(int64_t row, int64_t rows, const FirstKeys& first) {
    for (int64_t r = row; r < row + rows; ++r) {
      const uint64_t* keys = keys_.data() + r * block_;
      int64_t ties = first.ties[static_cast<size_t>(r)];
      for (int64_t i = 0; i < columns_; ++i) settle(r, i, first.takes(keys[i], ties));
    }
  }

  void choose_by_groups(int64_t row, int64_t rows) {
    std::vector<uint64_t> keys(static_cast<size_t>(p_.of));
    std::vector<int64_t> places(keys.size());
    std::vector<uint8_t> goes(keys.size());
    for (int64_t r = row; r < row + rows; ++r) {
      for (int64_t i = 0; i < columns_; ++i) {
        if (i % p_.of == 0) {
          std::ranges::fill(goes, uint8_t{0});
          if (i + p_.of <= columns_) {
            find_keys(r, i, p_.of, sums_of(r), keys.data());
            for (size_t k = 0; k < places.size(); ++k) places[k] = static_cast<int64_t>(k);
            std::ranges::stable_sort(places, {}, [&](int64_t k) { return keys[static_cast<size_t>(k)]; });
            for (int64_t k = 0; k < p_.zeros; ++k)
              goes[static_cast<size_t>(places[static_cast<size_t>(k)])] = 1;
          }
        }
        settle(r, i, goes[static_cast<size_t>(i % p_.of)] != 0);
      }
    }
  }

  // The column's value, and what its error does to those behind it.
  void settle(int64_t row, int64_t column, bool goes) {
    double* sums = sums_of(row);
    const double* factor = triangle_.data() + column * block_ + column;
    const float w = weight(row, begin_ + column);
    float value = 0;
    if (!goes && w != 0) {
      value = static_cast<float>(static_cast<double>(w) + sums[column] / factor[0]);
      if (!std::isfinite(value)) value = w;
    }
    const double d = static_cast<double>(w) - static_cast<double>(value);
    const double output = sums[column] + d * factor[0];
    FeedbackErrors& errors = errors_[static_cast<size_t>(row)];
    errors.output += output * output;
    errors.weights += d * d;
    values_[static_cast<size_t>(row * p_.inputs + begin_ + column)] = value;
    cpu::add_scaled(columns_ - column - 1, d, factor + 1, sums + column + 1);
  }

  Context& ctx_;
  const FeedbackPruning& p_;
  const cpu::TrianglePanels& factor_;
  const RowRanks& ranks_;
  std::span<float> values_;
  int64_t block_, stride_, begin_ = 0, columns_ = 0;
  std::vector<double> sums_;      // [outputs, stride]: of the errors of all columns before with R's columns
  std::vector<double> triangle_;  // [block, block]: R's of the block
  std::vector<uint64_t> keys_;    // [outputs, block]
  std::vector<FeedbackErrors> errors_;
};

}  // namespace

FeedbackErrors prune_with_feedback(Context& ctx, const FeedbackPruning& pruning, const HessianFactor& factor,
                                   const RowRanks& ranks, std::span<float> values) {
  return FeedbackPruner(ctx, pruning, factor.panels(), ranks, values).run();
}

}  // namespace trireme::ops
