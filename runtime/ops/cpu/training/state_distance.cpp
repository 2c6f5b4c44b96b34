#include "runtime/ops/training/state_distance.h"

#include <cmath>
#include <vector>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

struct StateSums {
  double squares = 0, teacher_squares = 0, products = 0;
};

StateSums sums_of_states(const float* x, const float* t, int64_t n) {
  StateSums sums;
  for (int64_t i = 0; i < n; ++i) {
    const double a = x[i], b = t[i];
    sums.squares += a * a;
    sums.teacher_squares += b * b;
    sums.products += a * b;
  }
  return sums;
}

void widen_states(const Tensor& from, int64_t r, float* to) {
  with_compute_type(from.dtype(),
                    [&]<class T>(T) { convert_range(from.data<T>() + r * from.dim(1), to, from.dim(1)); });
}

}  // namespace

void state_distance(Context& ctx, const Tensor& states, const Tensor& teacher, const Tensor& targets,
                    const Tensor& weights, const StateDistanceOptions& options, const Tensor& added,
                    const Tensor& dstates) {
  const int64_t c = states.dim(1);
  const auto width = static_cast<double>(c);
  parallel_for(ctx.num_threads(), states.dim(0), row_grain(c), [&](int64_t begin, int64_t end) {
    std::vector<float> room(static_cast<size_t>(3 * c));
    float *x = room.data(), *t = x + c, *dx = t + c;
    for (int64_t r = begin; r < end; ++r) {
      const float weight = weights ? weights.data<float>()[r] : 1.0f;
      added.data<float>()[r] = 0;
      if (targets.data<int32_t>()[r] == kIgnoredTarget || weight == 0) continue;
      widen_states(states, r, x);
      widen_states(teacher, r, t);
      const StateSums sums = sums_of_states(x, t, c);
      const StateDistance d = state_distance_of(
          double{options.coefficient} * double{weight}, std::sqrt(sums.squares / width + kStateEpsilon),
          std::sqrt(sums.teacher_squares / width + kStateEpsilon), sums.products / width, c);
      added.data<float>()[r] = static_cast<float>(d.distance);
      if (!dstates) continue;
      const auto of_teacher = static_cast<float>(options.gradient_scale * d.of_teacher),
                 of_states = static_cast<float>(options.gradient_scale * d.of_states);
      widen_states(dstates, r, dx);
      for (int64_t i = 0; i < c; ++i) dx[i] += of_teacher * t[i] + of_states * x[i];
      with_compute_type(dstates.dtype(),
                        [&]<class T>(T) { convert_range(dx, dstates.data<T>() + r * c, c); });
    }
  });
}

}  // namespace trireme::ops::cpu
