// All that a Generator tells of its requests, for comparisons bit for bit.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <vector>

#include "models/inference/generator.h"
#include "tests/support/inference_models.h"

namespace trireme::test {

/// Of one request. Log-probabilities as bits.
struct HeardText {
  using Scores = std::vector<std::pair<int32_t, uint32_t>>;
  Scores tokens, prompt;  ///< the prompt's from place 1 on
  std::vector<Scores> alternatives, prompt_alternatives;
  FinishReason finish = FinishReason::none;

  friend bool operator==(const HeardText&, const HeardText&) = default;
  std::vector<int32_t> ids() const;
};
void PrintTo(const HeardText& text, std::ostream* out);

/// Fails the test where the calls are not in order.
class TextHearer final : public GenerationListener {
 public:
  bool on_token(const GeneratedToken& token) override;
  void on_begin(int64_t request, int64_t reused_tokens) override;
  void on_prompt_scores(int64_t request, std::span<const ScoredToken> scores) override;
  void on_preempted(int64_t request, int64_t lost_tokens) override;

  std::map<int64_t, HeardText> texts;               ///< by request; those that have begun
  std::map<int64_t, int64_t> reused;                ///< tokens
  std::map<int64_t, int64_t> preempted;             ///< times
  std::function<bool(const GeneratedToken&)> ends;  ///< what on_token() answers; empty: false
};

/// The requests together, until all have ended; what the first rank has heard, in their order.
std::vector<HeardText> hear(CachedRank& rank, const GeneratorOptions& options,
                            const std::vector<GenerationRequest>& requests,
                            GenerationCounts* counts = nullptr);

/// some_requests() with alternatives, scores of prompts, priorities, biases, least numbers of tokens and
/// filters among them. The filters are new and serve once.
std::vector<GenerationRequest> mixed_requests(int64_t vocab_size, int64_t count, uint64_t seed);

/// Of a vocabulary the tokens t with (t + the text's last token) % 3 != 0, or t != 0 at its beginning.
std::shared_ptr<TokenFilter> thirds_filter(int64_t vocab_size);

}  // namespace trireme::test
