#include "runtime/ops/routing.h"

#include <vector>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

// Exact to a rounding in all of its range: where experts are few it costs nothing.
float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

/// Softmax into `out`; returns the log of the sum of exponentials.
float softmax_row(const float* logits, float* out, int64_t n) {
  const float largest = *std::max_element(logits, logits + n);
  double sum = 0;
  for (int64_t e = 0; e < n; ++e) {
    out[e] = std::exp(logits[e] - largest);
    sum += static_cast<double>(out[e]);
  }
  const auto inverse = static_cast<float>(1.0 / sum);
  for (int64_t e = 0; e < n; ++e) out[e] *= inverse;
  return largest + static_cast<float>(std::log(sum));
}

/// The row's scores and the factor that makes probabilities of them.
class Scores {
 public:
  Scores(const RouteOptions& options, int64_t num_experts)
      : options_(options), values_(static_cast<size_t>(num_experts)) {}

  void read(const float* logits) {
    const auto n = static_cast<int64_t>(values_.size());
    log_sum_ = softmax_row(logits, values_.data(), n);
    factor_ = 1;
    if (!options_.sigmoid) return;
    double sum = 0;
    for (int64_t e = 0; e < n; ++e)
      sum += static_cast<double>(values_[static_cast<size_t>(e)] = sigmoid(logits[e]));
    factor_ = sum > 0 ? static_cast<float>(1.0 / sum) : 0.0f;
  }

  float operator[](int64_t e) const { return values_[static_cast<size_t>(e)]; }
  const float* data() const { return values_.data(); }
  float log_sum() const { return log_sum_; }
  float probability(int64_t e) const { return (*this)[e] * factor_; }
  float factor() const { return factor_; }

 private:
  const RouteOptions& options_;
  std::vector<float> values_;
  float log_sum_ = 0, factor_ = 1;
};

/// Chooses k of the experts by score + bias.
class Chooser {
 public:
  Chooser(const RouteOptions& options, int64_t num_experts, const float* bias)
      : options_(options),
        bias_(bias),
        scores_(static_cast<size_t>(num_experts)),
        taken_(scores_.size()),
        group_taken_(static_cast<size_t>(options.num_groups)) {}

  void choose(const Scores& scores, int32_t* chosen, int64_t k) {
    for (size_t e = 0; e < scores_.size(); ++e) {
      scores_[e] = scores[static_cast<int64_t>(e)] + (bias_ != nullptr ? bias_[e] : 0.0f);
    }
    limit_groups();
    for (int64_t j = 0; j < k; ++j) {
      const size_t best = largest(scores_, taken_);
      taken_[best] = true;
      chosen[j] = static_cast<int32_t>(best);
    }
  }

 private:
  /// The first of the largest that are not taken; valid for any values, also those that are no numbers.
  static size_t largest(const std::vector<float>& values, const std::vector<bool>& taken) {
    size_t best = values.size();
    for (size_t i = 0; i < values.size(); ++i) {
      if (!taken[i] && (best == values.size() || values[i] > values[best])) best = i;
    }
    return best;
  }

  // Takes the experts of all groups but the best.
  void limit_groups() {
    const bool limited = options_.groups_per_token < options_.num_groups;
    taken_.assign(scores_.size(), limited);
    if (!limited) return;
    const size_t width = scores_.size() / group_taken_.size();
    std::vector<float> sums;
    for (size_t g = 0; g < group_taken_.size(); ++g) {
      std::vector<float> group(scores_.begin() + static_cast<std::ptrdiff_t>(g * width),
                               scores_.begin() + static_cast<std::ptrdiff_t>((g + 1) * width));
      const size_t two = std::min<size_t>(2, width);
      std::partial_sort(group.begin(), group.begin() + static_cast<std::ptrdiff_t>(two), group.end(),
                        std::greater<>());
      sums.push_back(two == 2 ? group[0] + group[1] : group[0]);
    }
    group_taken_.assign(sums.size(), false);
    for (int i = 0; i < options_.groups_per_token; ++i) {
      const size_t g = largest(sums, group_taken_);
      group_taken_[g] = true;
      std::fill_n(taken_.begin() + static_cast<std::ptrdiff_t>(g * width), width, false);
    }
  }

  const RouteOptions& options_;
  const float* bias_;
  std::vector<float> scores_;
  std::vector<bool> taken_, group_taken_;
};

/// Sum of the chosen scores, which normalised gates are divided by.
float sum_of_chosen(const Scores& scores, const int32_t* chosen, int64_t k) {
  float sum = 0;
  for (int64_t j = 0; j < k; ++j) sum += scores[chosen[j]];
  return std::max(sum, 1e-20f);
}

}  // namespace

void route(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& bias,
           const Tensor& probabilities, const Tensor& log_sum, const Tensor& chosen, const Tensor& gates) {
  const int64_t num_experts = logits.dim(1), k = chosen.dim(1);
  parallel_for(ctx.num_threads(), logits.dim(0), row_grain(8 * num_experts), [&](int64_t begin, int64_t end) {
    Scores scores(options, num_experts);
    Chooser chooser(options, num_experts, data_or_null<float>(bias));
    for (int64_t n = begin; n < end; ++n) {
      scores.read(logits.data<float>() + n * num_experts);
      log_sum.data<float>()[n] = scores.log_sum();
      for (int64_t e = 0; e < num_experts; ++e)
        probabilities.data<float>()[n * num_experts + e] = scores.probability(e);
      int32_t* experts = chosen.data<int32_t>() + n * k;
      chooser.choose(scores, experts, k);
      const float factor =
          options.gate_scale / (options.normalize ? sum_of_chosen(scores, experts, k) : 1.0f);
      for (int64_t j = 0; j < k; ++j) gates.data<float>()[n * k + j] = scores[experts[j]] * factor;
    }
  });
}

void route_backward(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& log_sum,
                    const Tensor& chosen, const Tensor& dgates, const Tensor& dprobabilities,
                    const Tensor& dsquares, const Tensor& dlogits) {
  const int64_t rows = logits.dim(0), num_experts = logits.dim(1), k = chosen.dim(1);
  const int64_t run = dsquares ? rows / dsquares.dim(0) : rows;
  parallel_for(ctx.num_threads(), rows, row_grain(8 * num_experts), [&](int64_t begin, int64_t end) {
    Scores scores(options, num_experts);
    std::vector<float> gradient(static_cast<size_t>(num_experts));  // of the scores
    for (int64_t n = begin; n < end; ++n) {
      const float* logit = logits.data<float>() + n * num_experts;
      float* out = dlogits.data<float>() + n * num_experts;
      scores.read(logit);
      std::ranges::fill(gradient, 0.0f);
      if (dprobabilities) {
        // p = factor * score, where under sigmoid the factor is one over the sum of all scores.
        const float* dp = dprobabilities.data<float>() + n / run * num_experts;
        float mean = 0;
        if (options.sigmoid) {
          for (int64_t e = 0; e < num_experts; ++e) mean += dp[e] * scores.probability(e);
        }
        for (int64_t e = 0; e < num_experts; ++e)
          gradient[static_cast<size_t>(e)] = (dp[e] - mean) * scores.factor();
      }
      const int32_t* experts = chosen.data<int32_t>() + n * k;
      const float* dgate = dgates.data<float>() + n * k;
      const float sum = options.normalize ? sum_of_chosen(scores, experts, k) : 1.0f;
      float mean = 0;
      if (options.normalize) {
        for (int64_t j = 0; j < k; ++j) mean += dgate[j] * scores[experts[j]] / sum;
      }
      for (int64_t j = 0; j < k; ++j)
        gradient[static_cast<size_t>(experts[j])] += options.gate_scale * (dgate[j] - mean) / sum;
      if (options.sigmoid) {
        for (int64_t e = 0; e < num_experts; ++e)
          out[e] = gradient[static_cast<size_t>(e)] * scores[e] * (1.0f - scores[e]);
      } else {
        float dot = 0;
        for (int64_t e = 0; e < num_experts; ++e) dot += gradient[static_cast<size_t>(e)] * scores[e];
        for (int64_t e = 0; e < num_experts; ++e)
          out[e] = (gradient[static_cast<size_t>(e)] - dot) * scores[e];
      }
      if (!dsquares || dsquares.data<float>()[n / run] == 0) continue;
      const float of_log_sum = 2.0f * dsquares.data<float>()[n / run] * log_sum.data<float>()[n];
      for (int64_t e = 0; e < num_experts; ++e)
        out[e] += of_log_sum * std::exp(logit[e] - log_sum.data<float>()[n]);
    }
  });
}

void count_choices(Context&, const Tensor& chosen, const Tensor& counts) {
  const int64_t runs = counts.dim(0), num_experts = counts.dim(1), per_run = chosen.numel() / runs;
  expect_indices("count_choices", "chosen", chosen, num_experts);
  std::fill_n(counts.data<int64_t>(), counts.numel(), 0);
  for (int64_t i = 0; i < chosen.numel(); ++i)
    ++counts.data<int64_t>()[i / per_run * num_experts + chosen.data<int32_t>()[i]];
}

void assign_slots(Context&, const Tensor& chosen, const Tensor& base, const Tensor& ahead, int64_t capacity,
                  const Tensor& slots) {
  const int64_t runs = base.dim(0), num_experts = base.dim(1), per_run = chosen.numel() / runs;
  std::vector<int64_t> queued(static_cast<size_t>(base.numel()), 0);
  for (int64_t i = 0; i < chosen.numel(); ++i) {
    const int64_t queue = i / per_run * num_experts + chosen.data<int32_t>()[i];
    const int64_t place = queued[static_cast<size_t>(queue)]++;
    const bool fits = ahead.data<int64_t>()[queue] + place < capacity;
    slots.data<int32_t>()[i] = fits ? static_cast<int32_t>(base.data<int64_t>()[queue] + place) : -1;
  }
}

}  // namespace trireme::ops::cpu
