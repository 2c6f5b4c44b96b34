// Measured and predicted memory of a rank, strategy by strategy, as a table for docs/memory.md. Ranks are
// threads, so no launcher is needed.
//   memory_table [PRESET [fp32|bf16 [ROW]]]    ROW: a part of the names of the rows to print
//   memory_table families [fp32|bf16 [ROW]]    totals, of a model of each family and a mixture
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "models/families/family.h"
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

test::LayoutRun run_of(const Row& row, const ModelConfig& model, DType precision) {
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
  return run;
}

void print_row(const Row& row, const ModelConfig& model, DType precision) {
  const test::MemoryComparison memory = test::compare_memory(run_of(row, model, precision));
  fmt::print("| {} |", row.name);
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    const auto category = static_cast<MemoryCategory>(i);
    fmt::print(" {:.1f} ({:.1f}) |", mib(memory.measured[category]), mib(memory.predicted[category]));
  }
  fmt::print("\n");
}

/// A model of about 5 million parameters: four blocks, eight heads that share four, heads of 48 where hidden
/// / heads is 32.
ModelConfig small_model(ModelFamily family) {
  ModelConfig c;
  apply_family(c, family);
  c.vocab_size = 4096;
  c.num_layers = 4;
  c.hidden_size = 256;
  c.num_heads = 8;
  c.num_kv_heads = family == ModelFamily::gpt2 ? 8 : 4;
  if (family != ModelFamily::gpt2 && family != ModelFamily::llama) c.given_head_dim = 48;
  c.ffn_size = default_ffn_size(c);
  if (c.window > 0) c.window = 64;
  return c;
}

/// One row a layout: the total of each family's model, of the fullest rank.
void print_families(DType precision, const char* part) {
  fmt::print("| layout |");
  std::vector<ModelConfig> models;
  for (const Family& family : families()) {
    fmt::print(" {} |", family.name);
    models.push_back(small_model(family.family));
  }
  models.push_back(small_model(ModelFamily::llama));
  models.back().moe.num_experts = 4;
  models.back().moe.experts_per_token = 2;
  models.back().moe.expert_ffn_size = 384;
  fmt::print(" llama, 4 experts |\n|---|");
  for (size_t i = 0; i < models.size(); ++i) fmt::print("---|");
  fmt::print("\n");
  for (const Row& row : kRows) {
    if (part != nullptr && std::strstr(row.name, part) == nullptr) continue;
    fmt::print("| {} |", row.name);
    for (const ModelConfig& model : models) {
      const test::MemoryComparison memory = test::compare_memory(run_of(row, model, precision));
      const double measured = mib(memory.measured.total()), predicted = mib(memory.predicted.total());
      fmt::print(" {:.1f} ({:+.1f} %) |", measured, 100 * (predicted / measured - 1));
    }
    fmt::print("\n");
  }
}

int run(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "gpt2-10m";
  const DType precision = argc > 2 && std::strcmp(argv[2], "bf16") == 0 ? DType::bf16 : DType::f32;
  if (std::strcmp(name, "families") == 0 && argc <= 4) {
    print_families(precision, argc > 3 ? argv[3] : nullptr);
    return 0;
  }
  const Preset* preset = find_preset(name);
  if (preset == nullptr || argc > 4) {
    fmt::print(stderr, "memory_table [PRESET|families [fp32|bf16 [ROW]]]; trireme info lists the presets\n");
    return 2;
  }
  ModelConfig model = preset->config;
  if (model.vocab_size == 0) model.vocab_size = 4096;
  fmt::print("{}, 4 x 256 tokens a micro-batch, {}, buckets of 4 MiB; MiB measured (predicted)\n\n", name,
             to_string(precision));
  fmt::print("| layout |");
  for (int i = 0; i < kNumMemoryCategories; ++i) {
    fmt::print(" {} |", to_string(static_cast<MemoryCategory>(i)));
  }
  fmt::print("\n|---|---|---|---|---|---|\n");
  for (const Row& row : kRows)
    if (argc < 4 || std::strstr(row.name, argv[3]) != nullptr) print_row(row, model, precision);
  return 0;
}

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) { return trireme::run(argc, argv); }
