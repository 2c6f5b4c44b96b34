// A model that serves, on all ranks: weights, cache and generator.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "launch/serve/served_files.h"
#include "models/inference/cached_model.h"
#include "models/inference/generator.h"
#include "models/inference/inference_model.h"

namespace trireme::launch {

/// Tokens per second of a rank's passes, measured.
struct WarmUp {
  int64_t prompt_tokens = 0, text_tokens = 0;         ///< that were computed for it
  double prompt_per_second = 0, text_per_second = 0;  ///< of one sequence; 0: not known
};

class ServingModel {
 public:
  /// All ranks make one with equal arguments. Errors of InferenceModel; UserError (usage) as check_formats();
  /// of make_drafts().
  ServingModel(Context& ctx, Communicator& world, const ServedFiles& served, const ServeArguments& arguments,
               int local_ranks);

  const InferenceModel& model() const { return model_; }
  const CachedModel& cached() const { return *cached_; }
  Generator& generator() { return *generator_; }
  int64_t cache_tokens() const { return cached_->options().num_blocks * cached_->options().block_tokens; }
  /// Longest sequence that a text can have: of model and cache.
  int64_t max_seq_len() const { return max_seq_len_; }
  /// A short text by a generator of its own; all ranks call it, before the first request.
  WarmUp warm_up(Context& ctx);

 private:
  InferenceModel model_;
  std::optional<CachedModel> cached_;
  std::unique_ptr<DraftSource> drafts_;  // on rank 0, with speculation
  std::optional<Generator> generator_;
  int64_t max_seq_len_;
  int64_t vocab_size_;
};

}  // namespace trireme::launch
