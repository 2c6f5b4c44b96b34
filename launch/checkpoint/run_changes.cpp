#include "launch/checkpoint/run_changes.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <fmt/format.h>

namespace trireme::launch {

namespace {

/// Options of sections that are compared that say nothing of the training itself, or that others say.
bool is_left_out(std::string_view key) {
  constexpr std::array<std::string_view, 16> kKeys = {
      "model.preset",      "model.init-from", "model.load",          "model.init-std",
      "moe.upcycle",       "data.text",       "data.tokens",         "data.format",
      "data.prefetch",     "data.tokenizer",  "data.end-of-text",    "data.bpe-vocab",
      "data.valid-tokens", "train.log-every", "train.sample-tokens", "train.sample-prompt"};
  return key == "train.stop-after" || std::ranges::find(kKeys, key) != kKeys.end() ||
         key.starts_with("run.") || key.starts_with("checkpoint.") || key.starts_with("verify.");
}

/// Weights mean something else with another value, or samples come in another order.
bool is_refused(std::string_view key) {
  constexpr std::array<std::string_view, 14> kKeys = {
      "train.seed",     "train.seq-len", "data.valid-fraction", "moe.experts", "moe.top-k",  "moe.ffn",
      "moe.shared-ffn", "moe.from",      "moe.every",           "moe.score",   "moe.groups", "moe.top-groups",
      "moe.normalize",  "moe.gate-scale"};
  return key.starts_with("model.") || key.starts_with("identity.") ||
         std::ranges::find(kKeys, key) != kKeys.end();
}

/// Learned scales are parameters of the matrices that have them.
bool needs_other_scales(const TextMap& saved, const TextMap& now, std::string_view key) {
  const auto learns = [](const TextMap& options) {
    const auto scales = options.find("qat.scales"), weights = options.find("qat.weights");
    return scales != options.end() && scales->second == "learned" && weights != options.end() &&
           weights->second != "none";
  };
  return key.starts_with("qat.") && key != "qat.activations" && key != "qat.start-step" &&
         (learns(saved) || learns(now));
}

std::string shown(const std::string& text) { return text.empty() ? "none" : text; }

}  // namespace

RunChanges compare_runs(const TextMap& saved, const TextMap& now) {
  RunChanges changes;
  std::set<std::string> keys;
  for (const auto& [key, value] : saved) keys.insert(key);
  for (const auto& [key, value] : now) keys.insert(key);
  for (const std::string& key : keys) {
    const auto there = saved.find(key), here = now.find(key);
    // One that only one of two versions of the program has says nothing.
    if (there == saved.end() || here == now.end() || there->second == here->second || is_left_out(key))
      continue;
    std::string name = key;
    if (name.starts_with("identity.")) name.erase(0, std::string_view("identity.").size());
    (is_refused(key) || needs_other_scales(saved, now, key) ? changes.refused : changes.passed)
        .push_back(fmt::format("{}: {} in the checkpoint, {} here", name, shown(there->second),
                               shown(here->second)));
  }
  return changes;
}

}  // namespace trireme::launch
