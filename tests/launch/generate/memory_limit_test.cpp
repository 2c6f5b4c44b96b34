// What a generation takes is known before it, and fits a limit or is refused with one that it fits.
#include "launch/generate/memory_limit.h"

#include <numeric>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/bench/generation/drawn_weights.h"
#include "models/families/presets.h"
#include "models/inference/cached_model.h"
#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"

namespace trireme::launch {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(BytesOfText, HaveAUnit) {
  EXPECT_EQ(bytes_of_text("32MB"), 32'000'000);
  EXPECT_EQ(bytes_of_text("32MiB"), 32 << 20);
  EXPECT_EQ(bytes_of_text("1.5GiB"), 3 << 29);
  EXPECT_EQ(bytes_of_text("0.5 kB"), 500);
  EXPECT_EQ(bytes_of_text("7B"), 7);
  for (const char* wrong : {"", "32", "MB", "32M", "32mb", "-1MB", "0MB", "1e9B", "nanMB", "infGB", "32MB ",
                            "0x10MB", "0.5B", "9999999999999GiB"}) {
    EXPECT_FALSE(bytes_of_text(wrong)) << wrong;
  }
}

ModelConfig small_model() {
  ModelConfig config = find_preset("llama-tiny")->config;
  config.vocab_size = 1000;
  config.hidden_size = 128;
  config.ffn_size = 352;  // whole blocks of 32
  config.num_layers = 3;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.max_positions = 1024;
  return config;
}

struct Forecast {
  LoadForecast load;
  ModelSpec spec;
};

/// A loaded model, and what was foretold.
std::unique_ptr<InferenceModel> load(Context& ctx, Communicator& world, const ModelConfig& config,
                                     InferenceOptions options, std::optional<ops::PackedFormat> stored,
                                     Forecast& forecast) {
  options.before_loading = [&](const ModelSpec& spec, const LoadForecast& of) { forecast = {of, spec}; };
  return std::make_unique<InferenceModel>(ctx, world, DrawnWeights(config, stored), config, options);
}

TEST(MemoryForecast, OfWeightsIsWhatTheyTake) {
  const auto world = make_self_communicator();
  using ops::PackedFormat;
  for (const PackedFormat format :
       {PackedFormat::f32, PackedFormat::bf16, PackedFormat::int8, PackedFormat::int4, PackedFormat::fp8,
        PackedFormat::q4_0, PackedFormat::q8_0}) {
    const bool is_of_ggml = ops::is_integer(format) && format < PackedFormat::int8;
    InferenceOptions options;
    if (!is_of_ggml) options.weights = ops::PackedSpec{.format = format};
    Context ctx;
    Forecast forecast;
    const auto model = load(ctx, *world, small_model(), options,
                            is_of_ggml ? std::optional(format) : std::nullopt, forecast);
    const int64_t held =
        ctx.allocator().stats().by_category[static_cast<size_t>(MemoryCategory::weights)].current;
    SCOPED_TRACE(model->loaded().formats);
    EXPECT_GE(forecast.load.weight_bytes, held);
    EXPECT_LE(forecast.load.weight_bytes, held + held / 50 + 64 * 1024);
    EXPECT_GT(forecast.load.loading_bytes, forecast.load.weight_bytes);
  }
}

TEST(MemoryForecast, OfPassesIsNoLessThanTheyTake) {
  const auto world = make_self_communicator();
  const ModelConfig config = small_model();
  struct Case {
    int64_t rows, sequences, length;
    int threads;
    DType type;
    ops::CacheType cache;
  };
  for (const Case& c : {Case{1, 1, 900, 1, DType::f32, ops::CacheType::plain},
                        Case{16, 1, 700, 1, DType::f32, ops::CacheType::int8},
                        Case{200, 1, 600, 3, DType::f32, ops::CacheType::plain},
                        Case{8, 8, 500, 3, DType::bf16, ops::CacheType::plain},
                        Case{64, 1, 64, 2, DType::bf16, ops::CacheType::int8}}) {
    SCOPED_TRACE(
        fmt::format("{} rows, {} sequences of {}, {} threads", c.rows, c.sequences, c.length, c.threads));
    Context ctx({}, c.threads);
    Forecast forecast;
    const auto model = load(ctx, *world, config, {.compute_type = c.type}, ops::PackedFormat::q4_0, forecast);
    const int64_t each = (c.length + 31) / 32;
    CachedModel cached(ctx, model->parallel(), model->model(),
                       {.num_blocks = each * c.sequences, .type = c.cache});
    EXPECT_EQ(cache_block_bytes(forecast.spec, 32, c.type, c.cache), cached.block_bytes());
    const std::vector<int32_t> tokens(static_cast<size_t>(c.length), 1);
    std::vector<int32_t> blocks(static_cast<size_t>(each * c.sequences));
    std::iota(blocks.begin(), blocks.end(), 0);
    std::vector<SequenceChunk> chunks;
    const int64_t count = c.rows / c.sequences;
    for (int64_t s = 0; s < c.sequences; ++s) {
      chunks.push_back({std::span(tokens).first(static_cast<size_t>(count)), c.length - count,
                        std::span(blocks).subspan(static_cast<size_t>(s * each), static_cast<size_t>(each)),
                        1});
    }
    ctx.allocator().reset_peaks();
    const int64_t before = ctx.allocator().stats().total.current;
    cached.logits(ctx, chunks);
    const int64_t taken = ctx.allocator().stats().total.peak - before;
    const int64_t foretold = pass_bytes(forecast.spec, c.type, {c.rows, c.sequences, c.length, c.threads});
    EXPECT_GE(foretold, taken);
    EXPECT_LE(foretold, 8 * taken + kMiB);  // it says something
  }
}

/// Of a model of 10 MiB whose blocks of cache take 64 KiB.
MemoryDemand some_demand() {
  MemoryDemand demand;
  demand.process = {.resident = 10 * kMiB, .peak = 11 * kMiB};
  demand.load = {.weight_bytes = 10 * kMiB, .loading_bytes = 12 * kMiB};
  demand.block_bytes = 64 << 10;
  demand.cache_tokens = 6400;
  demand.least_tokens = 320;
  demand.longest = 320;
  demand.sequences = 20;
  return demand;
}

TEST(PlanMemory, FillsTheLimitAndStaysWithin) {
  const ModelSpec spec = spec_of(small_model());
  const InferenceArguments arguments;
  int64_t last_tokens = 0, last_batch = 0;
  for (const int64_t mib : {31, 32, 33, 34, 38, 44, 64}) {
    SCOPED_TRACE(mib);
    const MemoryPlan plan = plan_memory(mib * kMiB, spec, arguments, some_demand());
    EXPECT_LE(plan.total(), mib * kMiB);
    EXPECT_GE(plan.cache_tokens, 320);
    EXPECT_LE(plan.cache_tokens, 6400);
    EXPECT_EQ(plan.cache, plan.cache_tokens / 32 * (64 << 10));
    EXPECT_LE(plan.sequences, 20);
    EXPECT_LE(plan.sequences, plan.batch_tokens);
    EXPECT_GE(plan.cache_tokens, last_tokens);
    last_tokens = plan.cache_tokens;
    last_batch = plan.batch_tokens;
    if (plan.cache_tokens < 6400 && plan.sequences > 1) {
      MemoryPlan more = plan;
      more.cache += 64 << 10;
      EXPECT_GT(more.total(), mib * kMiB) << "room for another block";
    }
  }
  EXPECT_EQ(last_tokens, 6400);
  EXPECT_EQ(last_batch, 512);
}

TEST(PlanMemory, RefusesWithALimitThatWorks) {
  const ModelSpec spec = spec_of(small_model());
  const InferenceArguments arguments;
  for (const int64_t least : {32, 320, 3200}) {
    for (const int64_t batch : {1, 16, 512}) {
      MemoryDemand demand = some_demand();
      demand.least_tokens = demand.longest = least;
      demand.batch_tokens = batch;
      try {
        plan_memory(12 * kMiB, spec, arguments, demand);
        FAIL() << "12 MiB are enough for a model of 10 in a process of 10";
      } catch (const UserError& error) {
        EXPECT_EQ(error.code(), ExitCode::usage);
        std::smatch found;
        const std::string text = error.what();
        ASSERT_TRUE(std::regex_search(text, found, std::regex("--memory-limit (\\S+) works"))) << text;
        const int64_t works = bytes_of_text(found[1].str()).value();
        // Also where the next process begins with somewhat more.
        demand.process.resident += kMiB / 2;
        demand.process.peak += kMiB / 2;
        EXPECT_LE(plan_memory(works, spec, arguments, demand).total(), works);
        EXPECT_THROW(plan_memory(works - 3 * kMiB, spec, arguments, demand), UserError);
      }
    }
  }
}

TEST(PlanMemory, CountsWhatTheProcessHadAtOnce) {
  const ModelSpec spec = spec_of(small_model());
  MemoryDemand demand = some_demand();
  demand.process.peak = 50 * kMiB;
  EXPECT_THROW(plan_memory(49 * kMiB, spec, {}, demand), UserError);
  EXPECT_LE(plan_memory(51 * kMiB, spec, {}, demand).total(), 51 * kMiB);
}

}  // namespace
}  // namespace trireme::launch
