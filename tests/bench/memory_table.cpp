// Measured and predicted memory of a rank, strategy by strategy, as a table for docs/memory.md. Ranks are
// threads, so no launcher is needed.
//   memory_table [PRESET [fp32|bf16 [ROW]]]    ROW: a part of the names of the rows to print
#include <cstring>

#include <fmt/format.h>

#include "models/families/presets.h"
#include "tests/support/memory_run.h"

namespace trireme {
namespace {

struct Row {
  const char* name;
  ParallelPlan plan{.data = 1};
  int zero_stage = 0;
  Recomputation recomputation = {};
  int64_t accumulation = 1;
};

const Row kRows[] = {
    {"one rank"},
    {"recompute selective", {.data = 1}, 0, {RecomputeMode::selective}},
    {"recompute full", {.data = 1}, 0, {RecomputeMode::full}},
    {"recompute full, every 2", {.data = 1}, 0, {RecomputeMode::full, 2}},
    {"dp 2", {.data = 2}},
    {"dp 2, ZeRO 1", {.data = 2}, 1},
    {"dp 2, ZeRO 2", {.data = 2}, 2},
    {"dp 2, ZeRO 2, accumulation 2", {.data = 2}, 2, {}, 2},
    {"dp 4, ZeRO 2", {.data = 4}, 2},
    {"dp 4, ZeRO 3", {.data = 4}, 3},
    {"tp 2", {.data = 1, .tensor = 2}},
    {"tp 2, sequence", {.data = 1, .tensor = 2, .sequence = true}},
    {"tp 2, sequence, recompute full", {.data = 1, .tensor = 2, .sequence = true}, 0, {RecomputeMode::full}},
    {"pp 2, 1f1b, 8 micro-batches", {.data = 1, .pipeline = 2}, 0, {}, 8},
    {"pp 2, gpipe, 8 micro-batches", {.data = 1, .pipeline = 2, .schedule = ScheduleKind::gpipe}, 0, {}, 8},
    {"pp 2, zb-h1, 8 micro-batches", {.data = 1, .pipeline = 2, .schedule = ScheduleKind::zb_h1}, 0, {}, 8},
    {"pp 4, 1f1b, 8 micro-batches", {.data = 1, .pipeline = 4}, 0, {}, 8},
    {"cp 2", {.data = 1, .context = 2}},
    {"dp 2, tp 2, pp 2, ZeRO 1, 4 micro-batches", {.data = 2, .tensor = 2, .pipeline = 2}, 1, {}, 4},
    {"dp 2, tp 2, sequence, ZeRO 2", {.data = 2, .tensor = 2, .sequence = true}, 2},
};

double mib(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

void print_row(const Row& row, const ModelConfig& model, DType precision) {
  test::LayoutRun run;
  run.model = model;
  run.plan = row.plan;
  run.precision = precision;
  run.recomputation = row.recomputation;
  run.seq_len = 256;
  run.micro_batch = 4;
  run.global_batch = run.micro_batch * row.plan.data * row.accumulation;
  run.plan.zero_stage = row.zero_stage;
  run.plan.bucket_mib = test::in_mib(4 << 20);
  const test::MemoryComparison memory = test::compare_memory(run);
  fmt::print("| {} |", row.name);
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    const auto category = static_cast<MemoryCategory>(i);
    fmt::print(" {:.1f} ({:.1f}) |", mib(memory.measured[category]), mib(memory.predicted[category]));
  }
  fmt::print("\n");
}

int run(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "gpt2-10m";
  const Preset* preset = find_preset(name);
  if (preset == nullptr || argc > 4) {
    fmt::print(stderr, "memory_table [PRESET [fp32|bf16 [ROW]]]; trireme info lists the presets\n");
    return 2;
  }
  const bool half = argc > 2 && std::strcmp(argv[2], "bf16") == 0;
  ModelConfig model = preset->config;
  if (model.vocab_size == 0) model.vocab_size = 4096;
  fmt::print("{}, 4 x 256 tokens a micro-batch, {}, buckets of 4 MiB; MiB measured (predicted)\n\n", name,
             half ? "bf16" : "fp32");
  fmt::print("| layout |");
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    fmt::print(" {} |", to_string(static_cast<MemoryCategory>(i)));
  }
  fmt::print("\n|---|---|---|---|---|---|\n");
  for (const Row& row : kRows)
    if (argc < 4 || std::strstr(row.name, argv[3]) != nullptr)
      print_row(row, model, half ? DType::bf16 : DType::f32);
  return 0;
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) { return trireme::run(argc, argv); }
