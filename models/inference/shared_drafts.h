// SharedDrafts: a DraftSource's guesses on all ranks of a Generator.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/inference/draft_source.h"
#include "models/inference/first_rank.h"
#include "models/inference/sequence.h"

namespace trireme {

/// The first rank asks; what it gets is checked, since a source may be anybody's, and goes to all.
class SharedDrafts {
 public:
  /// A text that the next pass continues.
  struct Text {
    Sequence* sequence = nullptr;
    int64_t most = 0;  ///< tokens of a draft that are of use; may be 0
  };

  /// `first` and `source`, which counts on the first rank alone, outlive it. `most` tokens for each text; 0:
  /// none, ever. `vocab_size`: tokens that may be drawn.
  SharedDrafts(const FirstRank& first, DraftSource* source, int64_t most, int64_t vocab_size);

  bool is_on() const { return most_ > 0; }
  /// Fills in Sequence::drafts. All ranks call it with the texts of a pass.
  void propose(Context& ctx, std::span<const Text> texts);
  /// What a pass made of a text's draft.
  void add(const DraftOutcome& outcome) { outcomes_.push_back(outcome); }
  /// The pass was one of decoding over `sequences` texts. Without it outcomes are dropped.
  void learn(int64_t sequences, double seconds);
  /// Before learn(): so many of its seconds were spent on drafts that the generator made itself.
  void drafting_took(double seconds) {
    if (source_ != nullptr) source_->drafting_took(seconds);
  }
  void forget(int64_t request);

 private:
  void ask(std::span<const Text> texts);

  const FirstRank& first_;
  DraftSource* source_;
  int64_t most_, vocab_size_;
  // Of a pass; kept so that none takes memory for them anew.
  std::vector<DraftedText> asked_;
  std::vector<std::vector<int32_t>> drafts_;
  std::vector<int32_t> message_;  // of each text: the number of tokens, and room for the most
  std::vector<DraftOutcome> outcomes_;
};

}  // namespace trireme
