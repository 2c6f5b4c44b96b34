#include "models/formats/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include <fmt/ranges.h>

#include "models/families/family.h"
#include "models/formats/gguf_architecture.h"
#include "models/formats/gguf_differences.h"
#include "models/formats/gguf_keys.h"
#include "models/formats/gguf_rotary.h"
#include "models/formats/gguf_tensors.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

/// Layers of the models whose scores llama.cpp scales by hidden / heads, as they were trained (the 27B ones).
constexpr int64_t kGemma2Layers27b = 46, kGemma3Layers27b = 62;
constexpr double kGemma2AttentionCap = 50, kGemma2LogitCap = 30;
constexpr int64_t kGemma2Window = 4096, kSmolLm3NoRotaryEvery = 4;
constexpr int64_t kSoftmaxGating = 1;

/// What a file has beside keys.
struct GgufContents {
  std::set<std::string, std::less<>> tensors;
  GgufTables tables;
  int64_t vocab_size = 0;
};

bool has_layer_norm(const GgufArchitecture& a) { return a.least_bias == BiasKind::all; }

void read_sizes(GgufKeys& keys, const GgufArchitecture& a, ModelConfig& c) {
  c.num_layers = keys.need_integer("block_count");
  c.hidden_size = keys.need_integer("embedding_length");
  c.num_heads = keys.need_integer("attention.head_count");
  c.num_kv_heads = keys.integer("attention.head_count_kv").value_or(c.num_heads);
  c.ffn_size = keys.need_integer("feed_forward_length");
  c.max_positions = keys.need_integer("context_length");
  constexpr int64_t kMostLayers = 1 << 14;
  if (c.num_layers < 1 || c.num_layers > kMostLayers)
    keys.refuse("block_count", fmt::format("1 to {} can be represented", kMostLayers));
  if (c.num_heads < 1 || c.num_kv_heads < 1 || c.num_heads % c.num_kv_heads != 0)
    keys.refuse("attention.head_count",
                fmt::format("it must be a multiple of head_count_kv {}, above 0", c.num_kv_heads));
  c.given_head_dim = 0;
  const int64_t usual = c.hidden_size / c.num_heads;
  const int64_t key_length = keys.integer("attention.key_length").value_or(usual);
  if (keys.integer("attention.value_length").value_or(usual) != key_length)
    keys.refuse("attention.value_length", fmt::format("it must be that of the keys, {}", key_length));
  if (key_length == 0 || c.hidden_size % c.num_heads != 0 || key_length != usual)
    c.given_head_dim = key_length;
  if (key_length < 1 || (!a.free_head_dim && c.given_head_dim != 0))
    keys.refuse(
        "attention.key_length",
        fmt::format("heads of architecture {} have embedding_length / head_count dimensions", a.name));
  for (const char* key : {"attention.key_length_swa", "attention.value_length_swa"}) {
    if (keys.integer(key).value_or(key_length) != key_length)
      keys.refuse(key, "heads of different sizes cannot be represented");
  }
}

void read_experts(GgufKeys& keys, const GgufArchitecture& a, ModelConfig& c) {
  c.moe = {};
  const int64_t count = keys.integer("expert_count").value_or(0);
  const int64_t used = keys.integer("expert_used_count").value_or(0);
  if (count > 0 && !a.experts)
    keys.refuse("expert_count", "this architecture has none; llama and qwen3moe do");
  if (count == 0 && !a.dense) keys.refuse("expert_count", "this architecture needs experts");
  if (count == 0) {
    keys.ignore("expert_feed_forward_length");
    return;
  }
  c.moe.num_experts = count;
  c.moe.experts_per_token = used;
  if (used < 1 || used > count)
    keys.refuse("expert_used_count", fmt::format("it must be 1 to expert_count {}", count));
  if (a.own_expert_width) {
    const int64_t width = keys.integer("expert_feed_forward_length").value_or(0);
    c.moe.expert_ffn_size = width > 0 ? width : c.ffn_size / used;
  }
  for (const char* key :
       {"expert_shared_count", "expert_shared_feed_forward_length", "leading_dense_block_count"}) {
    if (keys.integer(key).value_or(0) != 0) keys.refuse(key, "this architecture computes with 0");
  }
  for (const char* key : {"expert_group_count", "expert_group_used_count"}) {
    if (keys.integer(key).value_or(0) > 1) keys.refuse(key, "this architecture computes with one group");
  }
  if (keys.integer("expert_gating_func").value_or(kSoftmaxGating) != kSoftmaxGating)
    keys.refuse("expert_gating_func", "this architecture computes with 1 (softmax)");
  if (keys.flag("expert_weights_norm").value_or(true) != true)
    keys.refuse("expert_weights_norm", "this architecture normalizes weights");
  const double scale = keys.real("expert_weights_scale").value_or(1);
  if (scale != 0 && scale != 1) keys.refuse("expert_weights_scale", "this architecture computes with 1");
}

/// Which blocks have the window, as window_from and window_pattern.
void set_pattern(GgufKeys& keys, const std::vector<bool>& has_window, ModelConfig& c) {
  const auto num_layers = static_cast<size_t>(c.num_layers);
  if (has_window.size() < num_layers)
    keys.refuse("attention.sliding_window_pattern", fmt::format("there are {} blocks", num_layers));
  const auto fits = [&](int64_t from, int64_t pattern) {
    c.window_from = from;
    c.window_pattern = pattern;
    for (int64_t i = 0; i < c.num_layers; ++i) {
      if ((c.window_of(i) > 0) != has_window[static_cast<size_t>(i)]) return false;
    }
    return true;
  };
  const auto end = has_window.begin() + static_cast<ptrdiff_t>(num_layers);
  const int64_t first = std::find(has_window.begin(), end, true) - has_window.begin();
  if (first == c.num_layers) {
    c.window = c.window_pattern = c.window_from = 0;
    return;
  }
  for (const int64_t from : {int64_t{0}, first}) {
    if (fits(from, 0)) return;
    for (int64_t pattern = 2; pattern <= c.num_layers; ++pattern) {
      if (fits(from, pattern)) return;
    }
  }
  keys.refuse("attention.sliding_window_pattern",
              "blocks with a window must be all, all but every N-th, or these from one block on");
}

void read_window(GgufKeys& keys, const GgufArchitecture& a, ModelConfig& c) {
  const bool is_gemma2 = a.family == ModelFamily::gemma2;
  c.window = keys.integer("attention.sliding_window").value_or(is_gemma2 ? kGemma2Window : 0);
  c.window_from = c.window_pattern = 0;
  constexpr const char* kPattern = "attention.sliding_window_pattern";
  if (c.window == 0) return keys.ignore(kPattern);
  // A period or a flag a block.
  if (!keys.has(kPattern)) {
    c.window_pattern = a.window_pattern;
    return;
  }
  if (const auto period = keys.period(kPattern)) {
    if (*period == 1) c.window = 0;
    c.window_pattern = *period > 1 ? *period : 0;
  } else if (const auto flags = keys.flags(kPattern)) {
    set_pattern(keys, *flags, c);
  }
}

void read_scores(GgufKeys& keys, const GgufArchitecture& a, ModelConfig& c) {
  c.attention_soft_cap = c.logit_soft_cap = 0;
  c.query_scalar = 0;
  if (a.family == ModelFamily::gemma2) {
    c.attention_soft_cap = keys.real("attn_logit_softcapping").value_or(kGemma2AttentionCap);
    c.logit_soft_cap = keys.real("final_logit_softcapping").value_or(kGemma2LogitCap);
    if (!(c.attention_soft_cap > 0)) keys.refuse("attn_logit_softcapping", "it must be above 0");
    if (!(c.logit_soft_cap > 0)) keys.refuse("final_logit_softcapping", "it must be above 0");
  } else if (a.family == ModelFamily::gemma3) {
    c.logit_soft_cap = keys.real("final_logit_softcapping").value_or(0);
    if (c.logit_soft_cap < 0) keys.refuse("final_logit_softcapping", "it must be 0 (none) or more");
  }
  const bool is_27b = (a.family == ModelFamily::gemma2 && c.num_layers == kGemma2Layers27b) ||
                      (a.family == ModelFamily::gemma3 && c.num_layers == kGemma3Layers27b);
  if (is_27b) c.query_scalar = static_cast<double>(c.hidden_size / c.num_heads);
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim()));
  const double given = keys.real("attention.scale").value_or(scale);
  if (std::abs(given - scale) > 1e-6 * scale)
    keys.refuse("attention.scale", fmt::format("this architecture computes with {:g}", scale));
  if (keys.flag("attention.causal").value_or(true) != true)
    keys.refuse("attention.causal", "the attention of decoders is causal");
}

BiasKind read_biases(const GgufArchitecture& a, const GgufContents& contents) {
  if (a.least_bias == a.most_bias) return a.most_bias;
  const auto has = [&](const char* name) { return contents.tensors.contains(name); };
  const bool of_qkv = has("blk.0.attn_q.bias"), of_output = has("blk.0.attn_output.bias"),
             of_ffn = has("blk.0.ffn_down.bias");
  const BiasKind found = of_qkv && of_output && of_ffn ? BiasKind::all
                         : of_qkv && of_output         ? BiasKind::attention
                         : of_qkv                      ? BiasKind::qkv
                                                       : BiasKind::none;
  return std::min(found, a.most_bias);
}

ModelConfig config_of(GgufKeys& keys, const GgufArchitecture& a, const GgufContents& contents) {
  ModelConfig c;
  apply_family(c, a.family);
  c.vocab_size = contents.vocab_size;
  read_sizes(keys, a, c);
  read_experts(keys, a, c);
  read_window(keys, a, c);
  if (a.family == ModelFamily::llama && c.window > 0) c.family = ModelFamily::mistral;
  read_scores(keys, a, c);
  c.norm_eps =
      keys.need_real(has_layer_norm(a) ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon");
  if (a.family == ModelFamily::neox) {
    c.parallel_residual = keys.flag("use_parallel_residual").value_or(true);
  }
  if (a.family == ModelFamily::smollm3) c.no_rotary_every = kSmolLm3NoRotaryEvery;
  c.bias = read_biases(a, contents);
  c.tied_embeddings =
      a.head == GgufHead::tied || (a.head == GgufHead::either && !contents.tensors.contains("output.weight"));
  if (c.positions == PositionKind::rotary) read_gguf_rotary(keys, a, contents.tables, c);
  for (const char* key : {"vocab_size", "pooling_type", "tensor_data_layout"}) keys.ignore(key);
  return c;
}

const GgufArchitecture& architecture_of(const GgufReader& file) {
  const std::string& name = file.text("general.architecture");
  const GgufArchitecture* found = find_gguf_architecture(name);
  if (found != nullptr) return *found;
  std::vector<std::string_view> known;
  for (const GgufArchitecture& a : gguf_architectures()) known.push_back(a.name);
  throw_bad_input("{}: \"general.architecture\" is \"{}\": the architectures that can be represented are {}",
                  file.path(), name, fmt::join(known, ", "));
}

/// As read_gguf_config() would of a file with these.
ModelConfig read_back(const ModelConfig& config, const GgufArchitecture& a, const GgufModel& written) {
  GgufContents contents{.tensors = {}, .tables = written.tables, .vocab_size = config.vocab_size};
  for (const StoredTensorShape& tensor : gguf_tensor_map(config, a.name).tensors)
    contents.tensors.insert(tensor.name);
  GgufKeys keys("the GGUF file", written.metadata, a.name);
  ModelConfig back = config_of(keys, a, contents);
  keys.refuse_unknown();
  return back;
}

void write_window(const ModelConfig& c, const GgufArchitecture& a, GgufModel& model) {
  const std::string prefix = std::string(a.name) + ".attention.";
  const bool has_none = c.window == 0 || c.window >= c.max_positions;
  if (has_none && !a.reads_window) return;
  if (has_none && a.family == ModelFamily::gemma3) return;
  if (has_none && a.family == ModelFamily::olmo2) return;
  model.metadata.emplace_back(prefix + "sliding_window", static_cast<uint32_t>(has_none ? 0 : c.window));
  std::vector<bool> pattern, usual;
  for (int64_t i = 0; i < c.num_layers; ++i) {
    pattern.push_back(c.window_of(i) > 0);
    usual.push_back(a.window_pattern == 0 || (i + 1) % a.window_pattern != 0);
  }
  if (!has_none && pattern != usual) model.metadata.emplace_back(prefix + "sliding_window_pattern", pattern);
  if (!a.reads_window && !has_none) {
    model.notes.push_back(
        fmt::format("llama.cpp reads no window for architecture {}: where a text is longer than model.window "
                    "{} tokens, it attends to all",
                    a.name, c.window));
  }
}

GgufModel write_as(const ModelConfig& c, const GgufArchitecture& a) {
  GgufModel model{.architecture = std::string(a.name), .metadata = {}, .tables = {}, .notes = {}};
  const std::string prefix = model.architecture + ".";
  const auto add = [&](const std::string& key, auto value) {
    model.metadata.emplace_back(prefix + key, value);
  };
  const auto add_count = [&](const std::string& key, int64_t value) {
    add(key, static_cast<uint32_t>(value));
  };
  const auto add_real = [&](const std::string& key, double value) { add(key, static_cast<float>(value)); };
  model.metadata.emplace_back("general.architecture", model.architecture);
  const bool has_experts = c.moe.num_experts > 0;
  add_count("block_count", c.num_layers);
  add_count("context_length", c.max_positions);
  add_count("embedding_length", c.hidden_size);
  add_count("feed_forward_length", has_experts && !a.own_expert_width ? c.expert_ffn_size() : c.ffn_size);
  add_count("attention.head_count", c.num_heads);
  add_count("attention.head_count_kv", c.num_kv_heads);
  if (c.positions == PositionKind::rotary) write_gguf_rotary(c, a, model.metadata, model.tables);
  add_real(has_layer_norm(a) ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
           c.norm_eps);
  if (a.free_head_dim) {
    add_count("attention.key_length", c.head_dim());
    add_count("attention.value_length", c.head_dim());
  }
  write_window(c, a, model);
  if (c.attention_soft_cap > 0) add_real("attn_logit_softcapping", c.attention_soft_cap);
  if (c.logit_soft_cap > 0) add_real("final_logit_softcapping", c.logit_soft_cap);
  if (a.family == ModelFamily::neox) add("use_parallel_residual", c.parallel_residual);
  if (has_experts) {
    add_count("expert_count", c.moe.num_experts);
    add_count("expert_used_count", c.moe.experts_per_token);
    if (a.own_expert_width) add_count("expert_feed_forward_length", c.expert_ffn_size());
  }
  add_count("vocab_size", c.vocab_size);
  return model;
}

/// Why llama.cpp's architecture does not compute this model; empty where it does.
std::string difference_from(const ModelConfig& config, const GgufArchitecture& a, const GgufModel& written) {
  try {
    return text_of(gguf_differences(config, read_back(config, a, written)));
  } catch (const UserError& error) {
    return error.what();
  }
}

/// Architectures by how near they are: the family's own first.
std::vector<const GgufArchitecture*> nearest_first(const ModelConfig& config) {
  std::vector<const GgufArchitecture*> all;
  for (const GgufArchitecture& a : gguf_architectures()) all.push_back(&a);
  const ModelFamily family = config.family == ModelFamily::mistral ? ModelFamily::llama : config.family;
  const bool has_experts = config.moe.num_experts > 0;
  const auto distance = [&](const GgufArchitecture* a) {
    return (a->family == family ? 0 : 2) + ((has_experts ? a->experts : a->dense) ? 0 : 1);
  };
  std::ranges::stable_sort(all, {}, distance);
  return all;
}

}  // namespace

ModelConfig read_gguf_config(const GgufReader& file) {
  const GgufArchitecture& a = architecture_of(file);
  GgufContents contents;
  for (const auto& [name, tensor] : file.tensors()) {
    contents.tensors.insert(name);
    if (!a.frequency_factors || !is_gguf_table(name)) continue;
    std::vector<float>& factors = contents.tables[name];
    factors.resize(static_cast<size_t>(tensor.shape.numel()));
    file.read(name, {0, tensor.rows()}, std::nullopt, factors);
  }
  contents.vocab_size = file.at("token_embd.weight").rows();
  GgufKeys keys(file.path(), file.metadata(), a.name);
  ModelConfig config = config_of(keys, a, contents);
  keys.refuse_unknown();
  const std::vector<std::string> errors = errors_of(config);
  if (!errors.empty()) throw_bad_input("{}: {}", file.path(), fmt::join(errors, "; "));
  return config;
}

GgufModel write_gguf_config(const ModelConfig& config) {
  // Of such blocks not even the tensors have names.
  for (const auto& [option, is_on] : {std::pair("model.convolution", config.convolution.kernel > 0),
                                      std::pair("model.bottleneck", config.bottleneck.width > 0)}) {
    if (is_on)
      throw_usage(
          "no architecture of llama.cpp has blocks as {} makes them, so no GGUF file can hold this model. "
          "--format trireme keeps everything",
          option);
  }
  std::string first;
  for (const GgufArchitecture* a : nearest_first(config)) {
    GgufModel written = write_as(config, *a);
    const std::string difference = difference_from(config, *a, written);
    if (difference.empty()) return written;
    if (first.empty()) first = fmt::format("{} is the nearest: {}", a->name, difference);
  }
  throw_usage(
      "no architecture of llama.cpp computes this model, so no GGUF file can hold it. {}. --format trireme "
      "keeps everything",
      first);
}

std::string gguf_architecture_of(const ModelConfig& config) { return write_gguf_config(config).architecture; }

bool is_gguf_table(std::string_view name) {
  return name == kGgufFrequencyFactors || name == kGgufLongFactors || name == kGgufShortFactors;
}

}  // namespace trireme
