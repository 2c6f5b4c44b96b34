// A model that generates texts on all ranks, with what it took.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "launch/generate/answer.h"
#include "launch/generate/inference_arguments.h"
#include "launch/generate/model_files.h"
#include "launch/generate/shared_requests.h"
#include "launch/generate/speculation_options.h"
#include "models/inference/cached_model.h"
#include "models/inference/generator.h"
#include "models/inference/inference_model.h"

namespace trireme::launch {

/// What interrupts texts where nobody can read them any more.
inline constexpr int64_t kOutputLost = -1;

class TextGenerator {
 public:
  /// All ranks make one with equal arguments. `cache_tokens` is asked on rank 0 when the weights are loaded
  /// and their memory is taken; `vocab_size`: tokens that may be drawn. Errors of InferenceModel; UserError
  /// (usage) as check_formats(), and make_drafts().
  TextGenerator(Context& ctx, Communicator& world, const ModelFiles& files,
                const InferenceArguments& arguments, const std::function<int64_t()>& cache_tokens,
                int64_t vocab_size, const SpeculationArguments& speculation = {});

  /// Called on rank 0 with the number of an answer and the text that a token added.
  using OnPiece = std::function<void(size_t answer, const std::string& piece)>;
  /// Generates all requests. On rank 0 `answers` are those of the requests, in their order. `interruption` is
  /// asked there before each pass: a number other than 0 ends all texts. Returns it, on all ranks; 0: all
  /// texts are complete.
  int64_t run(const std::vector<GenerationRequest>& requests, std::vector<Answer>& answers,
              const std::function<int64_t()>& interruption, const OnPiece& on_piece);

  int64_t longest_text() const { return generator_->longest_text(); }
  /// That a token of a text goes through, on average: all, but with --exit.confidence.
  double mean_layers() const;
  int64_t cache_tokens() const { return cached_->options().num_blocks * cached_->options().block_tokens; }
  /// Of all runs so far: "prompt_tokens", "decoded_tokens", ..., and tokens per second.
  nlohmann::ordered_json figures() const;
  /// The same for people.
  std::string summary() const;

 private:
  Communicator& world_;
  InferenceModel model_;
  std::optional<CachedModel> cached_;
  std::unique_ptr<DraftSource> drafts_;  // on rank 0, with speculation
  std::optional<Generator> generator_;
  int64_t num_texts_ = 0;
};

/// Tokens that the cache holds, where none are asked for: what sequences of these lengths, of which so many
/// run at once, need, but no more than fits half of the memory that is available to a rank (0: not known),
/// and `least`.
int64_t default_cache_tokens(const std::vector<int64_t>& lengths, int64_t least, const ModelConfig& config,
                             const InferenceArguments& arguments, int64_t available_bytes,
                             int64_t max_sequences = GeneratorOptions{}.max_sequences);

/// A cache of so many tokens.
CacheOptions cache_of(int64_t tokens, const InferenceArguments& arguments);

}  // namespace trireme::launch
