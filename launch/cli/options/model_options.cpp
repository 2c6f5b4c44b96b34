#include <fmt/ranges.h>

#include "launch/cli/options/nearest_name.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"
#include "models/config/weight_sharing.h"
#include "models/families/family.h"
#include "models/families/presets.h"

namespace trireme::launch {

namespace {

using namespace option_values;

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.push_back(preset.config.name);
  return names;
}

OptionValue preset_value() {
  OptionValue value;
  value.placeholder = "NAME";
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    const Preset* preset = find_preset(text);
    if (preset == nullptr) {
      return fmt::format("one of {}{}", fmt::join(preset_names(), ", "), did_you_mean(text, preset_names()));
    }
    config.model = preset->config;
    return "";
  };
  value.get = [](const RunConfig& config) { return find_preset(config.model.name) ? config.model.name : ""; };
  return value;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const Family& family : families()) names.emplace_back(family.name);
  return names;
}

// "gpt2: LayerNorm, ...; llama: RMSNorm, ..."
std::string family_help() {
  std::string text;
  for (const Family& family : families())
    text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", family.name, family.description);
  return text;
}

OptionValue family_value() {
  OptionValue value;
  value.placeholder = fmt::format("{}", fmt::join(family_names(), "|"));
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    for (const Family& entry : families()) {
      if (entry.name != text) continue;
      if (entry.family != config.model.family) {
        if (find_preset(config.model.name)) {
          return fmt::format("{}, the family of preset {}", to_string(config.model.family),
                             config.model.name);
        }
        apply_family(config.model, entry.family);
      }
      return "";
    }
    return fmt::format("one of {}{}", fmt::join(family_names(), ", "), did_you_mean(text, family_names()));
  };
  value.get = [](const RunConfig& config) { return std::string(to_string(config.model.family)); };
  return value;
}

/// "2,4,6"; none: an empty text.
OptionValue exits_value() {
  OptionValue value;
  value.placeholder = "N,N,...";
  value.set = [](RunConfig& config, const std::string& text) -> std::string {
    std::vector<int64_t> list;
    for (size_t begin = 0; !text.empty() && begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      const auto number = parse_number<int64_t>(std::string_view(text).substr(begin, end - begin));
      if (!number || *number < 1 || (!list.empty() && *number <= list.back()))
        return "ascending numbers of layers with commas between them, without blanks, such as 2,4,6";
      list.push_back(*number);
      begin = end + 1;
    }
    config.model.exits = std::move(list);
    return "";
  };
  value.get = [](const RunConfig& config) { return fmt::format("{}", fmt::join(config.model.exits, ",")); };
  return value;
}

/// A preset whose neighbours share keeps that with another number of layers.
OptionValue layers_value() {
  OptionValue value = whole(
      [](auto& c) -> auto& { return c.model.num_layers; }, 1, 1 << 14);
  value.set = [set = value.set](RunConfig& config, const std::string& text) -> std::string {
    const bool are_pairs = sharing_text(config.model) == "pairs";
    std::string allowed = set(config, text);
    if (allowed.empty() && are_pairs) set_sharing(config.model, neighbours_sharing(config.model.num_layers));
    return allowed;
  };
  return value;
}

OptionValue share_value() {
  OptionValue value;
  value.placeholder = "N|pairs|LAYER,...";
  value.set = [](RunConfig& config, const std::string& text) { return set_sharing_text(config.model, text); };
  value.get = [](const RunConfig& config) { return sharing_text(config.model); };
  return value;
}

}  // namespace

std::vector<Option> model_options() {
  const std::string section = "model";
  return {
      {section, "preset", "preset", preset_value(),
       "named model, see trireme info; other model options override its values", "none"},
      {section, "family", "", family_value(), family_help(), ""},
      {section, "layers", "", layers_value(), "number of Transformer blocks", ""},
      {section, "share", "", share_value(),
       "cross-layer weight sharing: layer i uses the weights of layer i mod N (12 layers with N "
       "= 4: layers 0, 4 and 8 share one set; N = 1: all layers, as ALBERT); pairs: neighbours two by two, "
       "as "
       "MobileLLM; or for each layer the earlier one whose weights it uses, or itself (0,0,2,2); shrinks "
       "parameters and optimizer state, not compute; 0: off",
       ""},
      {section, "exits", "", exits_value(),
       "early exit: numbers of layers behind which the head can read too, such as 2,4 of 8; training has "
       "losses there (exit.*), and generation can leave there or draft with the layers before",
       "none"},
      {section, "hidden", "",
       whole(
           [](auto& c) -> auto& { return c.model.hidden_size; }, 1, 1 << 20),
       "hidden size, the width of the residual stream; a multiple of model.heads unless "
       "model.head-dim is set",
       ""},
      {section, "heads", "",
       whole(
           [](auto& c) -> auto& { return c.model.num_heads; }, 1, 1 << 20),
       "number of attention heads", ""},
      {section, "kv-heads", "",
       whole(
           [](auto& c) -> auto& { return c.model.num_kv_heads; }, 1, 1 << 20),
       "number of key-value heads; fewer than model.heads is grouped-query attention, 1 multi-query",
       "heads"},
      {section, "head-dim", "",
       whole(
           [](auto& c) -> auto& { return c.model.given_head_dim; }, 0, 1 << 16),
       "size of each attention head; 0: model.hidden / model.heads", ""},
      {section, "ffn", "",
       whole(
           [](auto& c) -> auto& { return c.model.ffn_size; }, 1, 1 << 22),
       "hidden size of the feed-forward network (MLP)",
       "4 x hidden; llama: 8/3 x hidden, up to a multiple of 256"},
      {section, "vocab", "",
       whole(
           [](auto& c) -> auto& { return c.model.vocab_size; }, 0, 1 << 28),
       "vocabulary size: rows of the token embedding; 0: the tokenizer's size", ""},
      {section, "max-positions", "",
       whole(
           [](auto& c) -> auto& { return c.model.max_positions; }, 1, 1 << 28),
       "longest sequence the model takes; with learned positions, rows of their table",
       "train.seq-len where given, else 1024"},
      {section, "norm-eps", "",
       real(
           [](auto& c) -> auto& { return c.model.norm_eps; }, 1e-12),
       "epsilon added to the variance in LayerNorm and RMSNorm", ""},
      {section, "init-std", "",
       real(
           [](auto& c) -> auto& { return c.model.init_std; }, 1e-12),
       "standard deviation of the initial weights", ""},
      {section, "init-from", "init-from",
       text(
           [](auto& c) -> auto& { return c.start.file; }, "DIR|FILE"),
       "start from these weights at step 0, as for fine-tuning: a checkpoint, a run directory, a "
       "weight file such as its model.safetensors, or a directory of Hugging Face's transformers; "
       "without other options of the model, it is the one that the directory describes",
       "random, from train.seed"},
  };
}

}  // namespace trireme::launch
