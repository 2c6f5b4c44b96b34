// The vector loops of attention: one row of scores at a time.
#pragma once

#include <cstdint>

namespace trireme::ops::cpu::attention_rows {

/// Turns scores[0, n) into exp(score - max), sets scores[n, width) to zero and returns the sum of exponents;
/// `max` receives the largest score. n >= 1. May write up to the next multiple of 16 after n.
float exponentials(float* scores, int64_t n, int64_t width, float& max);

/// p = exp(score - lse), gradient = p * (gradient - delta) * scale, for the first n; both are zero from n to
/// width. On entry p holds the scores and gradient the derivative by p.
void score_gradient(float* p, float* gradient, int64_t n, int64_t width, float lse, float delta, float scale);

/// Scores become cap * tanh(score / cap).
void soft_cap(float* scores, int64_t n, float cap);

/// score_gradient of scores that soft_cap() is to be applied to first; the gradient is that before the cap.
void capped_score_gradient(float* p, float* gradient, int64_t n, int64_t width, float lse, float delta,
                           float scale, float cap);

float dot(const float* a, const float* b, int64_t n);
void multiply(float* row, int64_t n, float factor);

}  // namespace trireme::ops::cpu::attention_rows
