#include "launch/run/text_sample.h"

#include <algorithm>
#include <array>
#include <vector>

#include "models/inference/first_rank.h"
#include "models/inference/generator.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/ops/host_copy.h"

namespace trireme::launch {

namespace {

/// A sample on its way: on rank 0 its tokens, on all ranks what they have to know.
class SampledText {
 public:
  SampledText(Context& ctx, const ParallelContext& parallel, Transformer& model, const Tokenizer* tokenizer,
              int64_t context, const TextSampleOptions& options)
      : ctx_(ctx),
        parallel_(parallel),
        model_(model),
        tokenizer_(tokenizer),
        context_(context),
        options_(options),
        first_(parallel) {
    if (tokenizer == nullptr) return;
    tokens_ = tokenizer->encode(options.prompt);
    if (tokens_.empty()) tokens_.push_back(tokenizer->end_of_text().value_or(0));
    prompt_size_ = std::ssize(tokens_);
  }

  void write_cached();
  void write_uncached();
  std::string text() const { return tokenizer_ == nullptr ? "" : tokenizer_->decode(tokens_); }

 private:
  SamplingOptions sampling(uint64_t part) const {
    return {.temperature = options_.temperature, .seed = (hash_name("text_sample") ^ options_.seed) + part};
  }
  int64_t num_written() const { return std::ssize(tokens_) - prompt_size_; }
  bool is_over() const {
    return tokenizer_ == nullptr || has_ended_ || num_written() >= options_.num_tokens ||
           (options_.is_over && options_.is_over());
  }
  /// The first rank's numbers, on all of them.
  std::vector<int32_t> shared(std::vector<int32_t> numbers) const;
  /// The last tokens, those that a pass is to see; none: the text is over.
  std::vector<int32_t> shared_end(int64_t most) const;
  void take(int32_t token) {
    has_ended_ = tokenizer_->end_of_text() == token;
    if (!has_ended_) tokens_.push_back(token);
  }
  void write_sequence(Generator& generator, std::vector<int32_t> prompt, uint64_t part);

  Context& ctx_;
  const ParallelContext& parallel_;
  Transformer& model_;
  const Tokenizer* tokenizer_;
  int64_t context_;
  const TextSampleOptions& options_;
  FirstRank first_;
  std::vector<int32_t> tokens_;
  int64_t prompt_size_ = 0;
  bool has_ended_ = false;
};

std::vector<int32_t> SampledText::shared(std::vector<int32_t> numbers) const {
  std::array<int32_t, 1> count{static_cast<int32_t>(numbers.size())};
  first_.share(ctx_, count);
  numbers.resize(static_cast<size_t>(count[0]));
  first_.share(ctx_, numbers);
  return numbers;
}

std::vector<int32_t> SampledText::shared_end(int64_t most) const {
  if (is_over()) return shared({});
  const int64_t count = std::min(std::ssize(tokens_), most);
  return shared({tokens_.end() - count, tokens_.end()});
}

// The sequence grows to the context at most, and the text to its wanted length: what comes first ends it.
void SampledText::write_sequence(Generator& generator, std::vector<int32_t> prompt, uint64_t part) {
  const int64_t room = context_ - std::ssize(prompt);
  const int64_t number = generator.add(
      {.prompt = std::move(prompt), .max_tokens = room, .sampling = sampling(part), .end_tokens = {}});
  const auto on_token = [this](const GeneratedToken& token) {
    take(token.sampled.token);
    return has_ended_ || num_written() >= options_.num_tokens;
  };
  while (generator.finish(number) == FinishReason::none) {
    const std::vector<int32_t> over = shared({is_over() ? 1 : 0});
    if (over[0] != 0) {
      generator.cancel(number);
    } else {
      generator.step(on_token);
    }
  }
}

void SampledText::write_cached() {
  constexpr int64_t kSampleBlock = 16;
  CachedModel cached(
      ctx_, parallel_, model_,
      {.num_blocks = (context_ + kSampleBlock - 1) / kSampleBlock, .block_tokens = kSampleBlock});
  // Of a padded vocabulary rows have no token. What is drawn is rank 0's.
  const int64_t vocab_size = tokenizer_ != nullptr ? tokenizer_->vocab_size() : 0;
  Generator generator(ctx_, parallel_, cached, {.max_sequences = 1, .vocab_size = vocab_size});
  for (uint64_t part = 0;; ++part) {
    const bool fits = std::ssize(tokens_) < context_;
    std::vector<int32_t> prompt = shared_end(fits ? context_ - 1 : context_ / 2);
    if (prompt.empty()) return;
    write_sequence(generator, std::move(prompt), part);
  }
}

void SampledText::write_uncached() {
  for (int64_t i = 0;; ++i) {
    const std::vector<int32_t> seen = shared_end(context_);
    if (seen.empty()) return;
    MicroBatch mb = make_micro_batch(ctx_, 1, static_cast<int64_t>(seen.size()), seen, {});
    mb.training = false;
    const Tensor logits = model_.logits(ctx_, mb);
    const std::vector<float> last = ops::to_host_f32(ctx_, logits.slice(logits.dim(0) - 1, logits.dim(0)));
    if (tokenizer_ != nullptr)
      take(sample_token(last, tokenizer_->vocab_size(), sampling(0), {}, {}, i).token);
  }
}

}  // namespace

std::string sample_text(Context& ctx, const ParallelContext& parallel, Transformer& model,
                        const Tokenizer* tokenizer, int64_t context, const TextSampleOptions& options) {
  SampledText sample(ctx, parallel, model, tokenizer, context, options);
  constexpr int64_t kLeastCached = 2;  // a token, and one after it
  if (parallel.context().size() == 1 && context >= kLeastCached) {
    sample.write_cached();
  } else {
    sample.write_uncached();
  }
  return sample.text();
}

}  // namespace trireme::launch
