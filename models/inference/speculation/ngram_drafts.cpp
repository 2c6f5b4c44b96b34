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

}  // namespace

std::unique_ptr<DraftSource> ngram_drafts(const NgramOptions& options) {
  return std::make_unique<NgramDrafts>(options);
}

}  // namespace trireme
