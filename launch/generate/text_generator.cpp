#include "launch/generate/text_generator.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "launch/report/number_text.h"
#include "models/inference/cache_reach.h"
#include "models/spec/model_spec.h"
#include "runtime/base/error.h"
#include "runtime/comm/record/recorder.h"

namespace trireme::launch {

namespace {

constexpr int64_t kCacheBlock = 32;

int64_t blocks_of(int64_t tokens) { return (tokens + kCacheBlock - 1) / kCacheBlock; }

double rate(int64_t count, double seconds) { return seconds > 0 ? static_cast<double>(count) / seconds : 0; }

}  // namespace

TextGenerator::TextGenerator(Context& ctx, Communicator& world, const ModelFiles& files,
                             const InferenceArguments& arguments,
                             const std::function<int64_t()>& cache_tokens, int64_t vocab_size,
                             const SpeculationArguments& speculation)
    : world_(world), model_(ctx, world, files.path, fitting(files.config, arguments), arguments.model) {
  check_formats(arguments, model_.loaded());
  const int64_t tokens = share_number(world, world.rank() == 0 ? cache_tokens() : 0);
  CacheOptions cache = cache_of(tokens, arguments);
  cache.exit = exit_rule_of(model_.config(), arguments.exit);
  cached_.emplace(ctx, model_.parallel(), model_.model(), cache);
  GeneratorOptions options;
  options.max_batch_tokens = arguments.batch_tokens;
  options.max_sequences = std::min(arguments.max_sequences, arguments.batch_tokens);
  options.vocab_size = vocab_size;
  drafts_ = make_drafts(ctx, world, speculation, arguments, files, vocab_size, this->cache_tokens());
  options.max_draft_tokens = speculation.tokens;
  if (speculation.is_self()) options.draft_blocks = draft_blocks_of(model_.config(), arguments.exit);
  options.drafts = drafts_.get();
  generator_.emplace(ctx, model_.parallel(), *cached_, options);
}

int64_t TextGenerator::run(const std::vector<GenerationRequest>& requests, std::vector<Answer>& answers,
                           const std::function<int64_t()>& interruption, const OnPiece& on_piece) {
  std::vector<int64_t> numbers;
  for (const GenerationRequest& request : requests) numbers.push_back(generator_->add(request));
  num_texts_ += std::ssize(numbers);
  const auto on_token = [&](const GeneratedToken& token) {
    const auto place =
        static_cast<size_t>(std::ranges::lower_bound(numbers, token.request) - numbers.begin());
    on_piece(place, answers[place].push(token));
    return answers[place].is_stopped();
  };
  int64_t ended_by = 0;
  while (generator_->num_unfinished() > 0) {
    ended_by = share_number(world_, world_.rank() == 0 ? interruption() : 0);
    if (ended_by != 0 || !generator_->step(on_token)) break;
  }
  for (const int64_t number : numbers) {
    if (generator_->finish(number) == FinishReason::none) generator_->cancel(number);
    generator_->release(number);
  }
  for (size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].is_over()) continue;
    on_piece(i, answers[i].interrupt());
  }
  return ended_by;
}

nlohmann::ordered_json TextGenerator::figures() const {
  const GenerationCounts& counts = generator_->counts();
  const LoadReport& loaded = model_.loaded();
  nlohmann::ordered_json json;
  json["texts"] = num_texts_;
  json["prompt_tokens"] = counts.prompt_tokens;
  json["reused_tokens"] = counts.reused_tokens;
  json["decoded_tokens"] = counts.decoded_tokens;
  json["passes"] = counts.passes;
  json["drafted_tokens"] = counts.drafted_tokens;
  json["accepted_tokens"] = counts.accepted_tokens;
  json["mean_layers"] = mean_layers();
  json["layers"] = model_.config().num_layers;
  json["prompt_seconds"] = counts.prompt_seconds;
  json["decode_seconds"] = counts.decode_seconds;
  json["prompt_tokens_per_second"] = rate(counts.prompt_tokens - counts.reused_tokens, counts.prompt_seconds);
  // The first token of a text comes with its prompt.
  json["decode_tokens_per_second"] =
      rate(std::max<int64_t>(0, counts.decoded_tokens - num_texts_), counts.decode_seconds);
  json["load_seconds"] = loaded.seconds;
  json["weights"] = loaded.formats;
  json["weight_bytes"] = loaded.weight_bytes;
  return json;
}

double TextGenerator::mean_layers() const {
  const GenerationCounts counts = generator_->counts();
  return counts.exit_rows > 0
             ? static_cast<double>(counts.exit_blocks) / static_cast<double>(counts.exit_rows)
             : static_cast<double>(model_.config().num_layers);
}

std::string TextGenerator::summary() const {
  const nlohmann::ordered_json json = figures();
  const LoadReport& loaded = model_.loaded();
  const GenerationCounts& counts = generator_->counts();
  std::string text = fmt::format("loaded {} ({}) in {:.2f} s | prompts: {} tokens",
                                 short_bytes(static_cast<double>(loaded.weight_bytes)), loaded.formats,
                                 loaded.seconds, counts.prompt_tokens);
  if (counts.reused_tokens > 0) text += fmt::format(", {} of them reused", counts.reused_tokens);
  text += fmt::format(", {:.1f} tokens/s | texts: {} tokens", json["prompt_tokens_per_second"].get<double>(),
                      counts.decoded_tokens);
  const double decoding = json["decode_tokens_per_second"].get<double>();
  if (decoding > 0) text += fmt::format(", {:.1f} tokens/s", decoding);
  if (counts.drafted_tokens > 0) {
    text += fmt::format(" | drafts: {} tokens, {:.0f} % of them right", counts.drafted_tokens,
                        100 * rate(counts.accepted_tokens, static_cast<double>(counts.drafted_tokens)));
  }
  if (counts.exit_rows > 0)
    text += fmt::format(" | layers: {:.2f} of {} a token", mean_layers(), model_.config().num_layers);
  return text;
}

int64_t default_cache_tokens(const std::vector<int64_t>& lengths, int64_t least, const ModelConfig& config,
                             const InferenceArguments& arguments, int64_t available_bytes,
                             int64_t max_sequences) {
  const auto at_once = static_cast<size_t>(std::min<int64_t>(max_sequences, arguments.batch_tokens));
  std::vector<int64_t> blocks;
  CacheReach reach(spec_of(config), kCacheBlock);
  const auto blocks_for = [&](int64_t length) { return reach.most_used(length, arguments.batch_tokens) + 1; };
  for (const int64_t length : lengths) blocks.push_back(blocks_for(length));
  std::ranges::sort(blocks, std::greater<>());
  blocks.resize(std::min(blocks.size(), at_once));
  int64_t wanted = std::accumulate(blocks.begin(), blocks.end(), int64_t{0});
  const ParallelPlan& plan = arguments.model.plan;
  const DType type = arguments.model.compute_type;
  const int64_t heads = std::max<int64_t>(1, config.num_kv_heads / plan.tensor);
  const int64_t of_attention =
      ops::key_value_block_bytes(heads, config.head_dim(), kCacheBlock, type, arguments.cache);
  const int64_t of_convolution = kCacheBlock * ((config.inner_size() + plan.tensor - 1) / plan.tensor) *
                                 static_cast<int64_t>(size_of(type));
  int64_t all = 0;
  for (int64_t i = 0; i < config.num_layers; ++i)
    all += config.convolution.is_in(i) ? of_convolution : of_attention;
  const int64_t bytes = (all + plan.pipeline - 1) / plan.pipeline;
  if (available_bytes > 0) wanted = std::min(wanted, available_bytes / 2 / bytes);
  return std::max(wanted, blocks_for(least)) * kCacheBlock;
}

CacheOptions cache_of(int64_t tokens, const InferenceArguments& arguments) {
  return {.num_blocks = blocks_of(tokens), .block_tokens = kCacheBlock, .type = arguments.cache};
}

}  // namespace trireme::launch
