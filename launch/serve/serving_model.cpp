#include "launch/serve/serving_model.h"

#include <algorithm>

#include "launch/generate/shared_requests.h"
#include "launch/generate/text_generator.h"
#include "launch/preflight/available_memory.h"

namespace trireme::launch {

namespace {

int64_t cache_tokens_for(const ServedFiles& served, const ServeArguments& arguments, Device device,
                         int local_ranks) {
  if (arguments.model.cache_tokens > 0) return arguments.model.cache_tokens;
  const std::vector<int64_t> lengths(static_cast<size_t>(arguments.max_sequences), served.max_seq_len);
  constexpr int64_t kLeast = 2048;  // of one text, whatever the memory
  return default_cache_tokens(lengths, std::min(served.max_seq_len, kLeast), served.files.config,
                              arguments.model, available_memory(device).bytes / local_ranks,
                              arguments.max_sequences);
}

double per_second(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

ServingModel::ServingModel(Context& ctx, Communicator& world, const ServedFiles& served,
                           const ServeArguments& arguments, int local_ranks)
    : model_(ctx, world, served.files.path, fitting(served.files.config, arguments.model),
             arguments.model.model),
      vocab_size_(served.vocab_size) {
  check_formats(arguments.model, model_.loaded());
  const int64_t tokens = share_number(
      world, world.rank() == 0 ? cache_tokens_for(served, arguments, ctx.device(), local_ranks) : 0);
  CacheOptions cache = cache_of(tokens, arguments.model);
  cache.exit = exit_rule_of(model_.config(), arguments.model.exit);
  cached_.emplace(ctx, model_.parallel(), model_.model(), cache);
  GeneratorOptions options;
  options.max_batch_tokens = arguments.model.batch_tokens;
  options.max_sequences = std::min(arguments.max_sequences, arguments.model.batch_tokens);
  options.reuses_prefixes = arguments.reuses_prefixes;
  options.vocab_size = served.vocab_size;
  drafts_ = make_drafts(ctx, world, arguments.speculation, arguments.model, served.files, served.vocab_size,
                        cache_tokens());
  options.max_draft_tokens = arguments.speculation.tokens;
  if (arguments.speculation.is_self())
    options.draft_blocks = draft_blocks_of(model_.config(), arguments.model.exit);
  options.drafts = drafts_.get();
  generator_.emplace(ctx, model_.parallel(), *cached_, options);
  max_seq_len_ = std::min(served.max_seq_len, generator_->longest_text());
}

WarmUp ServingModel::warm_up(Context& ctx) {
  constexpr int64_t kPrompt = 32, kText = 8;
  WarmUp warm;
  warm.prompt_tokens = std::min(kPrompt, max_seq_len_ / 2);
  warm.text_tokens = std::min(kText, max_seq_len_ - warm.prompt_tokens);
  if (warm.prompt_tokens < 1 || warm.text_tokens < 1) return warm;
  Generator generator(ctx, model_.parallel(), *cached_,
                      {.max_batch_tokens = kPrompt, .reuses_prefixes = false, .vocab_size = vocab_size_});
  GenerationRequest request{.prompt = {}, .max_tokens = warm.text_tokens};
  for (int64_t i = 0; i < warm.prompt_tokens; ++i)
    request.prompt.push_back(static_cast<int32_t>((i * 7 + 1) % vocab_size_));
  // Twice, since the first time memory is taken and kernels are made.
  GenerationCounts first;
  for (int time = 0; time < 2; ++time) {
    if (time == 1) first = generator.counts();
    (void)generator.add(request);
    while (generator.step({})) {
    }
  }
  const GenerationCounts all = generator.counts();
  warm.prompt_per_second = per_second(warm.prompt_tokens, all.prompt_seconds - first.prompt_seconds);
  // The first token comes with the prompt.
  warm.text_per_second = per_second(warm.text_tokens - 1, all.decode_seconds - first.decode_seconds);
  return warm;
}

}  // namespace trireme::launch
