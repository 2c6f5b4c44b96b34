// Parts that say which blocks have what: windows, rotary positions, mixtures.
#include <algorithm>

#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

/// The number n >= 2 for which exactly every n-th block from `from` on is not in `those` (0: all are);
/// nothing where there is none.
std::optional<int64_t> exceptions_every(const std::vector<bool>& those, size_t from) {
  const auto first = std::find(those.begin() + static_cast<int64_t>(from), those.end(), false);
  if (first == those.end()) return 0;
  const int64_t number = first - those.begin() + 1;
  for (int64_t every = 2; every <= number; ++every) {
    if (number % every != 0) continue;
    bool fits = true;
    for (size_t i = from; i < those.size() && fits; ++i)
      fits = those[i] == ((static_cast<int64_t>(i) + 1) % every != 0);
    if (fits) return every;
  }
  return std::nullopt;
}

constexpr std::string_view kSliding = "sliding_attention", kFull = "full_attention";

/// Without layer_types.
std::vector<bool> usual_windows(const Windows& w, const HfKeys& keys, const ModelConfig& c) {
  const int64_t pattern = w.pattern_key.empty() ? w.pattern : keys.whole(w.pattern_key, w.pattern);
  const int64_t from = w.from > 0 ? keys.whole("max_window_layers", w.from, 0) : 0;
  std::vector<bool> have(static_cast<size_t>(c.num_layers));
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const bool is_exception = pattern > 0 && (i + 1) % pattern == 0;
    have[static_cast<size_t>(i)] = i >= from && !is_exception && (!w.are_without_rotary || !c.turns(i));
  }
  return have;
}

std::optional<std::vector<bool>> windows_by_types(const HfKeys& keys, const ModelConfig& c) {
  const auto types = keys.texts("layer_types");
  if (!types) return std::nullopt;
  std::vector<bool> have;
  for (const std::string& type : *types) {
    if (type != kSliding && type != kFull) {
      keys.refuse("layer_types", "full_attention and sliding_attention work, not {}", type.substr(0, 40));
      return std::nullopt;
    }
    have.push_back(type == kSliding);
  }
  if (std::ssize(have) == c.num_layers) return have;
  keys.refuse("layer_types", "it has {} entries, num_hidden_layers is {}", have.size(), c.num_layers);
  return std::nullopt;
}

/// Sets the fields; `c.window` is that of blocks that have one.
void set_windows(const std::vector<bool>& have, const HfKeys& keys, ModelConfig& c) {
  c.window_pattern = c.window_from = 0;
  const auto first = std::ranges::find(have, true);
  if (first == have.end()) c.window = 0;
  if (c.window == 0) return;
  c.window_from = first - have.begin();
  if (const auto every = exceptions_every(have, static_cast<size_t>(c.window_from))) {
    c.window_pattern = *every;
    return;
  }
  keys.refuse("layer_types",
              "which blocks have sliding_attention follows no pattern; supported is: from one block "
              "on all, or all but every N-th");
}

void read_windows(const Windows& w, const HfKeys& keys, ModelConfig& c) {
  const bool is_on = !w.has_switch || keys.flag("use_sliding_window", false);
  const bool is_null = keys.has("sliding_window") && keys.find("sliding_window") == nullptr;
  c.window = is_on && !is_null ? keys.whole("sliding_window", w.absent) : 0;
  std::optional<std::vector<bool>> have;
  if (w.has_types) have = windows_by_types(keys, c);
  if (have && c.window == 0 && std::ranges::count(*have, true) > 0) {
    keys.refuse("layer_types", "it has sliding_attention, but sliding_window {}",
                is_on ? "is not given" : "is off (use_sliding_window)");
  }
  set_windows(have ? *have : usual_windows(w, keys, c), keys, c);
}

void write_windows(const Windows& w, const ModelConfig& c, Json& out) {
  if (w.has_switch) out["use_sliding_window"] = c.window > 0;
  out["sliding_window"] = c.window > 0 ? Json(c.window) : Json();
  if (w.from > 0) out["max_window_layers"] = c.window > 0 ? c.window_from : c.num_layers;
  if (!w.pattern_key.empty() && c.window_pattern > 1) out[w.pattern_key] = c.window_pattern;
  if (!w.has_types) return;
  Json types = Json::array();
  for (int64_t i = 0; i < c.num_layers; ++i) types.push_back(c.window_of(i) > 0 ? kSliding : kFull);
  out["layer_types"] = std::move(types);
}

}  // namespace

HfPart windows(const Windows& w) {
  std::vector<std::string> keys = {"sliding_window"};
  if (w.has_types) keys.emplace_back("layer_types");
  if (w.has_switch) keys.emplace_back("use_sliding_window");
  if (w.from > 0) keys.emplace_back("max_window_layers");
  if (!w.pattern_key.empty()) keys.push_back(w.pattern_key);
  return {.keys = std::move(keys),
          .read = [=](const HfKeys& k, ModelConfig& c) { read_windows(w, k, c); },
          .write = [=](const ModelConfig& c, Json& out) { write_windows(w, c, out); }};
}

HfPart no_rope_layers() {
  constexpr int64_t kUsual = 4;
  return {.keys = {"no_rope_layers", "no_rope_layer_interval"},
          .read =
              [=](const HfKeys& keys, ModelConfig& c) {
                const int64_t every = keys.whole("no_rope_layer_interval", kUsual);
                c.no_rotary_every = every;
                const auto list = keys.wholes("no_rope_layers");
                if (!list) {
                  if (every == 1)
                    keys.refuse("no_rope_layer_interval", "a model without any RoPE is not supported");
                  return;
                }
                if (std::ssize(*list) < c.num_layers) {
                  keys.refuse("no_rope_layers", "it has {} entries, num_hidden_layers is {}", list->size(),
                              c.num_layers);
                  return;
                }
                std::vector<bool> turn;
                for (int64_t i = 0; i < c.num_layers; ++i)
                  turn.push_back((*list)[static_cast<size_t>(i)] != 0);
                if (const auto found = exceptions_every(turn, 0)) {
                  c.no_rotary_every = *found;
                } else {
                  keys.refuse("no_rope_layers",
                              "which blocks have no RoPE follows no pattern; supported is every "
                              "N-th, N above 1");
                }
              },
          .write =
              [=](const ModelConfig& c, Json& out) {
                Json list = Json::array();
                for (int64_t i = 0; i < c.num_layers; ++i) list.push_back(c.turns(i) ? 1 : 0);
                out["no_rope_layers"] = std::move(list);
                out["no_rope_layer_interval"] = c.no_rotary_every > 0 ? c.no_rotary_every : kUsual;
              }};
}

HfPart sparse_blocks() {
  return {.keys = {"decoder_sparse_step", "mlp_only_layers"},
          .read =
              [](const HfKeys& keys, ModelConfig& c) {
                const int64_t step = keys.whole("decoder_sparse_step", 1);
                std::vector<bool> are(static_cast<size_t>(c.num_layers));
                for (int64_t i = 0; i < c.num_layers; ++i) are[static_cast<size_t>(i)] = (i + 1) % step == 0;
                for (const int64_t i : keys.wholes("mlp_only_layers").value_or(std::vector<int64_t>{})) {
                  if (i >= 0 && i < c.num_layers) are[static_cast<size_t>(i)] = false;
                }
                const auto first = std::ranges::find(are, true);
                if (first == are.end()) {
                  c.moe = {};
                  return;
                }
                c.moe.first_block = first - are.begin();
                const auto second = std::find(first + 1, are.end(), true);
                c.moe.every = second == are.end() ? std::max<int64_t>(1, are.end() - first) : second - first;
                for (int64_t i = 0; i < c.num_layers; ++i) {
                  if (c.moe.is_in(i) == are[static_cast<size_t>(i)]) continue;
                  keys.refuse("mlp_only_layers",
                              "which blocks are mixtures follows no pattern; supported is from one "
                              "block on every N-th");
                  return;
                }
              },
          .write =
              [](const ModelConfig& c, Json& out) {
                out["decoder_sparse_step"] = 1;
                Json dense = Json::array();
                for (int64_t i = 0; i < c.num_layers; ++i) {
                  if (!c.moe.is_in(i)) dense.push_back(i);
                }
                out["mlp_only_layers"] = std::move(dense);
              }};
}

}  // namespace trireme::hf
