#include <algorithm>
#include <unordered_map>

#include "models/inference/speculation/drafts.h"
#include "models/inference/speculation/ngram_index.h"

namespace trireme {

namespace {

class NgramDrafts final : public DraftSource {
 public:
  explicit NgramDrafts(const NgramOptions& options) : options_(options), checked_(make_index()) {}

  void propose(std::span<const DraftedText> texts) override {
    for (const DraftedText& text : texts) {
      text.draft->clear();
      if (text.most <= 0) continue;
      NgramIndex& index = indices_.try_emplace(text.request, checked_).first->second;
      const auto place = index.follow(text.tokens);
      if (place) copy_from(text, *place);
    }
  }
  void learn(std::span<const DraftOutcome> /*outcomes*/, int64_t /*sequences*/, double /*seconds*/) override {
  }
  void forget(int64_t request) override { indices_.erase(request); }

 private:
  NgramIndex make_index() const { return {options_.longest, options_.shortest}; }

  // Where the text ends, it goes on with the draft itself: what repeats with a short period does so.
  static void copy_from(const DraftedText& text, int64_t place) {
    const auto known = std::ssize(text.tokens);
    for (int64_t i = place; i < place + text.most; ++i) {
      const auto token =
          i < known ? text.tokens[static_cast<size_t>(i)] : (*text.draft)[static_cast<size_t>(i - known)];
      text.draft->push_back(token);
    }
  }

  NgramOptions options_;
  NgramIndex checked_;                               // an empty one
  std::unordered_map<int64_t, NgramIndex> indices_;  // by request
};

/// As many as the generator likes, which knows how likely they are; seldom of texts for which they were of no
/// use, since asking costs a head.
class UnwrittenDrafts final : public DraftSource {
 public:
  void propose(std::span<const DraftedText> texts) override {
    for (const DraftedText& text : texts) {
      Text& known = texts_[text.request];
      known.is_asked = known.gain >= kFair || ++known.passes % kSeldom == 0;
      text.draft->assign(static_cast<size_t>(known.is_asked ? std::max<int64_t>(text.most, 0) : 0), 0);
    }
  }
  void learn(std::span<const DraftOutcome> outcomes, int64_t /*sequences*/, double /*seconds*/) override {
    for (const DraftOutcome& outcome : outcomes) {
      const auto found = texts_.find(outcome.request);
      if (found == texts_.end() || !found->second.is_asked) continue;
      double& gain = found->second.gain;
      gain += kWeight * (static_cast<double>(outcome.accepted) - gain);
    }
  }
  void forget(int64_t request) override { texts_.erase(request); }

 private:
  static constexpr double kFair = 0.1, kWeight = 0.1;
  static constexpr int64_t kSeldom = 8;
  struct Text {
    double gain = 0.7;  // tokens of a draft that were right; the beginning is a guess
    bool is_asked = false;
    int64_t passes = 0;  // without a trial
  };
  std::unordered_map<int64_t, Text> texts_;  // by request
};

}  // namespace

std::unique_ptr<DraftSource> unwritten_drafts() { return std::make_unique<UnwrittenDrafts>(); }

std::unique_ptr<DraftSource> ngram_drafts(const NgramOptions& options) {
  return std::make_unique<NgramDrafts>(options);
}

}  // namespace trireme
