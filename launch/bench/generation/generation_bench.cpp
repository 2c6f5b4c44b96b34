#include "launch/bench/generation/generation_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

#include "models/cost/model_size.h"
#include "models/inference/draw_tokens.h"
#include "models/inference/first_rank.h"
#include "runtime/base/philox.h"

namespace trireme::launch {

namespace {

using Clock = std::chrono::steady_clock;

class GenerationBench {
 public:
  GenerationBench(Context& ctx, const ParallelContext& parallel, CachedModel& model,
                  const GenerationBenchOptions& options)
      : ctx_(ctx), first_(parallel), model_(model), options_(options) {
    const int64_t each = blocks_each();
    for (int64_t s = 0; s < options.batch; ++s) {
      auto& blocks = blocks_.emplace_back(each);
      std::iota(blocks.begin(), blocks.end(), static_cast<int32_t>(s * each));
    }
  }

  void run(GenerationTimes& times) {
    draw_prompts();
    ctx_.stream().synchronize();
    const auto start = Clock::now();
    read_prompts();
    const auto between = Clock::now();
    auto end = between;
    for (int64_t i = 0; i < options_.decode_tokens; ++i) {
      decode(options_.prompt_tokens + i);
      const auto begin = std::exchange(end, Clock::now());
      times.step_seconds.push_back(std::chrono::duration<double>(end - begin).count());
    }
    times.prompt_seconds.push_back(std::chrono::duration<double>(between - start).count());
    times.decode_seconds.push_back(std::chrono::duration<double>(end - between).count());
  }

 private:
  int64_t blocks_each() const {
    const int64_t block = model_.options().block_tokens;
    return (options_.seq_len() + block - 1) / block;
  }

  void draw_prompts() {
    tokens_.assign(static_cast<size_t>(options_.batch), {});
    const auto vocab = static_cast<uint64_t>(model_.model().config().vocab_size);
    for (size_t s = 0; s < tokens_.size(); ++s) {
      for (int64_t i = 0; i < options_.prompt_tokens; ++i)
        tokens_[s].push_back(static_cast<int32_t>(philox4x32(s, static_cast<uint64_t>(i), 0)[0] % vocab));
    }
  }

  std::span<const int32_t> blocks_to(size_t sequence, int64_t end) const {
    const int64_t block = model_.options().block_tokens;
    return std::span(blocks_[sequence]).first(static_cast<size_t>((end + block - 1) / block));
  }

  void read_prompts() {
    for (size_t s = 0; s < tokens_.size(); ++s) {
      const std::span<const int32_t> prompt = tokens_[s];
      Tensor logits;
      for (int64_t at = 0; at < options_.prompt_tokens; at += options_.batch_tokens) {
        const int64_t count = std::min(options_.batch_tokens, options_.prompt_tokens - at), end = at + count;
        const SequenceChunk chunk{
            .tokens = prompt.subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
            .start = at,
            .blocks = blocks_to(s, end),
            .num_logits = end == options_.prompt_tokens ? 1 : 0};
        logits = model_.logits(ctx_, std::span(&chunk, 1));
      }
      draw(logits, s, 1);
    }
  }

  void decode(int64_t place) {
    std::vector<SequenceChunk> chunks;
    for (size_t s = 0; s < tokens_.size(); ++s)
      chunks.push_back({std::span<const int32_t>(tokens_[s]).last(1), place, blocks_to(s, place + 1), 1});
    draw(model_.logits(ctx_, chunks), 0, tokens_.size());
  }

  /// The next tokens of `count` sequences.
  void draw(const Tensor& logits, size_t first, size_t count) {
    std::vector<int32_t> drawn(count);
    if (first_.is_this()) {
      const SamplingOptions greedy;
      std::vector<DrawnSequence> sequences(count, DrawnSequence{&greedy, {}, {}});
      drawn = draw_tokens(ctx_, logits, model_.model().config().vocab_size, sequences);
    }
    first_.share(ctx_, drawn);
    for (size_t i = 0; i < count; ++i) tokens_[first + i].push_back(drawn[i]);
  }

  Context& ctx_;
  FirstRank first_;
  CachedModel& model_;
  GenerationBenchOptions options_;
  std::vector<std::vector<int32_t>> blocks_, tokens_;
};

}  // namespace

Spread rates_of(const std::vector<double>& seconds, int64_t count) {
  const auto rate = [&](double of) { return static_cast<double>(count) / of; };
  const auto [least, most] = std::ranges::minmax(seconds);
  return {rate(percentiles_of(seconds).median), rate(most), rate(least)};
}

Percentiles percentiles_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, values[(95 * values.size() + 99) / 100 - 1]};
}

CacheOptions cache_for(const GenerationBenchOptions& options) {
  CacheOptions cache;
  cache.type = options.cache;
  const int64_t each = (options.seq_len() + cache.block_tokens - 1) / cache.block_tokens;
  cache.num_blocks = each * options.batch;
  return cache;
}

GenerationTimes time_generation(Context& ctx, const ParallelContext& parallel, CachedModel& model,
                                const GenerationBenchOptions& options) {
  GenerationBench bench(ctx, parallel, model, options);
  GenerationTimes warm_up, times;
  bench.run(warm_up);
  for (int64_t i = 0; i < options.repeats; ++i) bench.run(times);
  return times;
}

double bytes_of_step(const ModelConfig& config, int64_t weight_bytes, int64_t cache_block_bytes,
                     const GenerationBenchOptions& options) {
  const auto number = [](int64_t n) { return static_cast<double>(n); };
  double all = 0, read = 0;
  double of_experts = 1;  // share of them that some token chooses
  if (config.moe.num_experts > 0) {
    const double chosen = number(config.moe.experts_per_token) / number(config.moe.num_experts);
    of_experts = 1 - std::pow(1 - chosen, number(options.batch));
  }
  for (const ParameterInfo& info : parameter_table(config)) {
    const bool is_only_looked_up = info.name == "embedding.tokens.weight" && !config.tied_embeddings;
    const double share = is_only_looked_up ? 0 : info.expert >= 0 ? of_experts : 1;
    all += number(info.count());
    read += share * number(info.count());
  }
  const double length = number(options.prompt_tokens) + number(options.decode_tokens) / 2;
  const double cache = number(cache_block_bytes) / number(CacheOptions().block_tokens) * length;
  return number(weight_bytes) * read / all + cache * number(options.batch);
}

}  // namespace trireme::launch
