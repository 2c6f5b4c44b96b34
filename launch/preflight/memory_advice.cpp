#include "launch/preflight/memory_advice.h"

#include <algorithm>
#include <functional>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "launch/config/complete_config.h"
#include "launch/config/memory_inputs.h"
#include "launch/report/number_text.h"
#include "models/cost/memory_estimate.h"

namespace trireme::launch {

namespace {

struct Change {
  std::string option;
  std::function<void(RunConfig&)> apply;
};

std::vector<Change> changes_of(const RunConfig& c) {
  std::vector<Change> changes;
  for (int64_t size = c.train.micro_batch / 2; size > 0; size /= 2) {
    changes.push_back(
        {fmt::format("--train.micro-batch {}", size), [size](RunConfig& r) { r.train.micro_batch = size; }});
  }
  for (const auto& [name, mode] :
       {std::pair{"selective", RecomputeMode::selective}, {"full", RecomputeMode::full}}) {
    changes.push_back({fmt::format("--train.recompute {}", name), [mode](RunConfig& r) {
                         r.train.recomputation = {mode, 1};
                       }});
  }
  for (int stage = c.parallel.zero_stage + 1; stage <= 3; ++stage) {
    changes.push_back(
        {fmt::format("--parallel.zero {}", stage), [stage](RunConfig& r) { r.parallel.zero_stage = stage; }});
  }
  for (int tensor = 2 * c.parallel.tensor, data = c.parallel.data; data % 2 == 0; tensor *= 2) {
    data /= 2;
    changes.push_back({fmt::format("--tp {} --dp {}", tensor, data), [tensor, data](RunConfig& r) {
                         r.parallel.tensor = tensor;
                         r.parallel.data = data;
                       }});
  }
  if (c.train.precision == DType::f32) {
    changes.push_back({"--train.precision bf16", [](RunConfig& r) { r.train.precision = DType::bf16; }});
  }
  if (c.train.precision == DType::bf16 && c.train.master) {
    changes.push_back({"--train.master none", [](RunConfig& r) { r.train.master = false; }});
  }
  return changes;
}

}  // namespace

std::string memory_advice(const RunConfig& config, int threads_per_rank, int64_t capacity) {
  constexpr size_t kMost = 4;
  if (known_vocab_size(config) == 0) return "";
  const auto predict = [&](const RunConfig& c) {
    return estimate_memory(memory_inputs(c, threads_per_rank)).total();
  };
  const auto text = [](int64_t bytes) { return short_bytes(static_cast<double>(bytes)); };
  const int64_t now = predict(config);
  struct Offer {
    bool is_too_large;
    int64_t bytes;
    std::string option;
  };
  std::vector<Offer> offers;
  for (const Change& change : changes_of(config)) {
    RunConfig changed = config;
    change.apply(changed);
    const int ranks = config.parallel.world_size() + config.distill.ranks;
    if (!complete(changed, {}, ranks, false).empty()) continue;
    const int64_t bytes = predict(changed);
    if (bytes < now) offers.push_back({capacity > 0 && bytes > capacity, bytes, change.option});
  }
  if (offers.empty()) return "";
  // Of those that fit the least change comes first, of the others the one that saves the most.
  std::ranges::stable_sort(offers, [](const Offer& a, const Offer& b) {
    if (a.is_too_large != b.is_too_large) return b.is_too_large;
    return a.is_too_large ? a.bytes < b.bytes : a.bytes > b.bytes;
  });
  if (offers.size() > kMost) offers.resize(kMost);
  std::vector<std::string> texts;
  for (const Offer& offer : offers) {
    const char* fits = capacity > 0 && !offer.is_too_large ? ", which fits" : "";
    texts.push_back(fmt::format("{} ({}{})", offer.option, text(offer.bytes), fits));
  }
  return fmt::format("each of these options alone would need, predicted per rank: {}",
                     fmt::join(texts, "; "));
}

}  // namespace trireme::launch
