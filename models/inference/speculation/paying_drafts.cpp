#include <chrono>
#include <unordered_map>

#include "models/inference/speculation/draft_economics.h"
#include "models/inference/speculation/drafts.h"

namespace trireme {

namespace {

class PayingDrafts final : public DraftSource {
 public:
  explicit PayingDrafts(std::unique_ptr<DraftSource> source) : source_(std::move(source)) {}

  void propose(std::span<const DraftedText> texts) override {
    candidates_.clear();
    for (const DraftedText& text : texts) candidates_.push_back({text.request, text.most});
    const auto choices = economics_.choose(candidates_);
    const auto ask = [&](bool reads) {
      const Clock::time_point begin = Clock::now();
      asked_.clear();
      for (size_t i = 0; i < texts.size(); ++i) {
        if (choices[i].count <= 0 || choices[i].reads != reads) continue;
        asked_.push_back(texts[i]);
        asked_.back().most = choices[i].count;
      }
      if (!asked_.empty()) source_->propose(asked_);
      return std::chrono::duration<double>(Clock::now() - begin).count();
    };
    for (const DraftedText& text : texts) text.draft->clear();
    times_.reading = ask(true);
    times_.drafting = ask(false);
  }

  void learn(std::span<const DraftOutcome> outcomes, int64_t sequences, double seconds) override {
    times_.all = seconds;
    economics_.learn(outcomes, sequences, times_);
    source_->learn(outcomes, sequences, seconds);
    times_ = {};
  }

  void drafting_took(double seconds) override { times_.drafting += seconds; }

  void forget(int64_t request) override {
    economics_.forget(request);
    source_->forget(request);
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::unique_ptr<DraftSource> source_;
  DraftEconomics economics_;
  DraftEconomics::Times times_;  // of the next pass to be learned of
  // Of a pass; kept so that none takes memory for them anew.
  std::vector<DraftEconomics::Candidate> candidates_;
  std::vector<DraftedText> asked_;
};

}  // namespace

std::unique_ptr<DraftSource> paying_drafts(std::unique_ptr<DraftSource> source) {
  return std::make_unique<PayingDrafts>(std::move(source));
}

}  // namespace trireme
