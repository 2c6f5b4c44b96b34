#include "runtime/ops/training/distillation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/cpu/training/distillation_rows.h"
#include "runtime/ops/cpu/training/distilled_rows.h"

namespace trireme::ops::cpu {

namespace {

// The largest logit of the tokens that are not among the few, and the sum of their exponents: from one of the
// few to the next.
void find_rest(const DistilledRows& rows, int64_t r, const float* x, DistillationStatistics& s) {
  std::vector<int64_t> ends;
  for (int64_t i = 0; i < rows.num_few(); ++i) {
    const int64_t column = rows.column_of(rows.id(r, i));
    if (column >= 0) ends.push_back(column);
  }
  std::ranges::sort(ends);
  ends.push_back(rows.logits.count);
  s.other_max = kNoLogit;
  int64_t begin = 0;
  for (const int64_t end : ends) {
    if (end > begin) s.other_max = std::max(s.other_max, largest_logit_of(x + begin, end - begin));
    begin = end + 1;
  }
  double sum = 0;
  begin = 0;
  for (const int64_t end : ends) {
    if (end > begin && s.other_max > kNoLogit)
      sum += exponents_of(x + begin, end - begin, s.other_max, static_cast<float>(rows.factor));
    begin = end + 1;
  }
  s.other_sum = static_cast<float>(sum);
}

void find_statistics(const DistilledRows& rows, int64_t r, const float* x, float* t,
                     DistillationStatistics& s) {
  const int64_t v = rows.logits.count;
  const auto factor = static_cast<float>(rows.factor);
  const auto sum_or_none = [](float max, double sum) {
    return max == kNoLogit ? 0.0f : static_cast<float>(sum);
  };
  s.max = largest_logit_of(x, v);
  s.sum = sum_or_none(s.max, exponents_of(x, v, s.max, 1));
  const int64_t column = rows.target_column(r);
  s.target = column >= 0 ? x[column] : 0.0f;
  s.total = rows.options.entropy.label_smoothing > 0 ? static_cast<float>(total_of_logits(x, v)) : 0.0f;
  if (!rows.teacher.logits) {
    s.at_max = s.max;
    s.at_sum = factor == 1 ? s.sum : sum_or_none(s.max, exponents_of(x, v, s.max, factor));
    return find_rest(rows, r, x, s);
  }
  rows.load_teacher(r, t);
  s.at_max = largest_common_logit(x, t, v);
  s.at_sum = sum_or_none(s.at_max, common_exponents_of(x, t, v, s.at_max, factor));
  s.other_max = largest_logit_of(t, v);
  s.other_sum = sum_or_none(s.other_max, exponents_of(t, v, s.other_max, factor));
}

// The gradient of a row whose student's logits are x, in `gradient`, which may hold the teacher's.
void find_gradient(const DistilledRows& rows, int64_t r, const WholeDistilledRow& whole, double slope,
                   const float* x, float* gradient) {
  const DistillationOptions& o = rows.options;
  const int64_t v = rows.logits.count;
  const DistillationGradient g =
      distillation_gradient(o, rows.weight(r), whole.sum, whole.log_sum(), rows.part.total);
  const auto factor = static_cast<float>(g.factor), uniform = static_cast<float>(g.uniform);
  if (rows.teacher.logits) {
    gradient_of_row(
        rows.both(x, gradient, whole), o.divergence,
        {factor, whole.max, uniform, static_cast<float>(g.of_divergence), static_cast<float>(slope)},
        gradient);
  } else {
    const auto add_few = [&](double rest, float max, double sum) {
      const double each = sum > 0 ? g.of_divergence * rest / sum : 0.0;
      gradient_of_rest(x, v,
                       {factor, whole.max, uniform, static_cast<float>(each), max > kNoLogit ? max : 0.0f,
                        static_cast<float>(rows.factor)},
                       gradient);
    };
    if (rows.teacher.has_rest) {
      const auto rest = rows.rest_outcome(r, whole);
      add_few(rest.term.slope - rest.q * slope, whole.other_max, whole.other_sum);
    } else {
      add_few(-slope, whole.at_max, whole.at_sum);
    }
    for (int64_t i = 0; i < rows.num_few(); ++i) {
      const int64_t column = rows.column_of(rows.id(r, i));
      if (column < 0) continue;
      const auto few = rows.few_outcome(r, i, x[column], whole);
      const double entropy = g.factor * std::exp(static_cast<double>(x[column]) - whole.max) - g.uniform;
      gradient[column] = static_cast<float>(entropy + g.of_divergence * (few.term.slope - few.q * slope));
    }
  }
  const int64_t column = rows.target_column(r);
  if (column >= 0) gradient[column] -= static_cast<float>(g.at_target - g.uniform);
  if (o.entropy.soft_cap > 0) apply_slope_of_cap(gradient, x, v, o.entropy.soft_cap);
}

}  // namespace

void distillation_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics) {
  const DistilledRows rows(logits, targets, {}, part, teacher, options);
  auto* to = reinterpret_cast<DistillationStatistics*>(statistics.data<float>());
  rows.for_each(ctx, [&](int64_t r, float* x, float* t) {
    rows.load_student(r, x);
    find_statistics(rows, r, x, t, to[r]);
  });
}

void distillation_divergence(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics,
                             const Tensor& sums) {
  const DistilledRows rows(logits, targets, {}, part, teacher, options);
  const auto* parts = reinterpret_cast<const DistillationStatistics*>(statistics.data<float>());
  auto* to = reinterpret_cast<DivergenceSums*>(sums.data<float>());
  rows.for_each(ctx, [&](int64_t r, float* x, float* t) {
    to[r] = {};
    if (!rows.counts(r)) return;
    const WholeDistilledRow whole(parts + r, statistics.dim(0), logits.rows(), rows.factor);
    rows.load_student(r, x);
    RowSums sum;
    if (teacher.logits) {
      rows.load_teacher(r, t);
      sum = divergence_of_row(rows.both(x, t, whole), options.divergence);
    } else {
      for (int64_t i = 0; i < rows.num_few(); ++i) {
        const int64_t column = rows.column_of(rows.id(r, i));
        if (column < 0) continue;
        const DivergenceTerm term = rows.few_outcome(r, i, x[column], whole).term;
        sum.divergence += term.divergence;
        sum.slope += term.slope;
      }
    }
    to[r] = {static_cast<float>(sum.divergence), static_cast<float>(sum.slope)};
  });
}

void distillation(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                  const TeacherOfRows& teacher, const DistillationOptions& options, const Tensor& statistics,
                  const Tensor& sums, const Tensor& loss, const Columns& dlogits, const Tensor& added,
                  const Tensor& weights) {
  const DistilledRows rows(logits, targets, weights, part, teacher, options);
  const auto* parts = reinterpret_cast<const DistillationStatistics*>(statistics.data<float>());
  const auto* part_sums = reinterpret_cast<const DivergenceSums*>(sums.data<float>());
  const int64_t n = logits.rows(), v = logits.count;
  rows.for_each(ctx, [&](int64_t r, float* x, float* t) {
    float row_loss = 0, row_added = 0;
    if (rows.counts(r)) {
      const WholeDistilledRow whole(parts + r, statistics.dim(0), n, rows.factor);
      double divergence = 0, slope = 0;
      for (int64_t p = 0; p < sums.dim(0); ++p) {
        divergence += part_sums[p * n + r].divergence;
        slope += part_sums[p * n + r].slope;
      }
      if (teacher.has_rest && teacher.ids) {
        const DivergenceTerm rest = rows.rest_outcome(r, whole).term;
        divergence += rest.divergence;
        slope += rest.slope;
      }
      const float weight = rows.weight(r);
      const double entropy = std::log(whole.sum) + (static_cast<double>(whole.max) - whole.target);
      row_loss = static_cast<float>(weight * entropy);
      row_added = distillation_added(options, weight, entropy, whole.log_sum(), whole.target, whole.total,
                                     divergence, part.total);
      if (dlogits) {
        rows.load_student(r, x);
        if (teacher.logits) rows.load_teacher(r, t);
        find_gradient(rows, r, whole, slope, x, t);
      }
    } else if (dlogits) {
      std::fill_n(t, v, 0.0f);
    }
    loss.data<float>()[r] = row_loss;
    if (added) added.data<float>()[r] = row_added;
    if (dlogits)
      with_compute_type(dlogits.dtype(), [&]<class T>(T) { convert_range(t, dlogits.row<T>(r), v); });
  });
}

}  // namespace trireme::ops::cpu
