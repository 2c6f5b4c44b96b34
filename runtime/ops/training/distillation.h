// What a student loses against a teacher, mixed with cross-entropy, and the gradient of it.
#pragma once

#include "runtime/ops/dispatch.h"
#include "runtime/ops/training/cross_entropy.h"

namespace trireme::ops {

/// Between p, the teacher's distribution, and q, the student's, with m = mix * p + (1 - mix) * q:
///   D = of_teacher * KL(p || m) + (1 - of_teacher) * KL(q || m)
/// Forward KL is {0, 1}; reverse KL (MiniLLM, arXiv 2306.08543) {1, 0}; skewed by a (DistiLLM, arXiv
/// 2402.03898) KL(p || a p + (1 - a) q) is {a, 1} and KL(q || (1 - a) p + a q) {1 - a, 0}; the generalised
/// Jensen-Shannon divergence (GKD, arXiv 2306.13649) {b, b}.
struct Divergence {
  double mix = 0, of_teacher = 1;

  constexpr bool is_forward() const { return mix == 0; }
  constexpr bool is_reverse() const { return mix == 1; }
};

/// Minimised of a row, for the softmax Z over all columns as in cross_entropy:
///   (1 - weight) * (cross-entropy, smoothed) + z_loss * log(Z)^2 + weight * temperature^2 * D
struct DistillationOptions {
  CrossEntropyOptions entropy = {};
  Divergence divergence = {};
  float weight = 0.5f;       ///< in [0, 1]
  float temperature = 1.0f;  ///< above 0: D is of softmax(logits / temperature)
};

/// What a teacher says of N rows: `logits`, or `ids` and `probabilities`.
struct TeacherOfRows {
  /// [N,V], the columns that the student's have, in any compute type. Tokens that the teacher does not have
  /// are -inf: p and q are then the distributions over the tokens that both have, each with a sum of 1.
  Columns logits = {};
  float soft_cap = 0;  ///< as CrossEntropyOptions has it, of the teacher's
  /// [N,k] i32 over the columns of all parts, none twice in a row; -1: none. [N,k] f32.
  Tensor ids = {}, probabilities = {};
  /// The outcomes are the k tokens, and all others together, which have what is left of 1. Else the
  /// probabilities estimate the whole of p: forward KL alone, and D is their cross-entropy - sum of p log q,
  /// as the teacher's entropy has no estimate without bias; its gradient is without one.
  bool has_rest = false;

  explicit operator bool() const { return bool(logits) || bool(ids); }
};

/// All three calls take the same logits [N,V], the columns `part` of rows whose other columns may lie
/// elsewhere, targets [N] i32, teacher and options. No value in fp32 is kept of a logit.
///
/// First: statistics [N,8] f32 of this part's columns. Of the student: those of cross_entropy_statistics,
/// then the largest logit and the sum of exp((logit - largest) / temperature), over the tokens that the
/// teacher has too. Then the same two of the teacher's logits, or with few tokens of the student's other
/// tokens.
void distillation_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics);
TRIREME_OP_BODIES(distillation_statistics, Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const TeacherOfRows& teacher, const DistillationOptions& options,
                  const Tensor& statistics)
/// Second: statistics [P,N,8] of all P parts. sums [N,2] f32: this part's terms of D and of the sum of q
/// times D's derivative by q.
void distillation_divergence(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics,
                             const Tensor& sums);
TRIREME_OP_BODIES(distillation_divergence, Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const TeacherOfRows& teacher, const DistillationOptions& options,
                  const Tensor& statistics, const Tensor& sums)
/// Third: sums [P,N,2] of all parts. loss [N] f32: the plain cross-entropies; added [N] f32 (may be absent):
/// all that is minimised less that. dlogits ([N,V] in the logits' type; may be absent or logits itself):
/// gradient_scale times the gradient of the sum of both. Weights [N] and ignored targets as in cross_entropy:
/// rows that do not count have no divergence either. loss and added are the same bits wherever they are
/// computed.
void distillation(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                  const TeacherOfRows& teacher, const DistillationOptions& options, const Tensor& statistics,
                  const Tensor& sums, const Tensor& loss, const Columns& dlogits, const Tensor& added,
                  const Tensor& weights = {});
TRIREME_OP_BODIES(distillation, Context& ctx, const Columns& logits, const Tensor& targets,
                  const TablePart& part, const TeacherOfRows& teacher, const DistillationOptions& options,
                  const Tensor& statistics, const Tensor& sums, const Tensor& loss, const Columns& dlogits,
                  const Tensor& added, const Tensor& weights)

/// Numbers of a row.
struct DistillationStatistics {
  float max, sum, target, total;  ///< of cross-entropy
  float at_max, at_sum;           ///< at the temperature
  float other_max, other_sum;     ///< of the teacher, or of the tokens that are not among the few
};
struct DivergenceSums {
  float divergence, slope;
};
inline constexpr int64_t kDistillationStatistics = 8, kDivergenceSums = 2;
static_assert(sizeof(DistillationStatistics) == kDistillationStatistics * sizeof(float));
static_assert(sizeof(DivergenceSums) == kDivergenceSums * sizeof(float));

/// Of a row: dlogits = (factor * exp(logit - max) - uniform or at_target + of_divergence * dD/d(logit /
/// temperature)) * slope of the cap.
struct DistillationGradient {
  double factor, uniform, at_target, of_divergence;
};

constexpr DistillationGradient distillation_gradient(const DistillationOptions& o, float weight, double sum,
                                                     double log_sum, int64_t num_columns) {
  const CrossEntropyOptions& e = o.entropy;
  const double scale = double{e.gradient_scale} * double{weight}, of_target = 1 - double{o.weight},
               uniform = scale * of_target * double{e.label_smoothing} / static_cast<double>(num_columns);
  return {scale * (of_target + 2.0 * double{e.z_loss} * log_sum) / sum, uniform,
          scale * of_target * (1 - double{e.label_smoothing}) + uniform,
          scale * double{o.weight} * double{o.temperature}};
}

/// What a row of this weight and cross-entropy (without the weight) adds to weight * entropy.
constexpr float distillation_added(const DistillationOptions& o, float weight, double entropy, double log_sum,
                                   double at_target, double total, double divergence, int64_t num_columns) {
  const CrossEntropyOptions& e = o.entropy;
  const double smoothed = double{e.label_smoothing} * (at_target - total / static_cast<double>(num_columns));
  const double w = o.weight, t = o.temperature;
  return static_cast<float>(double{weight} * ((1 - w) * smoothed - w * entropy +
                                              double{e.z_loss} * log_sum * log_sum + w * t * t * divergence));
}

/// An outcome's term of D, and q times the derivative of D by its q, up to a constant times q.
struct DivergenceTerm {
  double divergence, slope;
};

/// Of an outcome with these probabilities and their logarithms; log_m: that of mix * p + (1 - mix) * q, which
/// only divergences that are neither forward nor reverse read.
constexpr DivergenceTerm divergence_term(const Divergence& d, double p, double log_p, double q, double log_q,
                                         double log_m) {
  if (d.is_forward()) return {p * (log_p - log_q), -p};
  if (d.is_reverse()) return {q * (log_q - log_p), q * (log_q - log_p)};
  const double ofp = d.of_teacher, ofq = 1 - ofp, m = d.mix * p + (1 - d.mix) * q;
  return {ofp * p * (log_p - log_m) + ofq * q * (log_q - log_m),
          q * (ofq * (log_q - log_m) - (m > 0 ? (1 - d.mix) * (ofp * p + ofq * q) / m : 0.0))};
}

/// Probabilities in fp32 that sum to 1 do not tell less than this from nothing.
inline constexpr double kLeastRest = 0x1p-24;
/// Stands for a probability of 0 where its logarithm is taken.
inline constexpr double kLeastProbability = 1e-30;

}  // namespace trireme::ops
