// What the calls of distillation share on the host: the rows of a call, and a row's numbers from its parts'.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/ops/cpu/support.h"
#include "runtime/ops/cpu/training/distillation_rows.h"
#include "runtime/ops/training/distillation.h"

namespace trireme::ops::cpu {

inline constexpr float kNoLogit = -std::numeric_limits<float>::infinity();

inline void widen_row(const Columns& from, int64_t r, float cap, float* to) {
  with_compute_type(from.dtype(), [&]<class T>(T) { convert_range(from.row<T>(r), to, from.count); });
  if (cap > 0) cap_logits(to, from.count, cap);
}

// Of the whole row, from those of its parts.
struct WholeDistilledRow {
  float max = kNoLogit, at_max = kNoLogit, other_max = kNoLogit;
  double sum = 0, target = 0, total = 0, at_sum = 0, other_sum = 0;

  WholeDistilledRow(const DistillationStatistics* parts, int64_t num_parts, int64_t stride, double factor) {
    for (int64_t p = 0; p < num_parts; ++p) {
      const DistillationStatistics& part = parts[p * stride];
      max = std::max(max, part.max);
      at_max = std::max(at_max, part.at_max);
      other_max = std::max(other_max, part.other_max);
    }
    for (int64_t p = 0; p < num_parts; ++p) {
      const DistillationStatistics& part = parts[p * stride];
      sum += scaled(part.sum, part.max, max, 1);
      at_sum += scaled(part.at_sum, part.at_max, at_max, factor);
      other_sum += scaled(part.other_sum, part.other_max, other_max, factor);
      target += part.target;
      total += part.total;
    }
  }
  static double scaled(float sum, float from, float to, double factor) {
    return from == kNoLogit ? 0.0 : sum * std::exp((static_cast<double>(from) - to) * factor);
  }
  double log_sum() const { return std::log(sum) + static_cast<double>(max); }
};

inline double log_of(double probability) { return std::log(std::max(probability, kLeastProbability)); }

inline double log_of_mixture(const Divergence& d, double p, double q) {
  return log_of(d.mix * p + (1 - d.mix) * q);
}

// What a call works on. A row counts, or not; `first` and `second` are room for a row each.
class DistilledRows {
 public:
  DistilledRows(const Columns& of_logits, const Tensor& targets, const Tensor& weights,
                const TablePart& of_part, const TeacherOfRows& of_teacher, const DistillationOptions& of_call)
      : logits(of_logits),
        teacher(of_teacher),
        options(of_call),
        part(of_part),
        factor(1 / double{of_call.temperature}),
        ids_(targets.data<int32_t>()),
        weights_(weights ? weights.data<float>() : nullptr) {
    for (int64_t r = 0; r < targets.numel(); ++r) {
      TRIREME_CHECK(ids_[r] == kIgnoredTarget || (ids_[r] >= 0 && ids_[r] < part.total),
                    "distillation: targets[{}] is {}, the logits have {} columns", r, ids_[r], part.total);
    }
    const int64_t few = teacher.ids ? teacher.ids.numel() : 0;
    for (int64_t i = 0; i < few; ++i) {
      const int32_t id = teacher.ids.data<int32_t>()[i];
      TRIREME_CHECK(id >= -1 && id < part.total, "distillation: ids[{}] is {}, the logits have {} columns", i,
                    id, part.total);
    }
  }

  bool counts(int64_t r) const { return ids_[r] != kIgnoredTarget && weight(r) != 0; }
  float weight(int64_t r) const { return weights_ != nullptr ? weights_[r] : 1.0f; }
  /// The target's column here, -1 where it lies elsewhere.
  int64_t target_column(int64_t r) const { return column_of(ids_[r]); }
  int64_t column_of(int64_t id) const {
    const int64_t column = id - part.first;
    return id >= 0 && column >= 0 && column < logits.count ? column : -1;
  }
  int64_t num_few() const { return teacher.ids.dim(1); }
  int32_t id(int64_t r, int64_t i) const { return teacher.ids.data<int32_t>()[r * num_few() + i]; }
  double probability(int64_t r, int64_t i) const {
    return id(r, i) < 0 ? 0.0 : double{teacher.probabilities.data<float>()[r * num_few() + i]};
  }
  /// What a row's few tokens leave.
  double rest(int64_t r) const {
    double left = 1;
    for (int64_t i = 0; i < num_few(); ++i) left -= probability(r, i);
    return std::max(left, kLeastRest);
  }

  /// body(r, student's row, room for another) for each row, in threads.
  template <class Body>
  void for_each(Context& ctx, const Body& body) const {
    const int64_t v = logits.count;
    parallel_for(ctx.num_threads(), logits.rows(), row_grain(v), [&](int64_t begin, int64_t end) {
      std::vector<float> room(static_cast<size_t>(2 * v));
      for (int64_t r = begin; r < end; ++r) body(r, room.data(), room.data() + v);
    });
  }
  void load_student(int64_t r, float* to) const { widen_row(logits, r, options.entropy.soft_cap, to); }
  void load_teacher(int64_t r, float* to) const { widen_row(teacher.logits, r, teacher.soft_cap, to); }

  RowOfBoth both(const float* student, const float* of_teacher, const WholeDistilledRow& whole) const {
    return {student,         of_teacher,
            logits.count,    static_cast<float>(factor),
            whole.at_max,    static_cast<float>(std::log(whole.at_sum)),
            whole.other_max, static_cast<float>(std::log(whole.other_sum))};
  }

  /// Of a student's logit and a probability of the few.
  struct Outcome {
    double q;
    DivergenceTerm term;
  };
  Outcome outcome(double p, double log_q) const {
    const double q = std::exp(log_q);
    if (!teacher.has_rest) return {q, {-p * log_q, -p}};
    const Divergence& d = options.divergence;
    return {q, divergence_term(d, p, log_of(p), q, log_q, log_of_mixture(d, p, q))};
  }
  Outcome few_outcome(int64_t r, int64_t i, float logit, const WholeDistilledRow& whole) const {
    const double log_q = (static_cast<double>(logit) - whole.at_max) * factor - std::log(whole.at_sum);
    return outcome(probability(r, i), log_q);
  }
  Outcome rest_outcome(int64_t r, const WholeDistilledRow& whole) const {
    const double log_q = whole.other_sum > 0
                             ? (static_cast<double>(whole.other_max) - whole.at_max) * factor +
                                   std::log(whole.other_sum / whole.at_sum)
                             : log_of(0);
    return outcome(rest(r), log_q);
  }

  const Columns& logits;
  const TeacherOfRows& teacher;
  const DistillationOptions& options;
  const TablePart part;
  const double factor;

 private:
  const int32_t* ids_;
  const float* weights_;
};

}  // namespace trireme::ops::cpu
