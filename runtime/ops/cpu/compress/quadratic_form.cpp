#include <algorithm>
#include <numeric>

#include "runtime/ops/compress/hessian.h"
#include "runtime/ops/cpu/compress/panels.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops {

namespace {

/// Columns whose sums are held at once.
constexpr int64_t kFormColumns = 64;

}  // namespace

QuadraticForm::QuadraticForm(Context& ctx, const HessianView& hessian) {
  const auto n = std::ssize(hessian.places);
  auto form = std::make_shared<cpu::TrianglePanels>(n);
  parallel_for(ctx.num_threads(), form->panels(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      double* panel = form->panel(p);
      for (int64_t j = p * cpu::kPanel; j < std::min(n, (p + 1) * cpu::kPanel); ++j) {
        // Rows of the symmetric matrix are read along memory.
        const double* row = hessian.values.data() + hessian.inputs * hessian.places[static_cast<size_t>(j)];
        for (int64_t k = 0; k <= j; ++k) {
          const double value = hessian.scale * row[hessian.places[static_cast<size_t>(k)]];
          panel[k * cpu::kPanel + j % cpu::kPanel] = k == j ? value : 2 * value;
        }
      }
    }
  });
  form_ = std::move(form);
}

int64_t QuadraticForm::n() const { return form_->n(); }

void QuadraticForm::evaluate(int64_t rows, const double* d, int64_t stride, double* errors) const {
  const int64_t n = form_->n();
  std::vector<double> sums(static_cast<size_t>(cpu::kRowsAtOnce * kFormColumns));
  const double* row[cpu::kRowsAtOnce];
  std::fill_n(errors, rows, 0.0);
  for (int64_t begin = 0; begin < rows; begin += cpu::kRowsAtOnce) {
    const int64_t count = std::min(cpu::kRowsAtOnce, rows - begin);
    for (int64_t r = 0; r < count; ++r) row[r] = d + (begin + r) * stride;
    for (int64_t j = 0; j < n; j += kFormColumns) {
      const int64_t columns = std::min(kFormColumns, n - j);
      std::fill(sums.begin(), sums.end(), 0.0);
      cpu::add_triangle_product(count, n, row, *form_, j, columns, sums.data(), kFormColumns);
      for (int64_t r = 0; r < count; ++r) {
        errors[begin + r] += cpu::dot_of(columns, sums.data() + r * kFormColumns, row[r] + j);
      }
    }
  }
}

double sum_of_forms(Context& ctx, const QuadraticForm& form, int64_t rows,
                    const std::function<void(int64_t row, double* d)>& fill) {
  const int64_t stride = round_up(form.n(), cpu::kPanel);
  std::vector<double> errors(static_cast<size_t>(rows));
  cpu::run_in_team(ctx.num_threads(), ceil_of(rows, cpu::kRowsAtOnce), [&](int64_t t, int64_t) {
    const int64_t begin = t * cpu::kRowsAtOnce, count = std::min(cpu::kRowsAtOnce, rows - begin);
    std::vector<double> d(static_cast<size_t>(count * stride));
    for (int64_t r = 0; r < count; ++r) fill(begin + r, d.data() + r * stride);
    form.evaluate(count, d.data(), stride, errors.data() + begin);
  });
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

}  // namespace trireme::ops
