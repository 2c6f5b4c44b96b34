#include "runtime/ops/cpu/training/distillation_rows.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "runtime/ops/cpu/vectorize.h"

namespace trireme::ops::cpu {

namespace {

constexpr int64_t kDistillLanes = 16, kDistillBlock = 32 * kDistillLanes;
constexpr float kAbsent = -std::numeric_limits<float>::infinity();

// log(x) to about 1 ulp for normal x above 0: x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), and
// Cephes' polynomial of logf in f. Of what is not above 0 some number.
TRIREME_INLINE float fast_log(float x) {
  const int32_t bits = std::bit_cast<int32_t>(x), e = (bits - 0x3f3504f3) >> 23;
  const float f = std::bit_cast<float>(bits - e * (1 << 23)) - 1.0f, z = f * f, n = static_cast<float>(e);
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  return (f + (p * f * z - 2.12194440e-4f * n - 0.5f * z)) + n * 0.693359375f;
}

// The largest term(i) of [0, n).
template <class Term>
TRIREME_INLINE float largest_term(int64_t n, const Term& term) {
  float lanes[kDistillLanes];
  for (float& lane : lanes) lane = kAbsent;
  int64_t i = 0;
  for (; i + kDistillLanes <= n; i += kDistillLanes) {
    for (int64_t j = 0; j < kDistillLanes; ++j) {
      const float value = term(i + j);
      lanes[j] = value > lanes[j] ? value : lanes[j];
    }
  }
  float max = lanes[0];
  for (const float lane : lanes) max = lane > max ? lane : max;
  for (; i < n; ++i) {
    const float value = term(i);
    max = value > max ? value : max;
  }
  return max;
}

template <class Term>
TRIREME_INLINE double sum_of_terms(int64_t n, const Term& term) {
  double total = 0;
  for (int64_t block = 0; block < n; block += kDistillBlock) {
    const int64_t end = std::min(n, block + kDistillBlock);
    float lanes[kDistillLanes] = {};
    int64_t i = block;
    for (; i + kDistillLanes <= end; i += kDistillLanes) {
      for (int64_t j = 0; j < kDistillLanes; ++j) lanes[j] += term(i + j);
    }
    float sum = 0;
    for (const float lane : lanes) sum += lane;
    for (; i < end; ++i) sum += term(i);
    total += sum;
  }
  return total;
}

struct LogitAt {
  const float* x;
  TRIREME_INLINE float operator()(int64_t i) const { return x[i]; }
};
struct CommonLogitAt {
  const float *x, *t;
  TRIREME_INLINE float operator()(int64_t i) const { return t[i] == kAbsent ? kAbsent : x[i]; }
};
struct ExponentAt {
  const float* x;
  float max, factor;
  TRIREME_INLINE float operator()(int64_t i) const { return fast_exp((x[i] - max) * factor); }
};
struct CommonExponentAt {
  const float *x, *t;
  float max, factor;
  TRIREME_INLINE float operator()(int64_t i) const {
    const float value = fast_exp((x[i] - max) * factor);
    return t[i] == kAbsent ? 0.0f : value;
  }
};

struct Terms {
  float q, divergence, slope;
};
struct ForwardKl {
  TRIREME_INLINE Terms operator()(float log_p, float log_q) const {
    const float p = fast_exp(log_p);
    return {fast_exp(log_q), p * (log_p - log_q), -p};
  }
};
struct ReverseKl {
  TRIREME_INLINE Terms operator()(float log_p, float log_q) const {
    const float q = fast_exp(log_q), term = q * (log_q - log_p);
    return {q, term, term};
  }
};
struct Mixed {
  float mix, of_teacher;
  TRIREME_INLINE Terms operator()(float log_p, float log_q) const {
    const float p = fast_exp(log_p), q = fast_exp(log_q), m = mix * p + (1.0f - mix) * q;
    const float log_m = fast_log(m), of_student = 1.0f - of_teacher, more = log_q - log_m;
    return {q, of_teacher * p * (log_p - log_m) + of_student * q * more,
            q * (of_student * more - (1.0f - mix) * (of_teacher * p + of_student * q) / m)};
  }
};

template <class Kind>
struct TermsAt {
  RowOfBoth row;
  Kind kind;
  TRIREME_INLINE Terms operator()(int64_t i) const {
    const float t = row.teacher[i], there = t == kAbsent ? 0.0f : t;
    Terms terms = kind((there - row.teacher_max) * row.factor - row.teacher_log_sum,
                       (row.student[i] - row.max) * row.factor - row.log_sum);
    terms.q = t == kAbsent ? 0.0f : terms.q;
    terms.divergence = t == kAbsent ? 0.0f : terms.divergence;
    terms.slope = t == kAbsent ? 0.0f : terms.slope;
    return terms;
  }
};

template <class Kind>
TRIREME_INLINE RowSums sums_of_both(const RowOfBoth& row, const Kind& kind) {
  const TermsAt<Kind> terms{row, kind};
  RowSums total;
  for (int64_t block = 0; block < row.n; block += kDistillBlock) {
    const int64_t end = std::min(row.n, block + kDistillBlock);
    float divergence[kDistillLanes] = {}, slope[kDistillLanes] = {};
    int64_t i = block;
    for (; i + kDistillLanes <= end; i += kDistillLanes) {
      for (int64_t j = 0; j < kDistillLanes; ++j) {
        const Terms at = terms(i + j);
        divergence[j] += at.divergence;
        slope[j] += at.slope;
      }
    }
    for (; i < end; ++i) {
      const Terms at = terms(i);
      divergence[0] += at.divergence;
      slope[0] += at.slope;
    }
    for (int64_t j = 0; j < kDistillLanes; ++j) {
      total.divergence += static_cast<double>(divergence[j]);
      total.slope += static_cast<double>(slope[j]);
    }
  }
  return total;
}

template <class Kind>
TRIREME_INLINE void gradient_of_both(const RowOfBoth& row, const Kind& kind, const GradientOfRow& g,
                                     float* gradient) {
  const TermsAt<Kind> terms{row, kind};
  for (int64_t i = 0; i < row.n; ++i) {
    const Terms at = terms(i);
    gradient[i] = g.factor * fast_exp(row.student[i] - g.max) - g.uniform +
                  g.of_divergence * (at.slope - at.q * g.slope);
  }
}

#define TRIREME_BOTH(Kind)                                                                                 \
  TRIREME_VECTORIZED RowSums sums_of_kind(const RowOfBoth& row, const Kind& kind) {                        \
    return sums_of_both(row, kind);                                                                        \
  }                                                                                                        \
  TRIREME_VECTORIZED void gradient_of_kind(const RowOfBoth& row, const Kind& kind, const GradientOfRow& g, \
                                           float* gradient) {                                              \
    gradient_of_both(row, kind, g, gradient);                                                              \
  }
TRIREME_BOTH(ForwardKl)
TRIREME_BOTH(ReverseKl)
TRIREME_BOTH(Mixed)
#undef TRIREME_BOTH

// Calls body with the kind of the divergence.
template <class Body>
auto with_kind(const Divergence& d, const Body& body) {
  if (d.is_forward()) return body(ForwardKl{});
  if (d.is_reverse()) return body(ReverseKl{});
  return body(Mixed{static_cast<float>(d.mix), static_cast<float>(d.of_teacher)});
}

}  // namespace

TRIREME_VECTORIZED void cap_logits(float* x, int64_t n, float cap) {
  for (int64_t i = 0; i < n; ++i) {
    const float capped = cap * fast_tanh(x[i] / cap);
    x[i] = x[i] == kAbsent ? kAbsent : capped;
  }
}

TRIREME_VECTORIZED void apply_slope_of_cap(float* gradient, const float* capped, int64_t n, float cap) {
  for (int64_t i = 0; i < n; ++i) {
    const float t = capped[i] / cap;
    gradient[i] *= 1.0f - t * t;
  }
}

TRIREME_VECTORIZED float largest_logit_of(const float* x, int64_t n) { return largest_term(n, LogitAt{x}); }
TRIREME_VECTORIZED float largest_common_logit(const float* x, const float* t, int64_t n) {
  return largest_term(n, CommonLogitAt{x, t});
}

TRIREME_VECTORIZED double exponents_of(const float* x, int64_t n, float max, float factor) {
  return sum_of_terms(n, ExponentAt{x, max, factor});
}
TRIREME_VECTORIZED double common_exponents_of(const float* x, const float* t, int64_t n, float max,
                                              float factor) {
  return sum_of_terms(n, CommonExponentAt{x, t, max, factor});
}
TRIREME_VECTORIZED double total_of_logits(const float* x, int64_t n) { return sum_of_terms(n, LogitAt{x}); }

RowSums divergence_of_row(const RowOfBoth& row, const Divergence& divergence) {
  return with_kind(divergence, [&](const auto& kind) { return sums_of_kind(row, kind); });
}

void gradient_of_row(const RowOfBoth& row, const Divergence& divergence, const GradientOfRow& g,
                     float* gradient) {
  with_kind(divergence, [&](const auto& kind) { gradient_of_kind(row, kind, g, gradient); });
}

TRIREME_VECTORIZED void gradient_of_rest(const float* x, int64_t n, const GradientOfRest& g,
                                         float* gradient) {
  for (int64_t i = 0; i < n; ++i) {
    gradient[i] = g.factor * fast_exp(x[i] - g.max) - g.uniform +
                  g.rest * fast_exp((x[i] - g.rest_max) * g.rest_factor);
  }
}

}  // namespace trireme::ops::cpu
