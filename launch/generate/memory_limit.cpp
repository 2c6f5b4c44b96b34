#include "launch/generate/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "launch/report/number_text.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

constexpr int64_t kMebibyte = int64_t{1} << 20;
constexpr int64_t kPlannedBlock = 32;
/// Of a process that has given back what it did not need: pages of the program and its libraries that reading
/// and passes touch (6 MiB of a whole build), stacks, tables of requests.
constexpr int64_t kGrowthOfProcess = 7 * kMebibyte, kGrowthOfThread = kMebibyte / 4;
constexpr const char* kSizeUnits = "a number with its unit: 32MB (of 10^6 bytes), 32MiB (2^20), 1.5GiB, ...";

int64_t planned_blocks(int64_t tokens) { return (tokens + kPlannedBlock - 1) / kPlannedBlock; }

/// What is left for the cache with passes of these sizes, in tokens; and all else.
class MemorySizing {
 public:
  MemorySizing(int64_t limit, const ModelSpec& model, const InferenceArguments& arguments,
               const MemoryDemand& demand)
      : limit_(limit), model_(model), arguments_(arguments), demand_(demand) {}

  MemoryPlan plan(int64_t batch_tokens, int64_t sequences, int64_t cache_tokens) const {
    MemoryPlan plan;
    plan.limit = limit_;
    plan.process = demand_.process.resident + kGrowthOfProcess + kGrowthOfThread * demand_.threads;
    plan.weights = demand_.load.weight_bytes;
    plan.loading = std::max(demand_.load.loading_bytes, demand_.process.peak - plan.process);
    plan.batch_tokens = std::max(batch_tokens, sequences);
    plan.sequences = sequences;
    plan.cache_tokens = planned_blocks(cache_tokens) * kPlannedBlock;
    plan.cache = planned_blocks(cache_tokens) * demand_.block_bytes;
    const int64_t longest =
        demand_.longest > 0 ? std::min(demand_.longest, plan.cache_tokens) : plan.cache_tokens;
    plan.workspace = pass_bytes(model_, arguments_.model.compute_type,
                                {plan.batch_tokens, sequences, longest, demand_.threads});
    return plan;
  }
  /// The same with as large a cache as fits, of `least` tokens or more; nothing where that does not.
  std::optional<MemoryPlan> fit(int64_t batch_tokens, int64_t sequences, int64_t least) const {
    MemoryPlan smallest = plan(batch_tokens, sequences, least);
    if (smallest.total() > limit_) return std::nullopt;
    int64_t low = planned_blocks(least), high = std::max(low, planned_blocks(demand_.cache_tokens));
    while (low < high) {  // the workspace grows with the cache
      const int64_t middle = (low + high + 1) / 2;
      plan(batch_tokens, sequences, middle * kPlannedBlock).total() <= limit_ ? low = middle
                                                                              : high = middle - 1;
    }
    return plan(batch_tokens, sequences, low * kPlannedBlock);
  }

 private:
  int64_t limit_;
  const ModelSpec& model_;
  const InferenceArguments& arguments_;
  const MemoryDemand& demand_;
};

[[noreturn]] void refuse_limit(const MemoryPlan& smallest, const InferenceArguments& arguments) {
  // What a process has before it loads differs by some pages from one to the next.
  const int64_t works = (smallest.total() + kMebibyte + kMebibyte - 1) / kMebibyte;
  const bool is_of_loading =
      smallest.total() > smallest.process + smallest.weights + smallest.cache + smallest.workspace;
  throw_usage(
      "--memory-limit of {} is too small: the least is {} ({}, with {} tokens in the cache and passes of "
      "{}{}); "
      "--memory-limit {}MiB works; fewer tokens{} take less",
      mib(smallest.limit), mib(smallest.total()), parts_text(smallest), smallest.cache_tokens,
      smallest.batch_tokens,
      is_of_loading ? fmt::format("; while weights are loaded {} of them", mib(smallest.loading)) : "", works,
      arguments.cache == ops::CacheType::plain ? " or --cache int8" : "");
}

}  // namespace

std::string mib(int64_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / kMebibyte); }

int64_t MemoryPlan::total() const { return process + std::max(loading, weights + cache + workspace); }

std::optional<int64_t> bytes_of_text(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kKnown[] = {
      {"B", 1},       {"kB", 1e3},        {"MB", 1e6},           {"GB", 1e9},
      {"KiB", 1024.}, {"MiB", 1048576.0}, {"GiB", 1073741824.0},
  };
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number <= 0) return std::nullopt;
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const auto& [name, factor] : kKnown) {
    const double bytes = number * factor;
    if (unit == name && bytes >= 1 && bytes < 0x1p60) return std::llround(bytes);
  }
  return std::nullopt;
}

MemoryPlan plan_memory(int64_t limit, const ModelSpec& model, const InferenceArguments& arguments,
                       const MemoryDemand& demand) {
  const MemorySizing sizing(limit, model, arguments, demand);
  const int64_t wanted = std::max(demand.cache_tokens, demand.least_tokens);
  constexpr int64_t kFewTokens = 64, kFewestTokens = 16, kFewSequences = 8;
  // All texts at once, by passes as large as can be; else all that fits by small ones.
  for (int64_t batch = demand.batch_tokens; batch >= std::min(kFewTokens, demand.batch_tokens); batch /= 2) {
    if (const auto plan = sizing.fit(batch, std::min(demand.sequences, batch), wanted)) return *plan;
    if (batch == 1) break;
  }
  const int64_t few = std::min(kFewTokens, demand.batch_tokens), fewest = std::min(kFewestTokens, few);
  const int64_t most = std::min(demand.sequences, few);
  for (const auto& [batch, sequences] : {std::pair{few, std::min(most, kFewSequences)},
                                         std::pair{few, int64_t{1}}, std::pair{fewest, int64_t{1}}}) {
    const auto plan = sizing.fit(batch, std::max(sequences, demand.least_sequences), demand.least_tokens);
    if (plan) return *plan;
  }
  refuse_limit(sizing.plan(fewest, demand.least_sequences, demand.least_tokens), arguments);
}

std::string parts_text(const MemoryPlan& plan) {
  return fmt::format("weights {}, cache {}, workspace {}, program {}", mib(plan.weights), mib(plan.cache),
                     mib(plan.workspace), mib(plan.process));
}

PlainOption memory_limit_option(InferenceArguments& arguments) {
  const auto set = [&arguments](const std::string& text) -> std::string {
    const auto bytes = bytes_of_text(text);
    if (!bytes) return kSizeUnits;
    arguments.memory_limit = *bytes;
    return "";
  };
  return {"memory-limit", "SIZE",
          "resident memory that the process stays within, with its unit: 32MB (of 10^6 bytes), 32MiB (2^20), "
          "1.5GiB; the cache and the passes are sized for it. One process on the CPU",
          "none", set};
}

void begin_within_limit(InferenceArguments& arguments) {
  if (arguments.memory_limit == 0) return;
  if (arguments.run.device == DeviceKind::automatic) arguments.run.device = DeviceKind::cpu;
  cpu::keep_memory_small();
  cpu::return_unused_memory();
}

}  // namespace trireme::launch
