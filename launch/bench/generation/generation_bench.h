// How fast a model generates: prompts and decoding by themselves, beside what memory allows.
#pragma once

#include <cstdint>
#include <vector>

#include "models/inference/cached_model.h"
#include "models/inference/inference_model.h"

namespace trireme::launch {

struct GenerationBenchOptions {
  int64_t prompt_tokens = 512;
  int64_t decode_tokens = 64;
  int64_t batch = 1;           ///< sequences at once
  int64_t batch_tokens = 512;  ///< of a forward pass over prompts
  int64_t repeats = 5;         ///< runs that are timed, after one that is not
  ops::CacheType cache = ops::CacheType::plain;

  int64_t seq_len() const { return prompt_tokens + decode_tokens; }
};

/// Of a run each: all prompts, and all steps after them.
struct GenerationTimes {
  std::vector<double> prompt_seconds, decode_seconds;
  std::vector<double> step_seconds;  ///< of all runs, each step: a token of each sequence
};

/// Of times: the middle one, and the one that 95 % do not exceed (nearest rank).
struct Percentiles {
  double median = 0, p95 = 0;
};
Percentiles percentiles_of(std::vector<double> values);

struct Spread {
  double median = 0, least = 0, most = 0;
};
/// `count` per second, of runs that took these seconds each.
Spread rates_of(const std::vector<double>& seconds, int64_t count);

/// The cache that it needs.
CacheOptions cache_for(const GenerationBenchOptions& options);

/// Prompts of drawn tokens go through in passes, then each sequence gets one token a pass, the likeliest. All
/// ranks of the model call it; times are this rank's.
GenerationTimes time_generation(Context& ctx, const ParallelContext& parallel, CachedModel& model,
                                const GenerationBenchOptions& options);

/// Bytes of a rank that decoding reads for a step of `batch` sequences: weights (of a token table that is not
/// the head nothing; of experts those that so many tokens choose, by chance) and, at the mean length, keys
/// and values.
double bytes_of_step(const ModelConfig& config, int64_t weight_bytes, int64_t cache_block_bytes,
                     const GenerationBenchOptions& options);

}  // namespace trireme::launch
