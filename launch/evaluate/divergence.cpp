#include "launch/evaluate/divergence.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

namespace {

struct Softmax {
  ptrdiff_t top = 0;
  double log_sum = 0;  ///< log of the sum of exponents
};

Softmax softmax_of(std::span<const float> logits) {
  const auto largest = std::ranges::max_element(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(double{x} - double{*largest});
  return {largest - logits.begin(), double{*largest} + std::log(sum)};
}

double divergence(std::span<const float> reference, const Softmax& p, std::span<const float> model,
                  const Softmax& q) {
  double sum = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double log_p = double{reference[i]} - p.log_sum, log_q = double{model[i]} - q.log_sum;
    const double probability = std::exp(log_p);
    if (probability > 0) sum += probability * (log_p - log_q);  // a logit of -inf has no term
  }
  return sum;
}

}  // namespace

Divergences divergences_of(Context& ctx, const Tensor& model, const Tensor& reference) {
  const std::vector<float> q = ops::to_host<float>(ctx, model), p = ops::to_host<float>(ctx, reference);
  const int64_t rows = model.dim(0);
  const auto columns = static_cast<size_t>(model.dim(1));
  Divergences result;
  result.divergences.resize(static_cast<size_t>(rows));
  result.same_top.resize(static_cast<size_t>(rows));
  parallel_for(ctx.num_threads(), rows, 1, [&](int64_t begin, int64_t end) {
    for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
      const auto of = [&](const std::vector<float>& logits) {
        return std::span(logits).subspan(row * columns, columns);
      };
      const Softmax of_p = softmax_of(of(p)), of_q = softmax_of(of(q));
      result.divergences[row] = static_cast<float>(divergence(of(p), of_p, of(q), of_q));
      result.same_top[row] = of_p.top == of_q.top ? 1 : 0;
    }
  });
  return result;
}

}  // namespace trireme::launch
