#include "models/inference/shared_drafts.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {

SharedDrafts::SharedDrafts(const FirstRank& first, DraftSource* source, int64_t most, int64_t vocab_size)
    : first_(first),
      source_(first.is_this() && most > 0 ? source : nullptr),
      most_(most),
      vocab_size_(vocab_size) {
  TRIREME_CHECK(most >= 0 && (most == 0 || source_ != nullptr || !first.is_this()),
                "drafts of {} tokens without a source", most);
}

void SharedDrafts::ask(std::span<const Text> texts) {
  drafts_.resize(std::max(drafts_.size(), texts.size()));
  asked_.clear();
  for (size_t i = 0; i < texts.size(); ++i) {
    drafts_[i].clear();
    const Sequence& s = *texts[i].sequence;
    asked_.push_back({s.number, s.tokens, std::clamp<int64_t>(texts[i].most, 0, most_), &drafts_[i]});
  }
  source_->propose(asked_);
  int32_t* out = message_.data();
  for (const DraftedText& text : asked_) {
    const auto& draft = *text.draft;
    const auto wrong =
        std::ranges::find_if(draft, [&](int32_t token) { return token < 0 || token >= vocab_size_; });
    const int64_t count = std::min<int64_t>(wrong - draft.begin(), text.most);
    out[0] = static_cast<int32_t>(count);
    std::copy_n(draft.begin(), count, out + 1);
    out += 1 + most_;
  }
}

void SharedDrafts::propose(Context& ctx, std::span<const Text> texts) {
  outcomes_.clear();
  if (!is_on() || std::ranges::all_of(texts, [](const Text& text) { return text.most <= 0; })) return;
  message_.assign(texts.size() * static_cast<size_t>(1 + most_), 0);
  if (source_ != nullptr) ask(texts);
  first_.share(ctx, message_);
  const int32_t* of_text = message_.data();
  for (const Text& text : texts) {
    text.sequence->drafts.assign(of_text + 1, of_text + 1 + of_text[0]);
    of_text += 1 + most_;
  }
}

void SharedDrafts::learn(int64_t sequences, double seconds) {
  if (source_ != nullptr) source_->learn(outcomes_, sequences, seconds);
  outcomes_.clear();
}

void SharedDrafts::forget(int64_t request) {
  if (source_ != nullptr) source_->forget(request);
}

}  // namespace trireme
