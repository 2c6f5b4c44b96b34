#include "models/config/weight_sharing.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace trireme {

namespace {

constexpr int64_t kMostLayers = 1 << 14;  // as model.layers

std::optional<int64_t> layer_number(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > kMostLayers)
    return std::nullopt;
  return value;
}

/// Whether layers that would share weights in turn have the same parts.
bool can_take_turns(const ModelConfig& c, int64_t share) {
  for (int64_t i = share; i < c.num_layers; ++i) {
    if (!have_same_parts(c, i, i % share)) return false;
  }
  return true;
}

std::string kind_of(const ModelConfig& c, int64_t block) {
  std::string kind = c.convolution.is_in(block) ? "convolution, " : "";
  return kind + (c.moe.is_in(block) ? "MoE" : "dense");
}

std::string error_of_turns(const ModelConfig& c) {
  if (c.share < 0 || c.share >= c.num_layers) {
    return fmt::format(
        "model.share is {}: with model.layers {} {}", c.share, c.num_layers,
        c.num_layers == 1
            ? std::string("there is nothing to share; 0 turns sharing off")
            : fmt::format("no layers would share weights; use 1 to {}, or 0 to turn sharing off",
                          c.num_layers - 1));
  }
  if (can_take_turns(c, c.share)) return {};
  std::string below, above;
  for (int64_t n = 1; n < c.num_layers; ++n) {
    if (can_take_turns(c, n) && (n < c.share || above.empty()))
      (n < c.share ? below : above) = fmt::to_string(n);
  }
  const std::string both = below.empty() || above.empty() ? below + above : below + " or " + above;
  if (c.convolution.kernel > 0) {
    return fmt::format(
        "model.share {}: layers with convolutions or experts would share weights with others; {}", c.share,
        both.empty() ? "no other number works; a list of layers can (0,1,0,1)"
                     : "nearest that work are " + both);
  }
  return fmt::format(
      "model.share {}: MoE layers (moe.from {}, moe.every {}) would share weights with dense layers; {}",
      c.share, c.moe.first_block, c.moe.every,
      both.empty() ? "no other value works: --moe.from 0 --moe.every 1 makes all layers MoE"
                   : "nearest that work are " + both);
}

std::string error_of_list(const ModelConfig& c) {
  const std::vector<int64_t>& from = c.weights_from;
  if (std::ssize(from) != c.num_layers) {
    return fmt::format(
        "model.share names the weights of {} layers, and model.layers is {}: one for each is needed",
        from.size(), c.num_layers);
  }
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const int64_t of = from[static_cast<size_t>(i)];
    if (of < 0 || of > i) {
      return fmt::format(
          "model.share: layer {} would use the weights of layer {}: it can use its own, {}, {}", i, of, i,
          i == 0 ? "alone" : "or those of an earlier layer");
    }
    const int64_t own = from[static_cast<size_t>(of)];
    if (own != of) {
      return fmt::format(
          "model.share: layer {} would use the weights of layer {}, which uses those of layer {}: name that "
          "one",
          i, of, own);
    }
    if (!have_same_parts(c, i, of)) {
      return fmt::format(
          "model.share: layer {} ({}) would use the weights of layer {} ({}): layers that share have the "
          "same parts",
          i, kind_of(c, i), of, kind_of(c, of));
    }
  }
  return {};
}

}  // namespace

bool have_same_parts(const ModelConfig& c, int64_t a, int64_t b) {
  return c.moe.is_in(a) == c.moe.is_in(b) && c.convolution.is_in(a) == c.convolution.is_in(b);
}

std::vector<int64_t> sharing_of(const ModelConfig& config) {
  if (!config.weights_from.empty()) return config.weights_from;
  std::vector<int64_t> from;
  for (int64_t i = 0; i < config.num_layers && config.share > 0; ++i) from.push_back(i % config.share);
  return from;
}

void set_sharing(ModelConfig& config, const std::vector<int64_t>& weights_from) {
  config.weights_from = {};
  config.share = 0;
  const int64_t layers = std::ssize(weights_from);
  for (int64_t n = layers; n >= 1; --n) {
    int64_t i = 0;
    while (i < layers && weights_from[static_cast<size_t>(i)] == i % n) ++i;
    if (i < layers) continue;
    config.share = n == layers ? 0 : n;
    return;
  }
  config.weights_from = weights_from;
}

int64_t num_distinct_layers(const ModelConfig& config) {
  int64_t count = 0;
  for (int64_t i = 0; i < config.num_layers; ++i) count += config.weights_of(i) == i ? 1 : 0;
  return count;
}

std::vector<int64_t> neighbours_sharing(int64_t num_layers) {
  std::vector<int64_t> from;
  for (int64_t i = 0; i < num_layers; ++i) from.push_back(i / 2 * 2);
  return from;
}

std::string sharing_text(const ModelConfig& config) {
  if (config.weights_from.empty()) return fmt::to_string(config.share);
  if (config.weights_from == neighbours_sharing(std::ssize(config.weights_from))) return "pairs";
  return fmt::format("{}", fmt::join(config.weights_from, ","));
}

std::string set_sharing_text(ModelConfig& config, std::string_view text) {
  constexpr const char* kAllowed =
      "a whole number from 0 to 16384, pairs, or for each layer the one whose weights it uses, such as "
      "0,0,2,2";
  std::vector<int64_t> from;
  if (text == "pairs") {
    from = neighbours_sharing(config.num_layers);
  } else if (text.find(',') == std::string_view::npos) {
    const auto number = layer_number(text);
    if (!number) return kAllowed;
    config.share = *number;
    config.weights_from = {};
    return "";
  } else {
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      const auto number = layer_number(text.substr(begin, end - begin));
      if (!number) return kAllowed;
      from.push_back(*number);
      begin = end + 1;
    }
  }
  // A list of another length is kept as it is, so that the error can say its length.
  if (std::ssize(from) == config.num_layers) {
    set_sharing(config, from);
  } else {
    config.share = 0;
    config.weights_from = std::move(from);
  }
  return "";
}

std::vector<std::string> sharing_errors(const ModelConfig& config) {
  if (config.num_layers < 1 || (config.share == 0 && config.weights_from.empty())) return {};
  std::string error = config.weights_from.empty() ? error_of_turns(config) : error_of_list(config);
  if (error.empty()) return {};
  return {std::move(error)};
}

}  // namespace trireme
