// Passes over a row of a student's logits and a teacher's, in fp32 as they count. Sums run in lanes of a
// fixed number, block by block, and the blocks are added in double.
#pragma once

#include <cstdint>

#include "runtime/ops/training/distillation.h"

namespace trireme::ops::cpu {

/// x becomes cap * tanh(x / cap), but for -inf, which marks a token that a teacher does not have.
void cap_logits(float* x, int64_t n, float cap);
/// gradient *= the cap's derivative, from what the logits count as.
void apply_slope_of_cap(float* gradient, const float* capped, int64_t n, float cap);

float largest_logit_of(const float* x, int64_t n);
/// Of the tokens that the teacher t has.
float largest_common_logit(const float* x, const float* t, int64_t n);

/// Sums of exp((x - max) * factor).
double exponents_of(const float* x, int64_t n, float max, float factor);
double common_exponents_of(const float* x, const float* t, int64_t n, float max, float factor);
double total_of_logits(const float* x, int64_t n);

/// Both distributions of a row: log q_i = (x_i - max) * factor - log_sum, and p's.
struct RowOfBoth {
  const float *student, *teacher;
  int64_t n;
  float factor, max, log_sum, teacher_max, teacher_log_sum;
};

struct RowSums {
  double divergence = 0, slope = 0;
};
RowSums divergence_of_row(const RowOfBoth& row, const Divergence& divergence);

/// gradient_i = factor * exp(x_i - max) - uniform + of_divergence * (q_i's slope - q_i * slope). It may take
/// the teacher's place.
struct GradientOfRow {
  float factor, max, uniform, of_divergence, slope;
};
void gradient_of_row(const RowOfBoth& row, const Divergence& divergence, const GradientOfRow& g,
                     float* gradient);

/// gradient_i = factor * exp(x_i - max) - uniform + rest * exp((x_i - rest_max) * rest_factor)
struct GradientOfRest {
  float factor, max, uniform, rest, rest_max, rest_factor;
};
void gradient_of_rest(const float* x, int64_t n, const GradientOfRest& g, float* gradient);

}  // namespace trireme::ops::cpu
