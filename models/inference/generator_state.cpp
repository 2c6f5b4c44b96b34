#include "models/inference/generator_state.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

// Of a pass that scores prompts, however large the vocabulary is.
constexpr int64_t kMostLogitBytes = int64_t{64} << 20;

Scheduler::Limits limits_of(const GeneratorOptions& options, int64_t vocab_size) {
  return {.batch_tokens = options.max_batch_tokens,
          .sequences = options.max_sequences,
          .reuses_prefixes = options.reuses_prefixes,
          .passes_per_priority = options.passes_per_priority,
          .logit_rows = kMostLogitBytes / (vocab_size * int64_t{sizeof(float)})};
}

}  // namespace

FinishReason RunningRequest::finish_with(int32_t token, int64_t index) const {
  if (std::ranges::count(wanted.end_tokens, token) > 0) return FinishReason::end_token;
  return index + 1 == wanted.max_tokens ? FinishReason::length : FinishReason::none;
}

Generator::State::State(Context& context, const ParallelContext& parallel, CachedModel& cached,
                        const GeneratorOptions& options)
    : ctx(context),
      model(cached),
      first(parallel),
      vocab_size(options.vocab_size > 0 ? options.vocab_size : cached.model().config().vocab_size),
      pool(cached.options().num_blocks, cached.options().block_tokens),
      scheduler(pool, limits_of(options, cached.model().config().vocab_size),
                CacheReach(cached.model().spec(), cached.options().block_tokens)),
      drafts(first, options.drafts, options.max_draft_tokens, vocab_size) {
  if (options.draft_blocks > 0)
    self.emplace(model, first, parallel, options.draft_blocks, options.least_likely_draft, vocab_size);
}

RunningRequest& Generator::State::at(int64_t request) const {
  const auto found = requests.find(request);
  TRIREME_CHECK(found != requests.end(), "request {} of {}, of which {} are kept", request, next_number,
                requests.size());
  return *found->second;
}

void Generator::State::expect_length(const GenerationRequest& request) {
  const int64_t prompt = std::ssize(request.prompt), longest = model.model().max_seq_len();
  if (prompt == 0) throw_usage("an empty prompt: generation begins after at least one token");
  if (request.max_tokens < (request.scores_prompt ? 0 : 1)) {
    throw_usage("max_tokens is {}; allowed: 1 or more, or 0 where the prompt is scored", request.max_tokens);
  }
  if (request.min_tokens < 0 || request.min_tokens > request.max_tokens) {
    throw_usage("min_tokens is {}; allowed: 0 to {} (max_tokens)", request.min_tokens, request.max_tokens);
  }
  if (request.max_tokens > longest - prompt) {
    throw_usage(
        "{} tokens of a prompt and {} new ones (max_tokens) are more than the longest sequence of the model, "
        "{}: {} new ones would fit",
        prompt, request.max_tokens, longest, std::max<int64_t>(longest - prompt, 0));
  }
  // Of a text whose tokens see a bounded number of keys the cache holds a part at a time.
  const int64_t cached = scheduler.longest(longest);
  if (request.max_tokens > cached - prompt) {
    throw_usage(
        "{} tokens of a prompt and {} new ones (max_tokens) are more than the cache of keys and values "
        "holds, {} blocks of {} tokens: {} new ones would fit",
        prompt, request.max_tokens, pool.num_blocks(), pool.block_tokens(),
        std::max<int64_t>(cached - prompt, 0));
  }
}

void Generator::State::expect(const GenerationRequest& request) {
  expect_length(request);
  const int64_t known = request.scores_prompt ? vocab_size : model.model().config().vocab_size;
  for (const int32_t token : request.prompt) {
    if (token < 0 || token >= known) throw_usage("token {} of a prompt; the model has {}", token, known);
  }
  if (request.num_alternatives < -1) {
    throw_usage("num_alternatives is {}; allowed: 0 or more, or -1: no scores", request.num_alternatives);
  }
  const std::vector<std::string> errors = errors_of(request.sampling);
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    if (token < 0 || token >= vocab_size)
      throw_usage("a logit bias of {} for token {}; the model has {}", bias, token, vocab_size);
  }
}

void Generator::State::end(RunningRequest& request, FinishReason finish) {
  request.finish = finish;
  --num_unfinished;
  scheduler.remove(request.sequence);
  drafts.forget(request.sequence.number);
}

}  // namespace trireme
