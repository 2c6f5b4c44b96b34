#include <algorithm>
#include <span>

#include "models/inference/cached_model.h"
#include "models/inference/speculation/draft_texts.h"
#include "models/inference/speculation/drafts.h"
#include "runtime/base/error.h"
#include "runtime/ops/cpu/logit_rows.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

// Of texts that the draft model does not know yet, in one proposal: running texts wait for it.
constexpr int64_t kCatchUpTokens = 512;

class ModelDrafts final : public DraftSource {
 public:
  ModelDrafts(Context& ctx, InferenceModel& model, int64_t vocab_size, const CacheOptions& cache)
      : ctx_(ctx),
        cached_(ctx, model.parallel(), model.model(), cache),
        vocab_size_(vocab_size),
        texts_(cache.num_blocks, cache.block_tokens) {}

  void propose(std::span<const DraftedText> texts) override {
    for (const DraftedText& text : texts) text.draft->clear();
    begin(texts);
    for (; !open_.empty(); drop_complete()) step();
  }
  void learn(std::span<const DraftOutcome> /*outcomes*/, int64_t /*sequences*/, double /*seconds*/) override {
  }
  void forget(int64_t request) override { texts_.forget(request); }

 private:
  /// A text in the making.
  struct OpenText {
    DraftedText text;
    DraftState* state;
    int64_t most;          // tokens of its draft
    int64_t first, count;  // of the tokens that the next pass computes, in pass_tokens_
  };

  void begin(std::span<const DraftedText> texts);
  void step();
  void take(OpenText& open, std::span<const float> logits);
  void drop_complete();

  Context& ctx_;
  CachedModel cached_;
  int64_t vocab_size_;
  DraftTexts texts_;
  // Of a proposal; kept so that none takes memory for them anew.
  std::vector<OpenText> open_;
  std::vector<int32_t> pass_tokens_;
  std::vector<SequenceChunk> chunks_;
};

// Texts that are not known that far yet are read first, and get their drafts when that is done.
void ModelDrafts::begin(std::span<const DraftedText> texts) {
  const int64_t known = cached_.model().config().vocab_size, longest = cached_.model().max_seq_len();
  int64_t room = kCatchUpTokens;
  texts_.begin();
  open_.clear();
  pass_tokens_.clear();
  for (const DraftedText& text : texts) {
    const int64_t length = std::ssize(text.tokens), most = std::min(text.most, longest - length + 1);
    if (most <= 0 || length == 0 || room <= 0) continue;
    // The last token drafted is not computed.
    DraftState* state = texts_.at(text.request, text.tokens, length + most - 1);
    if (state == nullptr) continue;
    const int64_t done = std::ssize(state->tokens), count = std::min(room, length - done);
    const auto next = text.tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(count));
    if (std::ranges::any_of(next, [&](int32_t token) { return token < 0 || token >= known; })) continue;
    room -= count;
    open_.push_back({text, state, done + count == length ? most : 0, std::ssize(pass_tokens_), count});
    pass_tokens_.insert(pass_tokens_.end(), next.begin(), next.end());
  }
}

void ModelDrafts::step() {
  chunks_.clear();
  for (const OpenText& open : open_) {
    const auto tokens = std::span<const int32_t>(pass_tokens_)
                            .subspan(static_cast<size_t>(open.first), static_cast<size_t>(open.count));
    chunks_.push_back(
        {tokens, std::ssize(open.state->tokens), open.state->blocks, std::min<int64_t>(open.most, 1)});
  }
  const Tensor logits = cached_.logits(ctx_, chunks_);
  const bool is_here = logits.device().type == DeviceType::cpu;
  const std::vector<float> copied = is_here ? std::vector<float>() : ops::to_host<float>(ctx_, logits);
  const float* row = is_here ? logits.data<float>() : copied.data();
  for (size_t i = 0; i < open_.size(); ++i) {
    OpenText& open = open_[i];
    open.state->tokens.insert(open.state->tokens.end(), chunks_[i].tokens.begin(), chunks_[i].tokens.end());
    texts_.remember(*open.state, std::min(std::ssize(open.state->tokens), std::ssize(open.text.tokens)));
    if (open.most == 0) continue;
    take(open, {row, static_cast<size_t>(vocab_size_)});
    row += logits.dim(1);
  }
}

// The likeliest token; a model whose logits are damaged guesses nothing.
void ModelDrafts::take(OpenText& open, std::span<const float> logits) {
  const ops::cpu::LargestLogit largest = ops::cpu::largest_logit(logits);
  if (largest.is_sound) {
    open.text.draft->push_back(static_cast<int32_t>(largest.index));
  } else {
    open.most = 0;
  }
}

void ModelDrafts::drop_complete() {
  std::erase_if(open_, [](const OpenText& open) { return std::ssize(*open.text.draft) >= open.most; });
  pass_tokens_.clear();
  for (OpenText& open : open_) {
    open.first = std::ssize(pass_tokens_);
    open.count = 1;
    pass_tokens_.push_back(open.text.draft->back());
  }
}

}  // namespace

std::unique_ptr<DraftSource> model_drafts(Context& ctx, InferenceModel& model, int64_t vocab_size,
                                          int64_t cache_blocks) {
  const int64_t known = model.config().vocab_size;
  if (known < vocab_size) {
    throw_usage(
        "the draft model has {} tokens, and the model {}: drafts are of use from a model with the same "
        "vocabulary",
        known, vocab_size);
  }
  return std::make_unique<ModelDrafts>(ctx, model, vocab_size, CacheOptions{.num_blocks = cache_blocks});
}

}  // namespace trireme
