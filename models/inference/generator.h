// Generator: continues many token sequences at once over a cached model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "models/inference/block_pool.h"
#include "models/inference/cached_model.h"
#include "models/inference/sampling.h"

namespace trireme {

struct GenerationRequest {
  std::vector<int32_t> prompt;  ///< at least one token
  int64_t max_tokens = 128;     ///< of the text, the end token included
  SamplingOptions sampling = {};
  std::vector<int32_t> end_tokens = {};  ///< any of them ends the text, and is its last token
};

enum class FinishReason : uint8_t { none, end_token, length, stopped };

/// One new token of one request.
struct GeneratedToken {
  int64_t request = 0;  ///< number that add() gave
  int64_t index = 0;    ///< in the text
  SampledToken sampled;
  FinishReason finish = FinishReason::none;
};

struct GenerationCounts {
  int64_t prompt_tokens = 0;   ///< of all prompts that have begun
  int64_t reused_tokens = 0;   ///< of these, found in the cache
  int64_t preemptions = 0;     ///< of sequences that begin again when blocks run out
  int64_t decoded_tokens = 0;  ///< generated
  int64_t passes = 0;
  double prompt_seconds = 0;  ///< of passes with tokens of prompts
  double decode_seconds = 0;  ///< of the others
};

struct GeneratorOptions {
  int64_t max_batch_tokens = 512;  ///< tokens of a forward pass: first one of each running sequence
  int64_t max_sequences = 64;      ///< that run at once
  bool reuses_prefixes = true;     ///< prompts that begin alike share blocks
  int64_t vocab_size = 0;          ///< tokens that may be drawn; 0: all of the model's
};

/// All ranks make one and call it alike; sequences, blocks and batches are the same on all. The first rank
/// draws and tells the others.
class Generator {
 public:
  /// `parallel` and `model`, which nobody else uses meanwhile, outlive it.
  Generator(Context& ctx, const ParallelContext& parallel, CachedModel& model,
            const GeneratorOptions& options);
  ~Generator();

  /// The number of the new request, from 0. UserError (usage) where prompt and max_tokens do not fit the
  /// model's longest sequence or the whole cache, or a token is none of the model's.
  int64_t add(GenerationRequest request);
  /// Called on the first rank (of those that run the model together) with each new token; true ends the text
  /// (a stop string). It must not call the generator.
  using OnToken = std::function<bool(const GeneratedToken&)>;
  /// One forward pass; false: there is nothing to do. When blocks run out, the newest sequence gives its own
  /// back and starts again later, with the same text.
  bool step(const OnToken& on_token);
  /// Ends a request (FinishReason::stopped), if it has not ended; called on all ranks, between steps.
  void cancel(int64_t request);

  /// Tokens of the text so far, on all ranks.
  std::span<const int32_t> text(int64_t request) const;
  FinishReason finish(int64_t request) const;
  GenerationCounts counts() const;
  int64_t num_unfinished() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
