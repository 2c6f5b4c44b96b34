#include "launch/generate/speculation_options.h"

#include <algorithm>
#include <span>

#include "launch/checkpoint/agreed.h"
#include "models/inference/cached_model.h"
#include "models/inference/inference_model.h"
#include "models/inference/speculation/drafts.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme::launch {

namespace {

constexpr int64_t kMostDraftTokens = 64;

/// Drafts of a model that goes with them.
class LoadedDrafts final : public DraftSource {
 public:
  LoadedDrafts(Context& ctx, const std::string& path, const ModelConfig& config,
               const InferenceOptions& options, int64_t vocab_size, int64_t cache_tokens)
      : self_(make_self_communicator()), model_(ctx, *self_, path, config, options) {
    const int64_t width = CacheOptions().block_tokens;
    drafts_ = model_drafts(ctx, model_, vocab_size, std::max<int64_t>((cache_tokens + width - 1) / width, 1));
  }

  void propose(std::span<const DraftedText> texts) override { drafts_->propose(texts); }
  void learn(std::span<const DraftOutcome> outcomes, int64_t sequences, double seconds) override {
    drafts_->learn(outcomes, sequences, seconds);
  }
  void forget(int64_t request) override { drafts_->forget(request); }

 private:
  std::unique_ptr<Communicator> self_;
  InferenceModel model_;
  std::unique_ptr<DraftSource> drafts_;
};

/// Ids that mean something else to the draft model would never be right.
void expect_same_vocabulary(const ModelFiles& files, const ModelFiles& draft, int64_t vocab_size) {
  const auto own = tokenizer_of(files), other = tokenizer_of(draft);
  if (own == nullptr && other == nullptr) return;
  if (own == nullptr || other == nullptr) {
    throw_usage(
        "--draft-model {}: of it and {} one has a tokenizer beside it and one has none, so that it is not "
        "known "
        "whether their tokens are the same",
        draft.path, files.path);
  }
  if (own->fingerprint() == other->fingerprint()) return;
  for (int64_t id = 0; id < std::min(vocab_size, own->vocab_size()); ++id) {
    const auto token = static_cast<int32_t>(id);
    const std::string text = own->decode({&token, 1});
    const std::string theirs = id < other->vocab_size() ? other->decode({&token, 1}) : "";
    if (text == theirs) continue;
    throw_usage(
        "--draft-model {}: its tokens are others than those of {}, the first being token {}, \"{}\" there "
        "and "
        "\"{}\" here; take a smaller model of the same family, or leave it out: drafts are n-grams then",
        draft.path, files.path, id, theirs, text);
  }
}

std::unique_ptr<DraftSource> load_drafts(Context& ctx, const SpeculationArguments& arguments,
                                         const InferenceArguments& model, const ModelFiles& files,
                                         int64_t vocab_size, int64_t cache_tokens) {
  const ModelFiles draft = find_model_files(arguments.draft_model, "");
  expect_same_vocabulary(files, draft, vocab_size);
  InferenceOptions options;
  options.compute_type = model.model.compute_type;
  options.activations = model.model.activations;
  return std::make_unique<LoadedDrafts>(ctx, draft.path, draft.config, options, vocab_size, cache_tokens);
}

}  // namespace

std::vector<PlainOption> speculation_options(SpeculationArguments& arguments) {
  return {
      {"speculate", "N",
       "most tokens of a text that are guessed and checked in one pass: faster where texts repeat "
       "themselves; "
       "as many are guessed as pay, and texts are the same; 0: none",
       "0", whole_into(arguments.tokens, 0, kMostDraftTokens)},
      {"draft-model", "MODEL",
       "with --speculate: guesses of a small model with the same tokens, which rank 0 loads too; self: of "
       "this model's blocks up to --exit.layer",
       "none: what followed the same tokens before", text_into(arguments.draft_model)},
  };
}

std::vector<std::string> errors_of(const SpeculationArguments& arguments) {
  if (arguments.tokens > 0 || arguments.draft_model.empty()) return {};
  return {fmt::format("--draft-model {} has no effect without --speculate: 4 tokens are a good beginning",
                      arguments.draft_model)};
}

std::unique_ptr<DraftSource> make_drafts(Context& ctx, Communicator& world,
                                         const SpeculationArguments& arguments,
                                         const InferenceArguments& model, const ModelFiles& files,
                                         int64_t vocab_size, int64_t cache_tokens) {
  if (arguments.tokens == 0) return nullptr;
  std::unique_ptr<DraftSource> source;
  together(world, [&] {
    if (world.rank() != 0) return;
    if (arguments.is_self()) {
      source = unwritten_drafts();
    } else {
      source = arguments.draft_model.empty()
                   ? ngram_drafts({})
                   : load_drafts(ctx, arguments, model, files, vocab_size, cache_tokens);
    }
    if (!arguments.is_self()) source = paying_drafts(std::move(source));
  });
  return source;
}

}  // namespace trireme::launch
