#include "runtime/ops/training/cross_entropy.h"

#include <limits>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

namespace {

// Sums run in lanes of a fixed number, block by block, and the blocks are added in double: the same value
// with every instruction set, and no loss of digits over a large vocabulary.
constexpr int64_t kLanes = 32;
constexpr int64_t kBlock = 32 * kLanes;

// What a logit counts as, and the derivative of that.
struct Plain {
  TRIREME_INLINE float operator()(float x) const { return x; }
  TRIREME_INLINE float slope(float) const { return 1.0f; }
};
struct SoftCap {
  float cap;
  TRIREME_INLINE float operator()(float x) const { return cap * fast_tanh(x / cap); }
  TRIREME_INLINE float slope(float x) const {
    const float t = fast_tanh(x / cap);
    return 1.0f - t * t;
  }
};

template <class T>
TRIREME_INLINE float max_of(const T* x, int64_t n) {
  float lanes[kLanes];
  for (float& lane : lanes) lane = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const float value = x[i + j];
      lanes[j] = value > lanes[j] ? value : lanes[j];
    }
  }
  float max = lanes[0];
  for (const float lane : lanes) max = lane > max ? lane : max;
  for (; i < n; ++i) max = x[i] > max ? static_cast<float>(x[i]) : max;
  return max;
}

template <class T, class Logit>
TRIREME_INLINE double sum_of_exponents(const T* x, int64_t n, float max, const Logit& logit) {
  double total = 0;
  for (int64_t block = 0; block < n; block += kBlock) {
    const int64_t end = std::min(n, block + kBlock);
    float lanes[kLanes] = {};
    int64_t i = block;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t j = 0; j < kLanes; ++j) lanes[j] += fast_exp(logit(x[i + j]) - max);
    }
    float sum = 0;
    for (const float lane : lanes) sum += lane;
    for (; i < end; ++i) sum += fast_exp(logit(x[i]) - max);
    total += sum;
  }
  return total;
}

template <class T, class Logit>
TRIREME_INLINE double sum_of_logits(const T* x, int64_t n, const Logit& logit) {
  double total = 0;
  for (int64_t block = 0; block < n; block += kBlock) {
    const int64_t end = std::min(n, block + kBlock);
    float lanes[kLanes] = {};
    int64_t i = block;
    for (; i + kLanes <= end; i += kLanes) {
      for (int64_t j = 0; j < kLanes; ++j) lanes[j] += logit(x[i + j]);
    }
    float sum = 0;
    for (const float lane : lanes) sum += lane;
    for (; i < end; ++i) sum += logit(x[i]);
    total += sum;
  }
  return total;
}

// As if there were no target here.
template <class T>
TRIREME_INLINE void gradient_of(const T* x, int64_t n, float max, const CrossEntropyGradient& g, T* dx,
                                const Plain&) {
  for (int64_t i = 0; i < n; ++i) store(dx + i, g.factor * fast_exp(x[i] - max) - g.uniform);
}
template <class T>
TRIREME_INLINE void gradient_of(const T* x, int64_t n, float max, const CrossEntropyGradient& g, T* dx,
                                const SoftCap& logit) {
  for (int64_t i = 0; i < n; ++i) {
    const float t = fast_tanh(x[i] / logit.cap);
    store(dx + i, (g.factor * fast_exp(logit.cap * t - max) - g.uniform) * (1.0f - t * t));
  }
}

struct RowLoss {
  float loss = 0, added = 0;
};

// What a row is to learn.
struct RowTarget {
  int32_t id;
  float weight;
  bool counts() const { return id != kIgnoredTarget && weight != 0; }
};

class RowTargets {
 public:
  RowTargets(const Tensor& targets, const Tensor& weights, int64_t num_columns)
      : ids_(targets.data<int32_t>()), weights_(weights ? weights.data<float>() : nullptr) {
    for (int64_t r = 0; r < targets.numel(); ++r) {
      TRIREME_CHECK(ids_[r] == kIgnoredTarget || (ids_[r] >= 0 && ids_[r] < num_columns),
                    "cross_entropy: targets[{}] is {}, the logits have {} columns", r, ids_[r], num_columns);
    }
  }
  RowTarget operator[](int64_t r) const { return {ids_[r], weights_ != nullptr ? weights_[r] : 1.0f}; }

 private:
  const int32_t* ids_;
  const float* weights_;  // or null: 1 each
};

// One row. dx may be x or null.
template <class T, class Logit>
TRIREME_INLINE RowLoss row_of(const T* x, int64_t n, const RowTarget& target, const CrossEntropyOptions& o,
                              T* dx, const Logit& logit) {
  if (!target.counts()) {
    for (int64_t i = 0; dx != nullptr && i < n; ++i) store(dx + i, 0.0f);
    return {};
  }
  const float max = logit(max_of(x, n)), raw = x[target.id], at_target = logit(raw);
  const double sum = sum_of_exponents(x, n, max, logit), log_sum = std::log(sum) + static_cast<double>(max);
  const double total = o.label_smoothing > 0 ? sum_of_logits(x, n, logit) : 0;
  if (dx != nullptr) {
    const CrossEntropyGradient g = cross_entropy_gradient(o, target.weight, sum, log_sum, n);
    gradient_of(x, n, max, g, dx, logit);
    store(dx + target.id, (g.factor * fast_exp(at_target - max) - g.at_target) * logit.slope(raw));
  }
  return {static_cast<float>(target.weight * (std::log(sum) + (static_cast<double>(max) - at_target))),
          cross_entropy_added(o, target.weight, log_sum, at_target, total, n)};
}

#define TRIREME_ROW_OF(T, Logit)                                                        \
  TRIREME_VECTORIZED RowLoss row(const T* x, int64_t n, const RowTarget& target,        \
                                 const CrossEntropyOptions& o, T* dx, const Logit& l) { \
    return row_of(x, n, target, o, dx, l);                                              \
  }
#define TRIREME_ROW(T) TRIREME_ROW_OF(T, Plain) TRIREME_ROW_OF(T, SoftCap)
TRIREME_EACH_COMPUTE_TYPE(TRIREME_ROW)

// A row whose logits here are all -inf, as if absent, must not make exp(-inf + inf) of them.
template <class T, class Logit>
TRIREME_INLINE void statistics_of(const T* x, int64_t n, float* max, float* sum, const Logit& logit) {
  *max = logit(max_of(x, n));
  *sum = static_cast<float>(sum_of_exponents(x, n, std::isinf(*max) && *max < 0 ? 0.0f : *max, logit));
}

#define TRIREME_PART_OF(T, Logit)                                                                         \
  TRIREME_VECTORIZED void statistics_row(const T* x, int64_t n, float* max, float* sum, const Logit& l) { \
    statistics_of(x, n, max, sum, l);                                                                     \
  }                                                                                                       \
  TRIREME_VECTORIZED double total_row(const T* x, int64_t n, const Logit& l) {                            \
    return sum_of_logits(x, n, l);                                                                        \
  }                                                                                                       \
  TRIREME_VECTORIZED void gradient_row(const T* x, int64_t n, float max, const CrossEntropyGradient& g,   \
                                       T* dx, const Logit& l) {                                           \
    gradient_of(x, n, max, g, dx, l);                                                                     \
  }
#define TRIREME_PART(T) TRIREME_PART_OF(T, Plain) TRIREME_PART_OF(T, SoftCap)
TRIREME_EACH_COMPUTE_TYPE(TRIREME_PART)

// Calls body with what the logits count as.
template <class Body>
void with_soft_cap(float soft_cap, const Body& body) {
  if (soft_cap > 0)
    body(SoftCap{soft_cap});
  else
    body(Plain{});
}

struct RowStatistics {
  float max, sum, target, total;
};
static_assert(sizeof(RowStatistics) == kCrossEntropyStatistics * sizeof(float));

// Of the whole row, from those of its parts.
struct WholeRow {
  float max = -std::numeric_limits<float>::infinity();
  double sum = 0, target = 0, total = 0;

  WholeRow(const RowStatistics* parts, int64_t num_parts, int64_t stride) {
    for (int64_t p = 0; p < num_parts; ++p) max = std::max(max, parts[p * stride].max);
    for (int64_t p = 0; p < num_parts; ++p) {
      const RowStatistics& part = parts[p * stride];
      sum += part.sum * std::exp(static_cast<double>(part.max) - max);
      target += part.target;
      total += part.total;
    }
  }
  double log_sum() const { return std::log(sum) + static_cast<double>(max); }
  RowLoss loss(const CrossEntropyOptions& o, float weight, int64_t num_columns) const {
    return {static_cast<float>(weight * (std::log(sum) + (static_cast<double>(max) - target))),
            cross_entropy_added(o, weight, log_sum(), target, total, num_columns)};
  }
};

void store_loss(const RowLoss& row, int64_t r, const Tensor& loss, const Tensor& added) {
  loss.data<float>()[r] = row.loss;
  if (added) added.data<float>()[r] = row.added;
}

}  // namespace

void cross_entropy(Context& ctx, const Columns& logits, const Tensor& targets,
                   const CrossEntropyOptions& options, const Tensor& loss, const Columns& dlogits,
                   const Tensor& added, const Tensor& weights) {
  const int64_t v = logits.count;
  const RowTargets rows(targets, weights, v);
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    with_soft_cap(options.soft_cap, [&](const auto& logit) {
      parallel_for(ctx.num_threads(), logits.rows(), row_grain(v), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          T* dx = dlogits ? dlogits.row<T>(r) : nullptr;
          store_loss(row(logits.row<T>(r), v, rows[r], options, dx, logit), r, loss, added);
        }
      });
    });
  });
}

void cross_entropy_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                              const TablePart& part, const CrossEntropyOptions& options,
                              const Tensor& statistics) {
  const int64_t v = logits.count;
  const RowTargets target_of(targets, {}, part.total);
  auto* rows = reinterpret_cast<RowStatistics*>(statistics.data<float>());
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    with_soft_cap(options.soft_cap, [&](const auto& logit) {
      parallel_for(ctx.num_threads(), logits.rows(), row_grain(v), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const T* x = logits.row<T>(r);
          statistics_row(x, v, &rows[r].max, &rows[r].sum, logit);
          const int64_t column = target_of[r].id - part.first;
          const bool here = target_of[r].counts() && column >= 0 && column < v;
          rows[r].target = here ? logit(x[column]) : 0.0f;
          rows[r].total = options.label_smoothing > 0 ? static_cast<float>(total_row(x, v, logit)) : 0.0f;
        }
      });
    });
  });
}

void cross_entropy_of_part(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                           const CrossEntropyOptions& options, const Tensor& statistics, const Tensor& loss,
                           const Columns& dlogits, const Tensor& added, const Tensor& weights) {
  const int64_t n = logits.rows(), v = logits.count;
  const RowTargets target_of(targets, weights, part.total);
  const auto* parts = reinterpret_cast<const RowStatistics*>(statistics.data<float>());
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    parallel_for(ctx.num_threads(), n, row_grain(v), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const RowTarget target = target_of[r];
        const WholeRow whole(parts + r, statistics.dim(0), n);
        store_loss(target.counts() ? whole.loss(options, target.weight, part.total) : RowLoss(), r, loss,
                   added);
        if (!dlogits) continue;
        T* dx = dlogits.row<T>(r);
        if (!target.counts()) {
          std::fill_n(dx, v, T{});
          continue;
        }
        const CrossEntropyGradient g =
            cross_entropy_gradient(options, target.weight, whole.sum, whole.log_sum(), part.total);
        const int64_t column = target.id - part.first;
        const T* x = logits.row<T>(r);
        const bool here = column >= 0 && column < v;
        with_soft_cap(options.soft_cap, [&](const auto& logit) {
          const float slope =
              here ? logit.slope(x[column]) : 0.0f;  // before dx, which may be x, takes its place
          gradient_row(x, v, whole.max, g, dx, logit);
          if (!here) return;
          const float exponent = g.factor * fast_exp(static_cast<float>(whole.target) - whole.max);
          store(dx + column, (exponent - g.at_target) * slope);
        });
      }
    });
  });
}

}  // namespace trireme::ops::cpu
