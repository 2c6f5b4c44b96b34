#include "tests/support/inference_models.h"

#include <algorithm>
#include <ostream>

#include <gtest/gtest.h>

#include "models/families/family.h"
#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "tests/support/layout_run.h"

namespace trireme::test {

void PrintTo(const NamedModel& model, std::ostream* out) { *out << model.name; }

std::vector<NamedModel> inference_models(int64_t max_positions) {
  const auto model = [&](ModelFamily family) {
    ModelConfig c = tiny_model(family);
    c.num_layers = 4;
    c.max_positions = max_positions;
    c.init_std = 0.1;
    return c;
  };
  std::vector<NamedModel> models{
      {"dense_llama", model(ModelFamily::llama)},       {"gpt2", model(ModelFamily::gpt2)},
      {"mixture", model(ModelFamily::llama)},           {"shared_layers", model(ModelFamily::llama)},
      {"windows_and_caps", model(ModelFamily::gemma2)}, {"grouped_queries", model(ModelFamily::qwen3)}};
  models[2].config.moe = {.num_experts = 4, .expert_ffn_size = 12, .shared_ffn_size = 10, .every = 2};
  models[3].config.share = 2;
  models[4].config.window = 21;
  models[5].config.num_kv_heads = 1;
  models[5].config.patterns = {{20, {.sinks = 3}},
                               {4, {.stride = 8, .stride_keys = 2}},
                               {6, {.num_globals = 2, .globals = {1, 9}}},
                               {2, {.block = 8, .summary = 3, .reach = 1}}};
  models[5].config.rotary_dims = models[5].config.head_dim() / 2 / 2 * 2;
  return models;
}

std::vector<NamedModel> edge_models(int64_t max_positions) {
  const std::vector<NamedModel> models = inference_models(max_positions);
  NamedModel convolutions{"convolutions", models[0].config}, narrow{"narrow_inside", models[1].config};
  convolutions.config.convolution = {.kernel = 4, .every = 2};
  narrow.config.convolution = {.kernel = 3, .every = 3, .first_block = 1};
  narrow.config.bottleneck = {.width = narrow.config.hidden_size, .num_feed_forwards = 2};
  narrow.config.hidden_size += 12;
  return {convolutions, narrow};
}

// Most tokens follow from the one before them.
std::vector<int32_t> some_text(int64_t vocab_size, int64_t count, uint64_t seed) {
  std::vector<int32_t> tokens;
  int64_t last = 1;
  for (int64_t i = 0; i < count; ++i) {
    const auto drawn = philox4x32(seed, static_cast<uint64_t>(i), 4);
    last = drawn[0] % 4 == 0 ? drawn[1] % vocab_size : (3 * last + 1) % vocab_size;
    tokens.push_back(static_cast<int32_t>(last));
  }
  return tokens;
}

TrainedWeights::TrainedWeights(const ModelConfig& config, int steps) {
  constexpr int64_t kLength = 32;
  Context ctx;
  const auto self = make_self_communicator();
  TrainingSession session(ctx, *self, {.data = 1}, config, {.seed = 3});
  for (int i = 0; i < steps; ++i) {
    const auto text = some_text(config.vocab_size, 4 * kLength + 1, static_cast<uint64_t>(i) + 100);
    const std::span all(text);
    MicroBatch batch =
        make_micro_batch(ctx, 4, kLength, all.first(text.size() - 1), all.last(text.size() - 1));
    session.step().apply(session.step().forward_backward({&batch, 1}), 3e-3);
  }
  session.save(path());
}

CachedRank::CachedRank(Communicator& world, const ParallelPlan& plan, const ModelConfig& config,
                       const std::string& weights, const CacheOptions& options, int num_threads,
                       DType precision)
    : ctx({}, num_threads),
      session(ctx, world, plan, config, {.precision = precision, .weights = weights}),
      cached(ctx, session.parallel(), session.model(), options) {}

std::vector<GenerationRequest> some_requests(int64_t vocab_size, int64_t count, uint64_t seed) {
  std::vector<GenerationRequest> requests;
  for (int64_t i = 0; i < count; ++i) {
    const auto drawn = philox4x32(seed, static_cast<uint64_t>(i), 9);
    GenerationRequest& r = requests.emplace_back();
    r.prompt = some_text(vocab_size, 1 + drawn[0] % 40, drawn[1] % 3);  // of three texts
    r.max_tokens = 10 + drawn[2] % 36;
    r.sampling.temperature = i % 3 == 0 ? 0 : 0.8;
    r.sampling.seed = drawn[3];
    if (i % 3 == 1) r.sampling.top_p = 0.9;
    if (i % 3 == 2) r.sampling.top_k = 7;
    if (i % 4 == 3) r.sampling.repetition_penalty = 1.3;
    if (i % 4 == 2) r.end_tokens = {5, 11};
  }
  return requests;
}

Texts generate(Context& ctx, const ParallelContext& parallel, CachedModel& cached,
               const GeneratorOptions& options, const std::vector<GenerationRequest>& requests,
               GenerationCounts* counts) {
  Generator generator(ctx, parallel, cached, options);
  for (const GenerationRequest& request : requests) generator.add(request);
  Texts seen(requests.size()), texts;
  bool has_seen = false;
  while (generator.step([&](const GeneratedToken& token) {
    auto& text = seen[static_cast<size_t>(token.request)];
    EXPECT_EQ(token.index, std::ssize(text));
    EXPECT_LE(token.sampled.log_probability, 0);
    text.push_back(token.sampled.token);
    return !(has_seen = true);
  })) {
  }
  EXPECT_EQ(generator.num_unfinished(), 0);
  for (int64_t i = 0; i < std::ssize(requests); ++i) {
    const auto text = generator.text(i);
    const GenerationRequest& request = requests[static_cast<size_t>(i)];
    const bool is_ended = std::ranges::count(request.end_tokens, text.back()) > 0;
    EXPECT_EQ(generator.finish(i), is_ended ? FinishReason::end_token : FinishReason::length);
    texts.emplace_back(text.begin(), text.end());
  }
  if (has_seen) {
    EXPECT_EQ(seen, texts);
  }
  if (counts != nullptr) *counts = generator.counts();
  return texts;
}

}  // namespace trireme::test
