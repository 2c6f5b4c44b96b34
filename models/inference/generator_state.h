// What a Generator keeps.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "models/inference/draw_tokens.h"
#include "models/inference/first_rank.h"
#include "models/inference/generator.h"
#include "models/inference/scheduler.h"
#include "models/inference/self_drafts.h"
#include "models/inference/shared_drafts.h"

namespace trireme {

struct RunningRequest {
  GenerationRequest wanted;  // its prompt is in the sequence
  size_t prompt_size = 0;
  Sequence sequence;
  FinishReason finish = FinishReason::none;

  std::span<const int32_t> prompt() const { return std::span(sequence.tokens).first(prompt_size); }
  std::span<const int32_t> text() const { return std::span(sequence.tokens).subspan(prompt_size); }
  bool draws() const { return wanted.max_tokens > 0; }
  /// Why the text ends with this token at place `index`, if it does.
  FinishReason finish_with(int32_t token, int64_t index) const;
};

/// A text that a pass continues: by a token, and one more for each draft that proves right.
struct DrawnText {
  struct Token {
    SampledToken sampled;
    FinishReason finish = FinishReason::none;
    std::vector<TokenScore> alternatives;
  };
  RunningRequest* request = nullptr;
  int64_t row = 0;  // of the logits: the first of 1 + num_drafts
  int64_t num_drafts = 0;
  std::vector<Token> tokens;      // on the first rank
  std::exception_ptr error = {};  // there too: none can be drawn
};

/// Places of a prompt whose logits a pass has.
struct ScoredChunk {
  RunningRequest* request = nullptr;
  int64_t row = 0;    // of the logits: the first
  int64_t place = 0;  // whose logits they are: they score the token behind it
  int64_t count = 0;
  std::vector<ScoredToken> scores;  // on the first rank
};

struct Generator::State {
  State(Context& context, const ParallelContext& parallel, CachedModel& cached,
        const GeneratorOptions& options);

  RunningRequest& at(int64_t request) const;
  void expect(const GenerationRequest& request);
  void expect_length(const GenerationRequest& request);

  // A pass, in this order.
  void propose();
  void tell_schedule(GenerationListener& listener) const;
  /// With draft_blocks: the batch, whose drafts are written now.
  std::span<const ScheduledChunk> write_drafts(std::span<const ScheduledChunk> batch);
  Tensor pass(std::span<const ScheduledChunk> batch);
  /// On the first rank: draws and scores.
  void work_out(const Tensor& logits);
  /// On the first rank: tells the listener and fills the message.
  void tell(GenerationListener& listener);
  /// On all: what the message says becomes part of the texts.
  void append(std::span<const ScheduledChunk> batch);

  void draw(const HostLogits& logits, DrawnText& text) const;
  void add_drawn(const ScheduledChunk& chunk, const DrawnText& text, const int32_t* told);
  void end(RunningRequest& request, FinishReason finish);

  Context& ctx;
  CachedModel& model;
  FirstRank first;
  int64_t vocab_size;
  CacheBlockPool pool;
  Scheduler scheduler;
  SharedDrafts drafts;
  std::optional<SelfDrafts> self;  // with draft_blocks
  std::unordered_map<int64_t, std::unique_ptr<RunningRequest>> requests;
  int64_t next_number = 0;
  int64_t num_unfinished = 0;
  bool has_new = false;  // requests that no pass was made for
  GenerationCounts counts;
  PassReport report;

  // Of a pass; kept so that none takes memory for them anew.
  std::vector<ScheduledChunk> written;  // the batch, where self wrote drafts; else empty
  std::vector<SequenceChunk> chunks;
  std::vector<SharedDrafts::Text> decoding;
  std::vector<DrawnText> drawn;
  std::vector<ScoredChunk> scored;
  std::vector<int32_t> message;  // of each text: the number of tokens, why it ends, 1 + num_drafts tokens
};

}  // namespace trireme
