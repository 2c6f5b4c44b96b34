// A warp a token: experts are few.
#include "runtime/ops/cuda/pack.cuh"
#include "runtime/ops/cuda/reduce.cuh"
#include "runtime/ops/routing.h"

namespace trireme::ops::cuda {

namespace {

constexpr unsigned kMostWarps = 4;

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/// What the kernels need of RouteOptions and of the sizes.
struct Sizes {
  int64_t rows;
  int num_experts, k, num_groups, groups_per_token;
  bool sigmoid, normalize;
  float gate_scale;

  Sizes(const RouteOptions& o, const Tensor& logits, const Tensor& chosen)
      : rows(logits.dim(0)),
        num_experts(static_cast<int>(logits.dim(1))),
        k(static_cast<int>(chosen.dim(1))),
        num_groups(o.num_groups),
        groups_per_token(o.groups_per_token),
        sigmoid(o.sigmoid),
        normalize(o.normalize),
        gate_scale(o.gate_scale) {}
};

/// A warp's scores[E] of one token in shared memory. probability = score * factor.
struct Scores {
  float* values;
  float factor, log_sum;

  __device__ Scores(const Sizes& s, const float* logits, float* memory) : values(memory), factor(1) {
    float largest = -INFINITY;
    for (int e = lane(); e < s.num_experts; e += kWarp) largest = fmaxf(largest, logits[e]);
    largest = warp_reduce(largest, Max{});
    float exponentials = 0, sum = 0;
    for (int e = lane(); e < s.num_experts; e += kWarp) {
      const float exponential = expf(logits[e] - largest);
      exponentials += exponential;
      values[e] = s.sigmoid ? sigmoid(logits[e]) : exponential;
      sum += values[e];
    }
    exponentials = warp_reduce(exponentials, Sum{});
    sum = warp_reduce(sum, Sum{});
    log_sum = largest + logf(exponentials);
    if (s.sigmoid) {
      factor = sum > 0 ? 1.0f / sum : 0.0f;
    } else {
      const float inverse = 1.0f / exponentials;
      for (int e = lane(); e < s.num_experts; e += kWarp) values[e] *= inverse;
    }
    __syncwarp();
  }

  /// What the gates of the chosen experts are made of: their sum, or one.
  __device__ float divisor(const Sizes& s, const int32_t* chosen) const {
    if (!s.normalize) return 1.0f;
    float sum = 0;
    for (int j = 0; j < s.k; ++j) sum += values[chosen[j]];
    return fmaxf(sum, 1e-20f);
  }
};

/// A number and its index as one key, which is larger for a larger number and, of equal ones, for the lower
/// index. What is no number counts as the smallest. No key is 0.
__device__ inline uint64_t key_of(float x, int index) {
  const unsigned bits = __float_as_uint(x == x ? x + 0.0f : -INFINITY);  // -0 becomes 0
  const unsigned ordered = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | static_cast<unsigned>(~index);
}
__device__ inline float number_of(uint64_t key) {
  const auto ordered = static_cast<unsigned>(key >> 32);
  return __uint_as_float((ordered >> 31) != 0 ? ordered & 0x7fffffffu : ~ordered);
}
__device__ inline int index_of(uint64_t key) { return static_cast<int>(~static_cast<unsigned>(key)); }

struct Larger {
  __device__ uint64_t operator()(uint64_t a, uint64_t b) const { return a > b ? a : b; }
};

/// The index of the largest of keys[n] in shared memory, whose key becomes 0: it is taken.
__device__ int take_largest(uint64_t* keys, int n) {
  uint64_t best = 0;
  for (int i = lane(); i < n; i += kWarp) best = Larger{}(best, keys[i]);
  const int index = index_of(warp_reduce(best, Larger{}));
  expect_index(index, n);
  if (lane() == 0) keys[index] = 0;
  __syncwarp();
  return index;
}

/// Takes the experts of all groups but those with the largest sum of two keys.
__device__ void limit_groups(const Sizes& s, uint64_t* keys, uint64_t* group_keys) {
  if (s.groups_per_token == s.num_groups) return;
  const int width = s.num_experts / s.num_groups;
  for (int g = lane(); g < s.num_groups; g += kWarp) {
    uint64_t first = 0, second = 0;
    for (int e = g * width; e < (g + 1) * width; ++e) {
      second = Larger{}(second, keys[e] < first ? keys[e] : first);
      first = Larger{}(first, keys[e]);
    }
    group_keys[g] = key_of(number_of(first) + (width > 1 ? number_of(second) : 0.0f), g);
  }
  __syncwarp();
  for (int i = 0; i < s.groups_per_token; ++i) take_largest(group_keys, s.num_groups);
  for (int e = lane(); e < s.num_experts; e += kWarp) {
    if (group_keys[e / width] != 0) keys[e] = 0;
  }
  __syncwarp();
}

__global__ void route_kernel(Sizes s, const float* logits, const float* bias, float* probabilities,
                             float* log_sum, int32_t* chosen, float* gates) {
  const unsigned warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp;
  const int keys_a_warp = s.num_experts + s.num_groups;
  auto* keys = shared_memory<uint64_t>() + warp * keys_a_warp;
  auto* memory =
      reinterpret_cast<float*>(shared_memory<uint64_t>() + warps * keys_a_warp) + warp * s.num_experts;
  for (int64_t n = int64_t{blockIdx.x} * warps + warp; n < s.rows; n += int64_t{gridDim.x} * warps) {
    const Scores scores(s, logits + n * s.num_experts, memory);
    if (lane() == 0) log_sum[n] = scores.log_sum;
    for (int e = lane(); e < s.num_experts; e += kWarp) {
      probabilities[n * s.num_experts + e] = scores.values[e] * scores.factor;
      keys[e] = key_of(scores.values[e] + (bias != nullptr ? bias[e] : 0.0f), e);
    }
    __syncwarp();
    limit_groups(s, keys, keys + s.num_experts);
    for (int j = 0; j < s.k; ++j) {
      const int best = take_largest(keys, s.num_experts);
      if (lane() == 0) chosen[n * s.k + j] = best;
    }
    __syncwarp();
    const float factor = s.gate_scale / scores.divisor(s, chosen + n * s.k);
    for (int j = lane(); j < s.k; j += kWarp)
      gates[n * s.k + j] = scores.values[chosen[n * s.k + j]] * factor;
    __syncwarp();
  }
}

/// Gradients of the scores: those of the probabilities (where `dp` is not null) and of the gates.
__device__ void score_gradients(const Sizes& s, const Scores& scores, const float* dp, const int32_t* chosen,
                                const float* dgates, float* gradient) {
  float mean = 0;
  if (dp != nullptr && s.sigmoid) {
    for (int e = lane(); e < s.num_experts; e += kWarp) mean += dp[e] * scores.values[e] * scores.factor;
    mean = warp_reduce(mean, Sum{});
  }
  for (int e = lane(); e < s.num_experts; e += kWarp) {
    gradient[e] = dp != nullptr ? (dp[e] - mean) * scores.factor : 0.0f;
  }
  __syncwarp();
  const float sum = scores.divisor(s, chosen);
  float mean_of_gates = 0;
  for (int j = 0; s.normalize && j < s.k; ++j) mean_of_gates += dgates[j] * scores.values[chosen[j]] / sum;
  for (int j = lane(); j < s.k; j += kWarp) {
    gradient[chosen[j]] += s.gate_scale * (dgates[j] - mean_of_gates) / sum;
  }
  __syncwarp();
}

/// dprobabilities and dsquares hold a row for each `run` rows, or are null.
__global__ void route_backward_kernel(Sizes s, int64_t run, const float* logits, const float* log_sum,
                                      const int32_t* chosen, const float* dgates, const float* dprobabilities,
                                      const float* dsquares, float* dlogits) {
  const unsigned warps = blockDim.x / kWarp, warp = threadIdx.x / kWarp;
  float* memory = shared_memory<float>() + warp * 2 * s.num_experts;
  float* gradient = memory + s.num_experts;
  for (int64_t n = int64_t{blockIdx.x} * warps + warp; n < s.rows; n += int64_t{gridDim.x} * warps) {
    const float* logit = logits + n * s.num_experts;
    const Scores scores(s, logit, memory);
    const float* dp = dprobabilities != nullptr ? dprobabilities + n / run * s.num_experts : nullptr;
    score_gradients(s, scores, dp, chosen + n * s.k, dgates + n * s.k, gradient);
    float dot = 0;
    for (int e = lane(); e < s.num_experts; e += kWarp) dot += gradient[e] * scores.values[e];
    dot = warp_reduce(dot, Sum{});
    const float of_log_sum = dsquares != nullptr ? 2.0f * dsquares[n / run] * log_sum[n] : 0.0f;
    for (int e = lane(); e < s.num_experts; e += kWarp) {
      const float score = scores.values[e];
      float out = s.sigmoid ? gradient[e] * score * (1.0f - score) : (gradient[e] - dot) * score;
      if (of_log_sum != 0) out += of_log_sum * expf(logit[e] - log_sum[n]);
      dlogits[n * s.num_experts + e] = out;
    }
    __syncwarp();
  }
}

/// As many warps a block as shared memory has room for without asking, up to four.
unsigned warps_a_block(size_t bytes_a_warp) {
  const size_t fit = kSharedBytesWithoutAsking / bytes_a_warp;
  return fit == 0 ? 1 : fit < kMostWarps ? static_cast<unsigned>(fit) : kMostWarps;
}

}  // namespace

void route(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& bias,
           const Tensor& probabilities, const Tensor& log_sum, const Tensor& chosen, const Tensor& gates) {
  const Sizes s(options, logits, chosen);
  const size_t bytes = static_cast<size_t>(s.num_experts) * (sizeof(uint64_t) + sizeof(float)) +
                       static_cast<size_t>(s.num_groups) * sizeof(uint64_t);
  const unsigned warps = warps_a_block(bytes);
  launch(ctx, route_kernel, num_blocks(ceil_div(s.rows, warps)), warps * kWarp, warps * bytes, s,
         logits.data<float>(), data_or_null<float>(bias), probabilities.data<float>(), log_sum.data<float>(),
         chosen.data<int32_t>(), gates.data<float>());
}

void route_backward(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& log_sum,
                    const Tensor& chosen, const Tensor& dgates, const Tensor& dprobabilities,
                    const Tensor& dsquares, const Tensor& dlogits) {
  const Sizes s(options, logits, chosen);
  const size_t bytes = 2 * static_cast<size_t>(s.num_experts) * sizeof(float);
  const unsigned warps = warps_a_block(bytes);
  launch(ctx, route_backward_kernel, num_blocks(ceil_div(s.rows, warps)), warps * kWarp, warps * bytes, s,
         dsquares ? s.rows / dsquares.dim(0) : s.rows, logits.data<float>(), log_sum.data<float>(),
         chosen.data<int32_t>(), dgates.data<float>(), data_or_null<float>(dprobabilities),
         data_or_null<float>(dsquares), dlogits.data<float>());
}

}  // namespace trireme::ops::cuda
