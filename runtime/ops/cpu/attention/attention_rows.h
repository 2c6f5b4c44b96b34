// The vector loops of attention: one row of scores at a time.
#pragma once

#include <cstdint>

namespace trireme::ops::cpu::attention_rows {

/// Sums run in lanes of a fixed number, so that they are the same with every instruction set.
inline constexpr int64_t kLanes = 16;

/// Turns scores[begin, end) into exp(score - max) and returns the sum of exponents, in lanes by place; `max`
/// receives the largest score. begin < kLanes, begin < end. What lies before and up to the next multiple of
/// kLanes after them is overwritten.
float exponentials(float* scores, int64_t begin, int64_t end, float& max);

/// p = exp(score - lse), gradient = p * (gradient - delta) * scale, for the first n; both are zero from n to
/// width. On entry p holds the scores and gradient the derivative by p.
void score_gradient(float* p, float* gradient, int64_t n, int64_t width, float lse, float delta, float scale);

/// Scores become cap * tanh(score / cap), up to the next multiple of kLanes after n.
void soft_cap(float* scores, int64_t n, float cap);

/// score_gradient of scores that soft_cap() is to be applied to first; the gradient is that before the cap.
void capped_score_gradient(float* p, float* gradient, int64_t n, int64_t width, float lse, float delta,
                           float scale, float cap);

/// Puts `value` in the place of those of kLanes * groups numbers whose bit is not set; a mask has the bits of
/// kLanes numbers, the lowest that of the first.
void hide(float* row, const uint16_t* masks, int64_t groups, float value);

float dot(const float* a, const float* b, int64_t n);
/// row[i] += others[i].
void add(float* row, const float* others, int64_t n);
void multiply(float* row, int64_t n, float factor);
/// row[i] *= factors[i].
void multiply_by(float* row, const float* factors, int64_t n);

}  // namespace trireme::ops::cpu::attention_rows
