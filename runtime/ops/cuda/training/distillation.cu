// A block works on a row of logits, and of the teacher's.
#include "runtime/ops/training/distillation.h"

#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"

namespace trireme::ops::cuda {

namespace {

constexpr int kMostThreads = 512;
constexpr size_t kScratchBytes = kMostThreads / kWarp * sizeof(double);

__device__ float no_logit() { return __uint_as_float(0xff800000u); }

/// The columns here that are among a row's few tokens, a bit each; in shared memory, behind the scratch.
struct FewColumns {
  unsigned* words;

  __device__ unsigned of_pack(int64_t column) const { return words[column / 32] >> (column % 32) & 0xffu; }
};
constexpr int64_t num_words(int64_t columns) { return ceil_div(columns, 32); }

/// Of the whole row, from those of its parts; as the CPU body's.
struct WholeDistilledRow {
  float max = no_logit(), at_max = no_logit(), other_max = no_logit();
  double sum = 0, target = 0, total = 0, at_sum = 0, other_sum = 0;

  __device__ WholeDistilledRow(const DistillationStatistics* parts, int64_t num_parts, int64_t stride,
                               double factor) {
    for (int64_t p = 0; p < num_parts; ++p) {
      const DistillationStatistics& part = parts[p * stride];
      max = fmaxf(max, part.max);
      at_max = fmaxf(at_max, part.at_max);
      other_max = fmaxf(other_max, part.other_max);
    }
    for (int64_t p = 0; p < num_parts; ++p) {
      const DistillationStatistics& part = parts[p * stride];
      sum += scaled(part.sum, part.max, max, 1);
      at_sum += scaled(part.at_sum, part.at_max, at_max, factor);
      other_sum += scaled(part.other_sum, part.other_max, other_max, factor);
      target += double{part.target};
      total += double{part.total};
    }
  }
  __device__ static double scaled(float sum, float from, float to, double factor) {
    return from == no_logit() ? 0.0 : double{sum} * exp((double{from} - double{to}) * factor);
  }
  __device__ double log_sum() const { return log(sum) + double{max}; }
};

struct Terms {
  float q, divergence, slope;
};

/// Of a token of both, from the logarithms of its probabilities.
__device__ Terms terms_of(const Divergence& d, float log_p, float log_q) {
  const float p = expf(log_p), q = expf(log_q);
  if (d.is_forward()) return {q, p * (log_p - log_q), -p};
  if (d.is_reverse()) return {q, q * (log_q - log_p), q * (log_q - log_p)};
  const auto mix = static_cast<float>(d.mix), of_teacher = static_cast<float>(d.of_teacher);
  const float of_student = 1.0f - of_teacher;
  const float m = fmaxf(mix * p + (1.0f - mix) * q, 1.2e-38f), log_m = logf(m), more = log_q - log_m;
  return {q, of_teacher * p * (log_p - log_m) + of_student * q * more,
          q * (of_student * more - (1.0f - mix) * (of_teacher * p + of_student * q) / m)};
}

__device__ double log_of(double probability) {
  return log(probability > kLeastProbability ? probability : kLeastProbability);
}

template <class T>
struct Distilled {
  const T* x;
  T* dx;  // or null
  int64_t rows, width, stride, dx_stride;
  TablePart part;
  const int32_t* targets;
  const float* weights;  // or null: 1 each
  const void* teacher;   // or null: few tokens
  DType teacher_type;
  int64_t teacher_stride;
  float teacher_cap;
  const int32_t* ids;
  const float* probabilities;
  int64_t num_few;
  bool has_rest;
  DistillationOptions options;
  float* loss;
  float* added;  // or null

  __device__ float factor() const { return 1.0f / options.temperature; }
  __device__ float weight(int64_t r) const { return weights == nullptr ? 1.0f : weights[r]; }
  __device__ bool counts(int64_t r) const {
    if (targets[r] != kIgnoredTarget) expect_index(targets[r], part.total);
    return targets[r] != kIgnoredTarget && weight(r) != 0;
  }
  __device__ float capped(float logit) const {
    const float cap = options.entropy.soft_cap;
    return cap > 0 ? cap * tanhf(logit / cap) : logit;
  }
  __device__ float slope_of_cap(float logit) const {
    const float cap = options.entropy.soft_cap;
    return cap > 0 ? 1.0f - (logit / cap) * (logit / cap) : 1.0f;
  }
  __device__ void load_student(int64_t r, int64_t c, int count, float (&values)[kPack]) const {
    load(x + r * stride + c, count, values);
    for (float& value : values) value = capped(value);
  }
  /// -inf where the teacher has no such token.
  __device__ void load_teacher(int64_t r, int64_t c, int count, float (&values)[kPack]) const {
    const int64_t at = r * teacher_stride + c;
    if (teacher_type == DType::f32)
      load(static_cast<const float*>(teacher) + at, count, values);
    else if (teacher_type == DType::bf16)
      load(static_cast<const bf16*>(teacher) + at, count, values);
    else
      load(static_cast<const fp16*>(teacher) + at, count, values);
    if (teacher_cap <= 0) return;
    for (float& value : values)
      value = value == no_logit() ? value : teacher_cap * tanhf(value / teacher_cap);
  }
  /// Calls take(c, count) for this thread's packs of a row.
  template <class Take>
  __device__ void for_each_pack(const Take& take) const {
    for (int64_t c = int64_t{threadIdx.x} * kPack; c < width; c += int64_t{blockDim.x} * kPack)
      take(c, pack_size(c, width));
  }

  __device__ int32_t id(int64_t r, int64_t i) const {
    const int32_t id = ids[r * num_few + i];
    if (id != -1) expect_index(id, part.total);
    return id;
  }
  /// The column here of a row's i-th token, -1 where it has none.
  __device__ int64_t column(int64_t r, int64_t i) const {
    const int64_t token = id(r, i), here = token - part.first;
    return token >= 0 && here >= 0 && here < width ? here : -1;
  }
  __device__ double probability(int64_t r, int64_t i) const {
    return id(r, i) < 0 ? 0.0 : double{probabilities[r * num_few + i]};
  }
  __device__ double rest(int64_t r) const {
    double left = 1;
    for (int64_t i = 0; i < num_few; ++i) left -= probability(r, i);
    return left > kLeastRest ? left : kLeastRest;
  }
  /// All threads of the block call it.
  __device__ void mark_few(int64_t r, const FewColumns& few) const {
    for (int64_t i = threadIdx.x; i < num_words(width); i += blockDim.x) few.words[i] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < num_few; i += blockDim.x) {
      const int64_t c = column(r, i);
      if (c >= 0) atomicAdd(few.words + c / 32, 1u << (c % 32));
    }
    __syncthreads();
  }

  struct Outcome {
    double q;
    DivergenceTerm term;
  };
  __device__ Outcome outcome(double p, double log_q) const {
    const double q = exp(log_q);
    if (!has_rest) return {q, {-p * log_q, -p}};
    const Divergence& d = options.divergence;
    return {q, divergence_term(d, p, log_of(p), q, log_q, log_of(d.mix * p + (1 - d.mix) * q))};
  }
  __device__ Outcome few_outcome(int64_t r, int64_t i, float logit, const WholeDistilledRow& whole) const {
    return outcome(probability(r, i),
                   (double{logit} - double{whole.at_max}) / double{options.temperature} - log(whole.at_sum));
  }
  __device__ Outcome rest_outcome(int64_t r, const WholeDistilledRow& whole) const {
    const double log_q =
        whole.other_sum > 0 ? (double{whole.other_max} - double{whole.at_max}) / double{options.temperature} +
                                  log(whole.other_sum / whole.at_sum)
                            : log_of(0);
    return outcome(rest(r), log_q);
  }
};

/// A thread's largest logits, then the sums of exponents; `is_common(c, j)` says whether a logit is among
/// those of at_max.
template <class T>
__device__ void find_statistics(const Distilled<T>& d, int64_t r, double* scratch, const FewColumns& few,
                                DistillationStatistics& s) {
  auto* floats = reinterpret_cast<float*>(scratch);
  const bool whole_teacher = d.teacher != nullptr;
  float max = no_logit(), at_max = no_logit(), other_max = no_logit();
  float x[kPack], t[kPack];
  // Sorts a pack: t[j] is the other row's logit, or -inf; x[j] is of the tokens of both where `both` has it.
  const auto load_both = [&](int64_t c, int count) {
    d.load_student(r, c, count, x);
    if (whole_teacher) return d.load_teacher(r, c, count, t);
    const unsigned marked = few.of_pack(c);
    for (int j = 0; j < kPack; ++j) t[j] = (marked >> j & 1u) != 0 ? no_logit() : x[j];
  };
  d.for_each_pack([&](int64_t c, int count) {
    load_both(c, count);
    for (int j = 0; j < count; ++j) {
      max = fmaxf(max, x[j]);
      other_max = fmaxf(other_max, t[j]);
      if (!whole_teacher || t[j] != no_logit()) at_max = fmaxf(at_max, x[j]);
    }
  });
  max = block_reduce(max, Max{}, floats);
  at_max = block_reduce(at_max, Max{}, floats);
  other_max = block_reduce(other_max, Max{}, floats);
  float sum = 0, at_sum = 0, other_sum = 0;
  double total = 0;
  const float factor = d.factor();
  d.for_each_pack([&](int64_t c, int count) {
    load_both(c, count);
    for (int j = 0; j < count; ++j) {
      const bool other = t[j] != no_logit();
      sum += expf(x[j] - max);
      if (!whole_teacher || other) at_sum += expf((x[j] - at_max) * factor);
      if (other) other_sum += expf((t[j] - other_max) * factor);
      total += double{x[j]};
    }
  });
  const auto sum_or_none = [&](float largest, float terms) {
    const double reduced = block_reduce(double{terms}, Sum{}, scratch);
    return largest == no_logit() ? 0.0f : static_cast<float>(reduced);
  };
  sum = sum_or_none(max, sum);
  at_sum = sum_or_none(at_max, at_sum);
  other_sum = sum_or_none(other_max, other_sum);
  total = block_reduce(total, Sum{}, scratch);
  s = {max, sum, 0, static_cast<float>(total), at_max, at_sum, other_max, other_sum};
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    statistics_kernel(Distilled<T> d, DistillationStatistics* statistics) {
  auto* scratch = shared_memory<double>();
  const FewColumns few{reinterpret_cast<unsigned*>(scratch + kMostThreads / kWarp)};
  for (int64_t r = blockIdx.x; r < d.rows; r += gridDim.x) {
    if (d.teacher == nullptr) d.mark_few(r, few);
    DistillationStatistics s;
    find_statistics(d, r, scratch, few, s);
    __syncthreads();
    if (threadIdx.x != 0) continue;
    const int64_t column = d.targets[r] - d.part.first;
    const bool here = d.counts(r) && column >= 0 && column < d.width;
    s.target = here ? d.capped(widen(d.x[r * d.stride + column])) : 0.0f;
    if (d.options.entropy.label_smoothing <= 0) s.total = 0;
    statistics[r] = s;
  }
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    divergence_kernel(Distilled<T> d, const DistillationStatistics* statistics, int64_t num_parts,
                      DivergenceSums* sums) {
  auto* scratch = shared_memory<double>();
  for (int64_t r = blockIdx.x; r < d.rows; r += gridDim.x) {
    double divergence = 0, slope = 0;
    if (d.counts(r)) {
      const WholeDistilledRow whole(statistics + r, num_parts, d.rows, 1 / double{d.options.temperature});
      if (d.teacher != nullptr) {
        const float log_q = static_cast<float>(log(whole.at_sum)),
                    log_p = static_cast<float>(log(whole.other_sum)), factor = d.factor();
        float x[kPack], t[kPack];
        d.for_each_pack([&](int64_t c, int count) {
          d.load_student(r, c, count, x);
          d.load_teacher(r, c, count, t);
          for (int j = 0; j < count; ++j) {
            if (t[j] == no_logit()) continue;
            const Terms terms = terms_of(d.options.divergence, (t[j] - whole.other_max) * factor - log_p,
                                         (x[j] - whole.at_max) * factor - log_q);
            divergence += double{terms.divergence};
            slope += double{terms.slope};
          }
        });
      } else {
        for (int64_t i = threadIdx.x; i < d.num_few; i += blockDim.x) {
          const int64_t c = d.column(r, i);
          if (c < 0) continue;
          const DivergenceTerm term = d.few_outcome(r, i, d.capped(widen(d.x[r * d.stride + c])), whole).term;
          divergence += term.divergence;
          slope += term.slope;
        }
      }
    }
    divergence = block_reduce(divergence, Sum{}, scratch);
    slope = block_reduce(slope, Sum{}, scratch);
    if (threadIdx.x == 0) sums[r] = {static_cast<float>(divergence), static_cast<float>(slope)};
  }
}

/// A row's gradient; targets' columns may lie outside. dx may be x.
template <class T>
__device__ void store_gradient_of_both(const Distilled<T>& d, int64_t r, const WholeDistilledRow& whole,
                                       const DistillationGradient& g, float slope) {
  const float log_q = static_cast<float>(log(whole.at_sum)), log_p = static_cast<float>(log(whole.other_sum)),
              factor = d.factor();
  const auto entropy = static_cast<float>(g.factor), uniform = static_cast<float>(g.uniform),
             at_target = static_cast<float>(g.at_target), scale = static_cast<float>(g.of_divergence);
  const int64_t target = d.targets[r] - d.part.first;
  float x[kPack], t[kPack];
  d.for_each_pack([&](int64_t c, int count) {
    d.load_student(r, c, count, x);
    d.load_teacher(r, c, count, t);
    for (int j = 0; j < count; ++j) {
      float dx = entropy * expf(x[j] - whole.max) - (c + j == target ? at_target : uniform);
      if (t[j] != no_logit()) {
        const Terms terms = terms_of(d.options.divergence, (t[j] - whole.other_max) * factor - log_p,
                                     (x[j] - whole.at_max) * factor - log_q);
        dx += scale * (terms.slope - terms.q * slope);
      }
      x[j] = dx * d.slope_of_cap(x[j]);
    }
    store(d.dx + r * d.dx_stride + c, count, x);
  });
}

/// The same of few tokens. Their columns of dx keep the logits until all others are done.
template <class T>
__device__ void store_gradient_of_few(const Distilled<T>& d, int64_t r, const WholeDistilledRow& whole,
                                      const DistillationGradient& g, double slope, const FewColumns& few) {
  float base = whole.at_max, others = 0;
  if (d.has_rest) {
    const auto rest = d.rest_outcome(r, whole);
    base = whole.other_sum > 0 ? whole.other_max : 0.0f;
    if (whole.other_sum > 0)
      others = static_cast<float>(g.of_divergence * (rest.term.slope - rest.q * slope) / whole.other_sum);
  } else {
    others = static_cast<float>(-g.of_divergence * slope / whole.at_sum);
  }
  const auto entropy = static_cast<float>(g.factor), uniform = static_cast<float>(g.uniform),
             at_target = static_cast<float>(g.at_target);
  const float factor = d.factor();
  const int64_t target = d.targets[r] - d.part.first;
  T* to = d.dx + r * d.dx_stride;
  float x[kPack];
  d.for_each_pack([&](int64_t c, int count) {
    load(d.x + r * d.stride + c, count, x);
    const unsigned marked = few.of_pack(c);
    for (int j = 0; j < count; ++j) {
      if ((marked >> j & 1u) != 0) continue;
      const float logit = d.capped(x[j]);
      x[j] = (entropy * expf(logit - whole.max) - (c + j == target ? at_target : uniform) +
              others * expf((logit - base) * factor)) *
             d.slope_of_cap(logit);
    }
    store(to + c, count, x);
  });
  __syncthreads();
  for (int64_t i = threadIdx.x; i < d.num_few; i += blockDim.x) {
    const int64_t c = d.column(r, i);
    if (c < 0) continue;
    const float logit = d.capped(widen(to[c]));
    const auto outcome = d.few_outcome(r, i, logit, whole);
    const double dx = g.factor * exp(double{logit} - double{whole.max}) -
                      (c == target ? g.at_target : g.uniform) +
                      g.of_divergence * (outcome.term.slope - outcome.q * slope);
    to[c] = narrowed<T>(static_cast<float>(dx) * d.slope_of_cap(logit));
  }
}

template <class T>
__device__ void store_nothing(const Distilled<T>& d, int64_t r) {
  if (threadIdx.x == 0) {
    d.loss[r] = 0;
    if (d.added != nullptr) d.added[r] = 0;
  }
  if (d.dx == nullptr) return;
  const float zeros[kPack] = {};
  d.for_each_pack([&](int64_t c, int count) { store(d.dx + r * d.dx_stride + c, count, zeros); });
}

template <class T>
__global__ void __launch_bounds__(kMostThreads)
    distillation_kernel(Distilled<T> d, const DistillationStatistics* statistics, const DivergenceSums* sums,
                        int64_t num_parts) {
  const FewColumns few{shared_memory<unsigned>()};
  for (int64_t r = blockIdx.x; r < d.rows; r += gridDim.x) {
    if (!d.counts(r)) {
      store_nothing(d, r);
      continue;
    }
    const WholeDistilledRow whole(statistics + r, num_parts, d.rows, 1 / double{d.options.temperature});
    double divergence = 0, slope = 0;
    for (int64_t p = 0; p < num_parts; ++p) {
      divergence += double{sums[p * d.rows + r].divergence};
      slope += double{sums[p * d.rows + r].slope};
    }
    if (d.teacher == nullptr && d.has_rest) {
      const DivergenceTerm rest = d.rest_outcome(r, whole).term;
      divergence += rest.divergence;
      slope += rest.slope;
    }
    if (threadIdx.x == 0) {
      const double entropy = log(whole.sum) + (double{whole.max} - whole.target);
      d.loss[r] = static_cast<float>(double{d.weight(r)} * entropy);
      if (d.added != nullptr)
        d.added[r] = distillation_added(d.options, d.weight(r), entropy, whole.log_sum(), whole.target,
                                        whole.total, divergence, d.part.total);
    }
    if (d.dx == nullptr) continue;
    const DistillationGradient g =
        distillation_gradient(d.options, d.weight(r), whole.sum, whole.log_sum(), d.part.total);
    if (d.teacher != nullptr) {
      store_gradient_of_both(d, r, whole, g, static_cast<float>(slope));
    } else {
      d.mark_few(r, few);
      store_gradient_of_few(d, r, whole, g, slope, few);
      __syncthreads();  // the next row's marks
    }
  }
}

template <class T>
Distilled<T> distilled_of(const Columns& logits, const Tensor& targets, const TablePart& part,
                          const TeacherOfRows& teacher, const DistillationOptions& options,
                          const Tensor& loss = {}, const Columns& dlogits = {}, const Tensor& added = {},
                          const Tensor& weights = {}) {
  return {.x = logits.data<T>(),
          .dx = data_or_null<T>(dlogits),
          .rows = logits.rows(),
          .width = logits.count,
          .stride = logits.stride(),
          .dx_stride = dlogits ? dlogits.stride() : 0,
          .part = part,
          .targets = targets.data<int32_t>(),
          .weights = data_or_null<float>(weights),
          .teacher = teacher.logits ? teacher.logits.raw() : nullptr,
          .teacher_type = teacher.logits ? teacher.logits.dtype() : DType::f32,
          .teacher_stride = teacher.logits ? teacher.logits.stride() : 0,
          .teacher_cap = teacher.soft_cap,
          .ids = data_or_null<int32_t>(teacher.ids),
          .probabilities = data_or_null<float>(teacher.probabilities),
          .num_few = teacher.ids ? teacher.ids.dim(1) : 0,
          .has_rest = teacher.has_rest,
          .options = options,
          .loss = data_or_null<float>(loss),
          .added = data_or_null<float>(added)};
}

unsigned threads_of(const Columns& logits) {
  return row_threads(ceil_div(logits.count, kPack), kMostThreads);
}

size_t few_bytes(const Columns& logits, const TeacherOfRows& teacher) {
  return teacher.ids ? static_cast<size_t>(num_words(logits.count)) * sizeof(unsigned) : 0;
}

template <class Row>
Row* rows_of(const Tensor& numbers) {
  return reinterpret_cast<Row*>(numbers.data<float>());
}

}  // namespace

void distillation_statistics(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, statistics_kernel<T>, num_blocks(logits.rows()), threads_of(logits),
           kScratchBytes + few_bytes(logits, teacher),
           distilled_of<T>(logits, targets, part, teacher, options),
           rows_of<DistillationStatistics>(statistics));
  });
}

void distillation_divergence(Context& ctx, const Columns& logits, const Tensor& targets,
                             const TablePart& part, const TeacherOfRows& teacher,
                             const DistillationOptions& options, const Tensor& statistics,
                             const Tensor& sums) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, divergence_kernel<T>, num_blocks(logits.rows()), threads_of(logits), kScratchBytes,
           distilled_of<T>(logits, targets, part, teacher, options),
           rows_of<DistillationStatistics>(statistics), statistics.dim(0), rows_of<DivergenceSums>(sums));
  });
}

void distillation(Context& ctx, const Columns& logits, const Tensor& targets, const TablePart& part,
                  const TeacherOfRows& teacher, const DistillationOptions& options, const Tensor& statistics,
                  const Tensor& sums, const Tensor& loss, const Columns& dlogits, const Tensor& added,
                  const Tensor& weights) {
  with_compute_type(logits.dtype(), [&]<class T>(T) {
    launch(ctx, distillation_kernel<T>, num_blocks(logits.rows()), threads_of(logits),
           few_bytes(logits, teacher),
           distilled_of<T>(logits, targets, part, teacher, options, loss, dlogits, added, weights),
           rows_of<DistillationStatistics>(statistics), rows_of<DivergenceSums>(sums), statistics.dim(0));
  });
}

}  // namespace trireme::ops::cuda
