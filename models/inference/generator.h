// Generator: continues many token sequences at once over a cached model.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "models/inference/block_pool.h"
#include "models/inference/cached_model.h"
#include "models/inference/draft_source.h"
#include "models/inference/sampling.h"
#include "models/inference/token_filter.h"

namespace trireme {

struct GenerationRequest {
  std::vector<int32_t> prompt;  ///< at least one token
  int64_t max_tokens = 128;     ///< of the text, the end token included; 0: with scores_prompt alone
  SamplingOptions sampling = {};
  std::vector<int32_t> end_tokens = {};  ///< any of them ends the text, and is its last token
  int64_t min_tokens = 0;                ///< no end token is drawn before so many
  int64_t priority = 0;                  ///< smaller ones go first; waiting counts (GeneratorOptions)
  int64_t num_alternatives = -1;  ///< so many of the likeliest tokens are scored at each place; -1: no scores
  bool scores_prompt = false;     ///< the places of the prompt too (GenerationListener)
  /// Which tokens may be drawn; on the first rank alone. null: all.
  std::shared_ptr<TokenFilter> filter = nullptr;
};

enum class FinishReason : uint8_t { none, end_token, length, stopped };

/// One new token of one request.
struct GeneratedToken {
  int64_t request = 0;  ///< number that add() gave
  int64_t index = 0;    ///< in the text
  SampledToken sampled;
  FinishReason finish = FinishReason::none;
  std::span<const TokenScore> alternatives = {};  ///< the likeliest first; valid during the call
};

/// A token of a prompt, and how likely it was after those before it.
struct ScoredToken {
  TokenScore token;
  std::vector<TokenScore> alternatives;  ///< the likeliest first
};

/// Who is told what happens, on the first rank (of those that run the model together), within step(). It must
/// not call the generator.
class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  /// True ends the text (a stop string).
  virtual bool on_token(const GeneratedToken& token) = 0;
  /// The request takes part in a pass for the first time; so many tokens of its prompt were in the cache.
  virtual void on_begin(int64_t /*request*/, int64_t /*reused_tokens*/) {}
  /// The next places of a prompt with scores_prompt, from place 1 on; the last ones come before the first
  /// token of the text. With max_tokens 0 the request has ended after the last (FinishReason::length).
  virtual void on_prompt_scores(int64_t /*request*/, std::span<const ScoredToken> /*scores*/) {}
  /// It gave its blocks back and begins again: so many tokens are computed anew.
  virtual void on_preempted(int64_t /*request*/, int64_t /*lost_tokens*/) {}
  /// Its next token cannot be drawn (a logit that is no number, a filter that throws). Where this returns,
  /// the request ends alone (FinishReason::stopped), and the others go on.
  virtual void on_failed(int64_t /*request*/, const std::exception_ptr& error) {
    std::rethrow_exception(error);
  }
};

struct GenerationCounts {
  int64_t prompt_tokens = 0;   ///< of all prompts that have begun
  int64_t reused_tokens = 0;   ///< of these, found in the cache
  int64_t preemptions = 0;     ///< of sequences that begin again when blocks run out
  int64_t decoded_tokens = 0;  ///< generated
  int64_t passes = 0;
  int64_t drafted_tokens = 0;   ///< proposed by a DraftSource
  int64_t accepted_tokens = 0;  ///< of these, what was drawn as well
  double prompt_seconds = 0;    ///< of passes with tokens of prompts
  double decode_seconds = 0;    ///< of the others
  /// Tokens of texts that could leave at an exit, and blocks that they went through, those computed anew and
  /// drafts too; 0 without an ExitRule.
  int64_t exit_rows = 0, exit_blocks = 0;
};

/// What the last pass was, and what is there now.
struct PassReport {
  int64_t prompt_tokens = 0;         ///< tokens of prompts
  int64_t decoded_tokens = 0;        ///< tokens that were drawn
  int64_t sequences = 0;             ///< that took part
  int64_t prompts = 0;               ///< of these, with tokens of a prompt
  int64_t running = 0, waiting = 0;  ///< requests, after it
  int64_t used_blocks = 0, num_blocks = 0;
  double seconds = 0;
};

struct GeneratorOptions {
  int64_t max_batch_tokens = 512;     ///< tokens of a forward pass: first one of each running sequence
  int64_t max_sequences = 64;         ///< that run at once
  bool reuses_prefixes = true;        ///< prompts that begin alike share blocks
  int64_t passes_per_priority = 256;  ///< a request that has waited so many passes goes as one of the next
                                      ///< smaller priority, and so on
  int64_t max_draft_tokens = 0;       ///< of a sequence and pass; 0: no speculation. Equal on all ranks
  DraftSource* drafts = nullptr;      ///< on the first rank, with max_draft_tokens; outlives the generator
  /// Self-speculation (LayerSkip, Elhoushi et al., arXiv 2404.16710, section 4.3): drafts are the likeliest
  /// tokens by the head behind the model's first so many blocks, whose keys, values and streams the check of
  /// the drafts goes on from; `drafts` says only how many tokens (unwritten_drafts()). 0: `drafts` says
  /// which. Not over pipeline stages, nor with an ExitRule: UserError (usage).
  int64_t draft_blocks = 0;
  double least_likely_draft =
      0;                   ///< below this chance of all tokens such a draft ends; 0: where it pays no more
  int64_t vocab_size = 0;  ///< tokens that may be drawn; 0: all of the model's
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
  /// Tokens of the longest text, its prompt included, that add() takes.
  int64_t longest_text() const;
  /// One forward pass; false: there is nothing to do. When blocks run out, the sequence of the last priority,
  /// of these the newest, gives its own back and starts again later, with the same text.
  bool step(GenerationListener& listener);
  /// The same where tokens alone matter: GenerationListener::on_token().
  using OnToken = std::function<bool(const GeneratedToken&)>;
  bool step(const OnToken& on_token);
  /// Of later passes that continue texts: no more tokens of prompts than these beside them, so that the texts
  /// do not wait long. On all ranks alike; changes no text.
  void limit_prompts(int64_t num_tokens);
  /// Ends a request (FinishReason::stopped), if it has not ended; called on all ranks, between steps.
  void cancel(int64_t request);
  /// Forgets a request that has ended; its number means nothing any more.
  void release(int64_t request);

  /// Tokens of the text so far, on all ranks.
  std::span<const int32_t> text(int64_t request) const;
  FinishReason finish(int64_t request) const;
  GenerationCounts counts() const;
  PassReport last_pass() const;
  int64_t num_unfinished() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
