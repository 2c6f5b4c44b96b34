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

/// How many tokens, not which. By what was right, without a clock: what the model itself drafts costs little
/// beyond its blocks, and is right often or hardly ever.
class UnwrittenDrafts final : public DraftSource {
 public:
  void propose(std::span<const DraftedText> texts) override {
    for (const DraftedText& text : texts) {
      Text& known = texts_[text.request];
      const bool is_tried = known.rate >= kFair || ++known.passes % kSeldom == 0;
      const int64_t count = is_tried ? std::clamp<int64_t>(text.most, 0, known.window) : 0;
      text.draft->assign(static_cast<size_t>(count), 0);
    }
  }
  void learn(std::span<const DraftOutcome> outcomes, int64_t /*sequences*/, double /*seconds*/) override {
    for (const DraftOutcome& outcome : outcomes) {
      const auto found = texts_.find(outcome.request);
      if (outcome.drafted == 0 || found == texts_.end()) continue;
      Text& text = found->second;
      const auto share = static_cast<double>(outcome.accepted) / static_cast<double>(outcome.drafted);
      text.rate += kWeight * (share - text.rate);
      const bool is_right = outcome.accepted == outcome.drafted;
      text.window = is_right ? std::max(text.window, 2 * outcome.drafted) : outcome.accepted + 1;
    }
  }
  void forget(int64_t request) override { texts_.erase(request); }

 private:
  static constexpr double kFair = 0.4, kWeight = 0.2;
  static constexpr int64_t kFirst = 4, kSeldom = 16;
  struct Text {
    double rate = 0.7;  // of drafted tokens that were right; the beginning is a guess
    int64_t window = kFirst;
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
