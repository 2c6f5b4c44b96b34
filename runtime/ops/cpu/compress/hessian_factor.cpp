// H = R R^T from the last column to the first: blocks of columns of R from those behind them. Rows of R lie
// along memory while products read them, and go into panels at the end.
#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/ops/compress/hessian.h"
#include "runtime/ops/cpu/compress/panels.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops {

namespace {

constexpr int64_t kFactorBlock = 128;

/// An upper triangle by rows: row k has columns from a multiple of eight at or before k on.
class TriangleRows {
 public:
  explicit TriangleRows(int64_t n) : n_(n), width_(round_up(n, cpu::kPanel)) {
    data_.resize(static_cast<size_t>(begin_of(n)));
  }
  int64_t n() const { return n_; }
  static int64_t first(int64_t k) { return k / cpu::kPanel * cpu::kPanel; }
  /// Column m of row k, m >= first(k).
  double* at(int64_t k, int64_t m) { return data_.data() + begin_of(k) + (m - first(k)); }

 private:
  int64_t begin_of(int64_t k) const {
    const int64_t whole = k / cpu::kPanel, rest = k % cpu::kPanel;
    return cpu::kPanel * (whole * width_ - cpu::kPanel * whole * (whole - 1) / 2) +
           rest * (width_ - whole * cpu::kPanel);
  }
  int64_t n_, width_;
  std::vector<double> data_;
};

class Factorization {
 public:
  Factorization(Context& ctx, const HessianView& hessian, std::span<const uint8_t> dead, double damping)
      : ctx_(ctx),
        hessian_(hessian),
        dead_(dead),
        damping_(damping),
        n_(std::ssize(hessian.places)),
        rows_(n_),
        block_(static_cast<size_t>(kFactorBlock * kFactorBlock)) {}

  bool run() {
    for (int64_t begin = (n_ - 1) / kFactorBlock * kFactorBlock; begin >= 0; begin -= kFactorBlock) {
      begin_ = begin;
      end_ = std::min(n_, begin + kFactorBlock);
      pack_behind();
      for_rows(begin_, end_, [&](int64_t row, int64_t rows) { subtract(row, rows); });
      if (!factor_diagonal()) return false;
      for_rows(0, begin_, [&](int64_t row, int64_t rows) {
        subtract(row, rows);
        for (int64_t r = row; r < row + rows; ++r) solve(r);
      });
    }
    return true;
  }

  std::shared_ptr<const cpu::TrianglePanels> panels() {
    auto result = std::make_shared<cpu::TrianglePanels>(n_);
    cpu::run_in_team(ctx_.num_threads(), result->panels(), [&](int64_t p, int64_t) {
      double* panel = result->panel(p);
      const int64_t begin = p * cpu::kPanel, end = std::min(n_, begin + cpu::kPanel);
      for (int64_t k = 0; k < end; ++k) {
        for (int64_t j = std::max(k, begin); j < end; ++j)
          panel[k * cpu::kPanel + j - begin] = *rows_.at(k, j);
      }
    });
    return result;
  }

 private:
  template <class Body>
  void for_rows(int64_t begin, int64_t end, const Body& body) {
    cpu::run_in_team(ctx_.num_threads(), ceil_of(end - begin, cpu::kRowsAtOnce), [&](int64_t t, int64_t) {
      const int64_t row = begin + t * cpu::kRowsAtOnce;
      body(row, std::min(cpu::kRowsAtOnce, end - row));
    });
  }

  // The block's rows of R behind the block, transposed into panels.
  void pack_behind() {
    const int64_t depth = n_ - end_, panels = ceil_of(end_ - begin_, cpu::kPanel);
    behind_.assign(static_cast<size_t>(panels * depth * cpu::kPanel), 0.0);
    cpu::run_in_team(ctx_.num_threads(), panels, [&](int64_t p, int64_t) {
      double* to = behind_.data() + p * depth * cpu::kPanel;
      for (int64_t j = 0; j < std::min(cpu::kPanel, end_ - begin_ - p * cpu::kPanel); ++j) {
        const double* from = rows_.at(begin_ + p * cpu::kPanel + j, end_ - 1) + 1;
        for (int64_t m = 0; m < depth; ++m) to[m * cpu::kPanel + j] = from[m];
      }
    });
  }

  double start(int64_t k, int64_t j) const {
    const int32_t a = hessian_.places[static_cast<size_t>(k)], b = hessian_.places[static_cast<size_t>(j)];
    const bool is_dead =
        !dead_.empty() && (dead_[static_cast<size_t>(a)] | dead_[static_cast<size_t>(b)]) != 0;
    if (is_dead) return k == j ? 1.0 : 0.0;
    return hessian_.scale * hessian_.values[static_cast<size_t>(b * hessian_.inputs + a)] +
           (k == j ? damping_ : 0.0);
  }

  // The block's columns of the rows, from the diagonal on: H less the products of what is behind.
  void subtract(int64_t row, int64_t rows) {
    const int64_t depth = n_ - end_, columns = end_ - begin_;
    double products[cpu::kRowsAtOnce * kFactorBlock] = {};
    const double* a[cpu::kRowsAtOnce];
    for (int64_t r = 0; r < rows; ++r) a[r] = rows_.at(row + r, end_ - 1) + 1;
    for (int64_t j = 0; depth > 0 && j < columns; j += cpu::kPanel) {
      cpu::add_panel_product(rows, depth, a, behind_.data() + j * depth, products + j, kFactorBlock);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t k = row + r;
      for (int64_t j = std::max(k, begin_); j < end_; ++j) {
        *rows_.at(k, j) = start(k, j) - products[r * kFactorBlock + j - begin_];
      }
    }
  }

  bool factor_diagonal() {
    const double noise = std::numeric_limits<double>::epsilon() * static_cast<double>(n_);
    for (int64_t i = end_ - 1; i >= begin_; --i) {
      const double pivot = *rows_.at(i, i);
      if (!(pivot > noise * start(i, i)) || !std::isfinite(pivot)) return false;
      const double root = std::sqrt(pivot);
      double* column = block_.data() + (i - begin_) * kFactorBlock;
      for (int64_t k = begin_; k < i; ++k) column[k - begin_] = *rows_.at(k, i) /= root;
      *rows_.at(i, i) = column[i - begin_] = root;
      for (int64_t k = begin_; k < i; ++k) {
        cpu::add_scaled(i - k, -column[k - begin_], column + (k - begin_), rows_.at(k, k));
      }
    }
    return true;
  }

  // A row's part of the block's columns: divided by the block's triangle.
  void solve(int64_t k) {
    double* x = rows_.at(k, begin_);
    for (int64_t i = end_ - 1; i >= begin_; --i) {
      const double* column = block_.data() + (i - begin_) * kFactorBlock;
      const double value = x[i - begin_] / column[i - begin_];
      cpu::add_scaled(i - begin_, -value, column, x);
      x[i - begin_] = value;
    }
  }

  Context& ctx_;
  HessianView hessian_;
  std::span<const uint8_t> dead_;
  double damping_;
  int64_t n_, begin_ = 0, end_ = 0;
  TriangleRows rows_;
  std::vector<double> block_;   // the diagonal block, transposed
  std::vector<double> behind_;  // panels
};

}  // namespace

std::optional<HessianFactor> HessianFactor::of(Context& ctx, const HessianView& hessian,
                                               std::span<const uint8_t> dead, double damping) {
  Factorization factorization(ctx, hessian, dead, damping);
  if (!factorization.run()) return std::nullopt;
  HessianFactor factor;
  factor.panels_ = factorization.panels();
  return factor;
}

}  // namespace trireme::ops
