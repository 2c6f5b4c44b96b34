// TextEngine: what the protocols of a server ask of the model behind it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/inference/generator.h"

namespace trireme::launch {

/// Why a text ended before its time.
enum class TextFailure : uint8_t {
  cancelled,  ///< the client left
  deadline,   ///< its time was over
  stopping,   ///< the server ends
  stuck,      ///< the model has not answered in time
  failed      ///< an error of the model; the message says which
};

/// One token more.
struct TextEvent {
  TokenScore token;
  std::string
      text;  ///< what it settles: whole characters, nothing that may belong to a stop string; may be empty
  FinishReason finish = FinishReason::none;
  std::vector<TokenScore> alternatives;
};

/// Takes what becomes of one text. Called in order on one thread of the engine, which must not be held up:
/// implementations hand over to their own.
class TextSink {
 public:
  virtual ~TextSink() = default;
  /// Before all others, once: so many tokens of its prompt were in the cache.
  virtual void on_begin(int64_t /*reused_tokens*/) {}
  /// The next places of the prompt, from place 1 on (GenerationRequest::scores_prompt).
  virtual void on_prompt_scores(std::span<const ScoredToken> scores) = 0;
  /// The last one has a finish. Where max_tokens is 0 there is none, and on_finished() is called.
  virtual void on_token(TextEvent event) = 0;
  virtual void on_finished() = 0;  ///< a text of no tokens is complete
  virtual void on_failed(TextFailure failure, const std::string& message) = 0;  ///< nothing comes after it
};

/// One text that is asked for.
struct ServedText {
  GenerationRequest generation = {};    ///< valid: has passed the protocol's checks of numbers and lengths
  std::vector<std::string> stops = {};  ///< stop strings
  bool includes_stop = false;           ///< the stop string belongs to the text
  bool keeps_specials = false;          ///< special tokens are written as text
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  std::shared_ptr<TextSink> sink = {};
};

/// Texts of one request of a client.
using Ticket = uint64_t;

struct Submission {
  bool is_accepted = false;
  double retry_after_seconds = 0;  ///< when not: too many wait
  std::string refusal;             ///< and the words for it
  Ticket ticket = 0;
};

struct EngineState {
  bool is_ready = false;  ///< false: stuck, failed or stopping; `trouble` says which
  std::string trouble;
  int64_t running = 0, waiting = 0;  ///< texts
  int64_t used_blocks = 0, num_blocks = 0, block_tokens = 0;
  int64_t max_seq_len = 0;  ///< longest sequence that a text can have: of model and cache
};

/// Every call is safe from any thread.
class TextEngine {
 public:
  virtual ~TextEngine() = default;
  /// All texts of a request together, or none of them.
  virtual Submission submit(std::vector<ServedText> texts) = 0;
  /// The client has gone: within a step the texts hold no blocks any more. Unknown tickets are passed over.
  virtual void cancel(Ticket ticket) = 0;
  virtual EngineState state() const = 0;
};

}  // namespace trireme::launch
