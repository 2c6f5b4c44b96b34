#include "runtime/ops/training/few_tokens.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "runtime/ops/cpu/likeliest_logits.h"
#include "runtime/ops/cpu/logit_rows.h"
#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

constexpr float kNoLogit = -std::numeric_limits<float>::infinity(),
                kNoNumber = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kDrawBlock = 1024;  // columns that are summed at once, to be looked at where a draw falls

TRIREME_VECTORIZED void cap_logits(float* x, int64_t n, float cap) {
  for (int64_t i = 0; i < n; ++i) {
    const float capped = cap * fast_tanh(x[i] / cap);
    x[i] = x[i] > kNoLogit ? capped : x[i];
  }
}

/// Rows of logits as f32 under the cap; one a thread.
class CappedRow {
 public:
  CappedRow(const Columns& logits, const LogitSoftmax& softmax) : logits_(logits), cap_(softmax.soft_cap) {}

  std::span<const float> read(int64_t row) {
    const auto n = static_cast<size_t>(logits_.count);
    if (logits_.dtype() == DType::f32 && cap_ == 0) return {logits_.row<float>(row), n};
    values_.resize(n);
    with_compute_type(logits_.dtype(),
                      [&]<class T>(T) { convert_range(logits_.row<T>(row), values_.data(), logits_.count); });
    if (cap_ > 0) cap_logits(values_.data(), logits_.count, cap_);
    return values_;
  }

 private:
  const Columns& logits_;
  float cap_;
  std::vector<float> values_;
};

template <class Body>
void each_row(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, const Body& body) {
  parallel_for(ctx.num_threads(), logits.rows(), row_grain(logits.count), [&](int64_t begin, int64_t end) {
    CappedRow row(logits, softmax);
    for (int64_t r = begin; r < end; ++r) body(r, row.read(r));
  });
}

bool is_empty(std::span<const float> logits) {
  return std::ranges::all_of(logits, [](float x) { return x == kNoLogit; });
}

struct PartStatistics {
  double largest, sum;
};

/// What all parts of the vocabulary say of a row.
struct RowSums {
  RowSums(const Tensor& statistics, int64_t row, float temperature)
      : parts(statistics.dim(0)),
        rows(statistics.dim(1)),
        at(reinterpret_cast<const PartStatistics*>(statistics.data<double>()) + row),
        factor(1.0 / static_cast<double>(temperature)) {
    for (int64_t p = 0; p < parts; ++p) largest = std::max(largest, part(p).largest);
    for (int64_t p = 0; p < parts; ++p) total += share(p);
  }

  const PartStatistics& part(int64_t p) const { return at[p * rows]; }
  /// The part's sum, of exp((logit - largest) / temperature).
  double share(int64_t p) const {
    return part(p).sum == 0 ? 0 : part(p).sum * std::exp((part(p).largest - largest) * factor);
  }
  bool is_sound() const { return total > 0 && total < std::numeric_limits<double>::infinity(); }

  int64_t parts, rows;
  const PartStatistics* at;
  double factor, largest = -std::numeric_limits<double>::infinity(), total = 0;
};

void clear_row(const Tensor& ids, const Tensor& probabilities, int64_t row, bool is_sound) {
  const int64_t k = ids.dim(1);
  std::fill_n(ids.data<int32_t>() + row * k, k, -1);
  std::fill_n(probabilities.data<float>() + row * k, k, 0.0f);
  if (is_sound) return;
  ids.data<int32_t>()[row * k] = 0;
  probabilities.data<float>()[row * k] = kNoNumber;
}

/// Draws of a row in one part of the vocabulary.
class PartDraws {
 public:
  PartDraws(std::span<const float> logits, double largest, double factor)
      : logits_(logits), largest_(static_cast<float>(largest)), factor_(factor) {
    double sum = 0;
    for (size_t b = 0; b < logits.size(); b += kDrawBlock)
      ends_.push_back(sum += sum_of_exps(block(b), largest_, factor_));
  }

  /// The column at which the sum of exp((logit - largest) / temperature) passes `at`, the last one that has
  /// any of it where rounding leaves more.
  int64_t column(double at) {
    auto end = std::ranges::upper_bound(ends_, at);
    if (end == ends_.end()) end = std::ranges::lower_bound(ends_, ends_.back());
    const auto b = static_cast<size_t>(end - ends_.begin()) * kDrawBlock;
    if (b != read_ || weights_.empty()) {
      const std::span<const float> values = block(b);
      weights_.resize(values.size());
      exps_of(values, largest_, factor_, weights_);
      read_ = b;
    }
    double sum = end == ends_.begin() ? 0 : *(end - 1);
    size_t last = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      if (weights_[i] == 0) continue;
      last = i;
      if ((sum += weights_[i]) > at) break;
    }
    return static_cast<int64_t>(b + last);
  }

 private:
  std::span<const float> block(size_t begin) const {
    return logits_.subspan(begin, std::min<size_t>(kDrawBlock, logits_.size() - begin));
  }

  std::span<const float> logits_;
  float largest_;
  double factor_;
  std::vector<double> ends_;     // of the sums of the blocks
  std::vector<double> weights_;  // of the block that begins at read_
  size_t read_ = 0;
};

}  // namespace

void softmax_statistics(Context& ctx, const Columns& logits, const LogitSoftmax& softmax,
                        const Tensor& statistics) {
  auto* out = reinterpret_cast<PartStatistics*>(statistics.data<double>());
  each_row(ctx, logits, softmax, [&](int64_t row, std::span<const float> values) {
    const LargestLogit largest = values.empty() ? LargestLogit{.is_sound = false} : largest_logit(values);
    if (largest.is_sound)
      out[row] = {largest.value,
                  sum_of_exps(values, largest.value, 1.0 / static_cast<double>(softmax.temperature))};
    else
      out[row] = {kNoLogit, is_empty(values) ? 0.0 : static_cast<double>(kNoNumber)};
  });
}

void likeliest_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                       const Tensor& ids, const Tensor& values) {
  const int64_t k = ids.dim(1);
  each_row(ctx, logits, softmax, [&](int64_t row, std::span<const float> all) {
    std::vector<float> sound;
    if (std::ranges::any_of(all, [](float x) { return x != x; })) {
      sound.assign(all.begin(), all.end());
      for (float& x : sound) x = x != x ? kNoLogit : x;
      all = sound;
    }
    std::vector<RankedToken> found = likeliest_tokens(all, k);
    while (!found.empty() && found.back().logit == kNoLogit) found.pop_back();
    int32_t* id = ids.data<int32_t>() + row * k;
    float* value = values.data<float>() + row * k;
    for (int64_t i = 0; i < k; ++i) {
      const bool is_there = i < std::ssize(found);
      id[i] = is_there ? found[static_cast<size_t>(i)].token + static_cast<int32_t>(first) : -1;
      value[i] = is_there ? found[static_cast<size_t>(i)].logit : kNoLogit;
    }
  });
}

void merge_likeliest(Context& ctx, const LogitSoftmax& softmax, const Tensor& statistics,
                     const Tensor& part_ids, const Tensor& part_values, const Tensor& ids,
                     const Tensor& probabilities) {
  const int64_t rows = ids.dim(0), k = ids.dim(1), here = part_ids.dim(2);
  parallel_for(ctx.num_threads(), rows, row_grain(16 * k), [&](int64_t begin, int64_t end) {
    std::vector<RankedToken> all;
    for (int64_t row = begin; row < end; ++row) {
      const RowSums sums(statistics, row, softmax.temperature);
      clear_row(ids, probabilities, row, sums.is_sound());
      if (!sums.is_sound()) continue;
      all.clear();
      for (int64_t p = 0; p < sums.parts; ++p) {
        for (int64_t i = (p * rows + row) * here; i < (p * rows + row + 1) * here; ++i) {
          if (part_ids.data<int32_t>()[i] >= 0)
            all.push_back({part_values.data<float>()[i], part_ids.data<int32_t>()[i]});
        }
      }
      std::ranges::sort(all, is_likelier);
      for (int64_t i = 0; i < std::min(k, std::ssize(all)); ++i) {
        const RankedToken& token = all[static_cast<size_t>(i)];
        const double weight = std::exp((static_cast<double>(token.logit) - sums.largest) * sums.factor);
        ids.data<int32_t>()[row * k + i] = token.token;
        probabilities.data<float>()[row * k + i] = static_cast<float>(weight / sums.total);
      }
    }
  });
}

void draw_columns(Context& ctx, const Columns& logits, const LogitSoftmax& softmax, int64_t first,
                  int64_t part, const DrawOptions& options, const Tensor& places, const Tensor& statistics,
                  const Tensor& draws) {
  const int64_t n = draws.dim(1);
  each_row(ctx, logits, softmax, [&](int64_t row, std::span<const float> values) {
    int32_t* out = draws.data<int32_t>() + row * n;
    std::fill_n(out, n, -1);
    const RowSums sums(statistics, row, softmax.temperature);
    const double share = sums.share(part);
    if (!sums.is_sound() || share == 0) return;
    double begin = 0, behind = 0;
    for (int64_t p = 0; p < part; ++p) begin += sums.share(p);
    for (int64_t p = part + 1; p < sums.parts; ++p) behind += sums.share(p);
    PartDraws here(values, sums.part(part).largest, sums.factor);
    for (int64_t i = 0; i < n; ++i) {
      const double at = options.uniform(options.sample_of(row), places.data<int32_t>()[row], i) * sums.total;
      if (at < begin || (behind > 0 && at >= begin + share)) continue;
      out[i] = static_cast<int32_t>(first + here.column((at - begin) / share * sums.part(part).sum));
    }
  });
}

void merge_draws(Context& ctx, const Tensor& draws, const Tensor& ids, const Tensor& probabilities) {
  const int64_t rows = draws.dim(0), n = draws.dim(1);
  parallel_for(ctx.num_threads(), rows, row_grain(16 * n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      std::vector<int32_t> drawn(draws.data<int32_t>() + row * n, draws.data<int32_t>() + (row + 1) * n);
      std::ranges::sort(drawn);
      clear_row(ids, probabilities, row, drawn.back() >= 0);
      int64_t count = 0;
      for (size_t i = 0; i < drawn.size();) {
        size_t next = i + 1;
        while (next < drawn.size() && drawn[next] == drawn[i]) ++next;
        if (drawn[i] >= 0) {
          ids.data<int32_t>()[row * n + count] = drawn[i];
          probabilities.data<float>()[row * n + count] = static_cast<float>(next - i) / static_cast<float>(n);
          ++count;
        }
        i = next;
      }
    }
  });
}

}  // namespace trireme::ops::cpu
