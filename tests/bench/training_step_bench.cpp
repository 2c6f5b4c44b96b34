// One optimizer step of a whole model on one rank, as a share of the GEMM rate measured in the same run.
//   training_step_bench [--benchmark_filter=...] [--benchmark_out=step.json --benchmark_out_format=json]
#include <benchmark/benchmark.h>

#include "models/config/model_size.h"
#include "models/config/presets.h"
#include "models/transformer/transformer.h"
#include "parallel/training/training_step.h"
#include "runtime/base/philox.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/ops/gemm_rate.h"

namespace trireme {
namespace {

struct Case {
  const char* preset;
  int64_t vocab;  // where the preset leaves it open
  int64_t batch, seq_len;
  DType precision;
};

std::vector<int32_t> random_ids(int64_t n, int64_t vocab) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<int32_t>(philox4x32(1, i, 0)[0] % static_cast<uint32_t>(vocab));
  }
  return ids;
}

void training_step(benchmark::State& state, const Case& c) {
  Context ctx({}, static_cast<int>(state.range(0)));
  ModelConfig config = find_preset(c.preset)->config;
  if (config.vocab_size == 0) config.vocab_size = c.vocab;
  const auto self = make_self_communicator();
  const ParallelContext one_rank(*self, {.data = 1});
  Transformer model(ctx, one_rank, config, c.seq_len, c.precision);
  model.storage().initialize(ctx, 1);
  TrainingStep step(ctx, one_rank, model.part(), {});
  const auto ids = random_ids(c.batch * c.seq_len + 1, config.vocab_size);
  const std::span all(ids);
  MicroBatch mb =
      make_micro_batch(ctx, c.batch, c.seq_len, all.first(ids.size() - 1), all.last(ids.size() - 1));
  const auto run = [&] {
    const BatchTotals totals = step.accumulate({&mb, 1});
    step.update(totals, step.gradient_norm(totals), 1e-4);
  };
  run();  // memory and kernels are found on the first step
  const double peak = ops::measure_gemm_rate(ctx, c.precision);
  for (auto _ : state) run();
  const double tokens = static_cast<double>(state.iterations() * c.batch * c.seq_len);
  const double flops = training_flops_per_token(config, c.seq_len) * tokens;
  state.counters["tokens_per_s"] = benchmark::Counter(tokens, benchmark::Counter::kIsRate);
  state.counters["TFLOP_per_s"] = benchmark::Counter(flops * 1e-12, benchmark::Counter::kIsRate);
  state.counters["gemm_TFLOP_per_s"] = peak * 1e-12;
  state.counters["share_of_gemm"] = benchmark::Counter(flops / peak, benchmark::Counter::kIsRate);
  const auto stats = ctx.allocator().stats();
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    state.counters[fmt::format("peak_MiB_{}", to_string(static_cast<MemoryCategory>(i)))] =
        static_cast<double>(stats.by_category[static_cast<size_t>(i)].peak) / (1 << 20);
  }
}

void add(const char* name, const Case& c) {
  benchmark::RegisterBenchmark(name, [c](benchmark::State& s) { training_step(s, c); })
      ->ArgName("threads")
      ->Arg(1)
      ->Arg(2)
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond)
      ->MinTime(2.0);
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) {
  using trireme::DType;
  trireme::add("gpt2_10m_8x128/f32", {"gpt2-10m", 4096, 8, 128, DType::f32});
  trireme::add("gpt2_10m_8x128/bf16", {"gpt2-10m", 4096, 8, 128, DType::bf16});
  trireme::add("gpt2_124m_4x256/f32", {"gpt2-124m", 50257, 4, 256, DType::f32});
  trireme::add("gpt2_124m_4x256/bf16", {"gpt2-124m", 50257, 4, 256, DType::bf16});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
