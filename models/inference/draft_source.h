// DraftSource: guesses of what a text goes on with, which the model checks many at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace trireme {

/// A text that is being continued.
struct DraftedText {
  int64_t request = 0;                    ///< the generator's number
  std::span<const int32_t> tokens;        ///< prompt and text so far
  int64_t most = 0;                       ///< no more than so many are of use
  std::vector<int32_t>* draft = nullptr;  ///< out: what may follow; empty: no guess
};

/// What one pass made of drafts, for those that learn from it.
struct DraftOutcome {
  int64_t request = 0;
  int64_t drafted = 0, accepted = 0;
};

/// Speculative decoding (Leviathan et al., arXiv 2211.17192), exact: a token is always drawn from the model's
/// own logits with the numbers of its place, and a draft that is the same saves its pass. Texts are those
/// without drafts bit for bit. Used on the first rank, by one thread.
class DraftSource {
 public:
  virtual ~DraftSource() = default;
  virtual void propose(std::span<const DraftedText> texts) = 0;
  /// After each pass of decoding, with or without drafts: its outcomes, sequences and seconds.
  virtual void learn(std::span<const DraftOutcome> outcomes, int64_t sequences, double seconds) = 0;
  /// Before learn(): drafts took so many of its seconds, where the generator itself makes them.
  virtual void drafting_took(double /*seconds*/) {}
  /// The request has ended.
  virtual void forget(int64_t request) = 0;
};

}  // namespace trireme
