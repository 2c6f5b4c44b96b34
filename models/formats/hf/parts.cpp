#include "models/formats/hf/parts.h"

#include <algorithm>

#include <fmt/ranges.h>

namespace trireme::hf {

namespace {

/// null where `zero_is_null` and there is none.
template <class Number>
Json number_or_null(Number number, bool zero_is_null) {
  return zero_is_null && number == 0 ? Json() : Json(number);
}

HfPart whole_part(const std::string& key, int64_t ModelConfig::*field, int64_t absent, bool nullable) {
  return {.keys = {key},
          .read =
              [=](const HfKeys& keys, ModelConfig& c) {
                const bool is_null = nullable && keys.has(key) && keys.find(key) == nullptr;
                c.*field = is_null ? 0 : keys.whole(key, absent);
              },
          .write = [=](const ModelConfig& c, Json& out) { out[key] = number_or_null(c.*field, nullable); }};
}

HfPart real_part(const std::string& key, double ModelConfig::*field, double absent, bool nullable) {
  return {.keys = {key},
          .read =
              [=](const HfKeys& keys, ModelConfig& c) {
                const bool is_null = nullable && keys.has(key) && keys.find(key) == nullptr;
                c.*field = is_null ? 0 : keys.real(key, absent);
                if (!(c.*field >= 0)) keys.refuse(key, "a number above 0 was expected");
              },
          .write = [=](const ModelConfig& c, Json& out) { out[key] = number_or_null(c.*field, nullable); }};
}

/// Names of transformers; the first of a kind is the usual one.
struct ActivationName {
  std::string_view name;
  ActivationKind gated, plain;
};
constexpr ActivationName kActivations[] = {
    {"silu", ActivationKind::swiglu, ActivationKind::swiglu},
    {"swish", ActivationKind::swiglu, ActivationKind::swiglu},
    {"gelu_pytorch_tanh", ActivationKind::geglu, ActivationKind::gelu},
    {"gelu_new", ActivationKind::geglu, ActivationKind::gelu},
    {"gelu_fast", ActivationKind::geglu, ActivationKind::gelu},
    {"gelu_accurate", ActivationKind::geglu, ActivationKind::gelu},
    {"gelu_python_tanh", ActivationKind::geglu, ActivationKind::gelu},
    {"gelu", ActivationKind::gelu_erf, ActivationKind::gelu_erf},
    {"gelu_python", ActivationKind::gelu_erf, ActivationKind::gelu_erf}};

void read_activation(const HfKeys& keys, const std::string& key, bool gated, const std::string& absent,
                     ModelConfig& c) {
  const std::string name = keys.text(key, absent);
  std::vector<std::string_view> known;
  for (const ActivationName& entry : kActivations) {
    const ActivationKind kind = gated ? entry.gated : entry.plain;
    if (is_gated(kind) != gated) continue;
    known.push_back(entry.name);
    if (entry.name != name) continue;
    c.activation = kind;
    return;
  }
  keys.refuse(key, "{} works with {}", gated ? "a gated network" : "a network without gate",
              fmt::join(known, ", "));
}

}  // namespace

Parts together(std::initializer_list<Parts> lists) {
  Parts all;
  for (const Parts& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

HfPart whole(std::string key, int64_t ModelConfig::*field, int64_t absent) {
  return whole_part(key, field, absent, false);
}
HfPart whole_or_null(std::string key, int64_t ModelConfig::*field, int64_t absent) {
  return whole_part(key, field, absent, true);
}
HfPart real(std::string key, double ModelConfig::*field, double absent) {
  return real_part(key, field, absent, false);
}
HfPart real_or_null(std::string key, double ModelConfig::*field, double absent) {
  return real_part(key, field, absent, true);
}

HfPart flag(std::string key, bool ModelConfig::*field, bool absent) {
  return {.keys = {key},
          .read = [=](const HfKeys& keys, ModelConfig& c) { c.*field = keys.flag(key, absent); },
          .write = [=](const ModelConfig& c, Json& out) { out[key] = c.*field; }};
}

HfPart only(std::string key, Json works, std::string why, std::optional<Json> absent) {
  return {.keys = {key},
          .read =
              [=](const HfKeys& keys, ModelConfig&) {
                const Json* given = keys.find(key);
                const Json value = given != nullptr ? *given : absent.value_or(works);
                if (value != works) keys.refuse(key, "{} works: {}", works.dump(), why);
              },
          .write =
              [=](const ModelConfig&, Json& out) {
                if (absent) out[key] = works;
              }};
}

HfPart dropout(std::vector<std::string> names) {
  return {.keys = names,
          .read =
              [=](const HfKeys& keys, ModelConfig&) {
                for (const std::string& name : names) keys.real(name, 0);
              },
          .write =
              [=](const ModelConfig&, Json& out) {
                for (const std::string& name : names) out[name] = 0.0;
              }};
}

Parts sizes(const Sizes& absent) {
  const HfPart kv_heads = {
      .keys = {"num_key_value_heads"},
      .read =
          [=](const HfKeys& keys, ModelConfig& c) {
            const bool is_null = keys.has("num_key_value_heads") && !keys.find("num_key_value_heads");
            const int64_t none = is_null || absent.kv_heads == 0 ? c.num_heads : absent.kv_heads;
            c.num_kv_heads = keys.whole("num_key_value_heads", none);
          },
      .write = [](const ModelConfig& c, Json& out) { out["num_key_value_heads"] = c.num_kv_heads; }};
  return {whole("vocab_size", &ModelConfig::vocab_size, absent.vocab),
          whole("hidden_size", &ModelConfig::hidden_size, absent.hidden),
          whole("intermediate_size", &ModelConfig::ffn_size, absent.ffn),
          whole("num_hidden_layers", &ModelConfig::num_layers, absent.layers),
          whole("num_attention_heads", &ModelConfig::num_heads, absent.heads),
          kv_heads,
          whole("max_position_embeddings", &ModelConfig::max_positions, absent.positions),
          real("initializer_range", &ModelConfig::init_std, 0.02)};
}

HfPart head_dim(int64_t absent) {
  return {.keys = {"head_dim"},
          .read =
              [=](const HfKeys& keys, ModelConfig& c) {
                const bool is_null = keys.has("head_dim") && keys.find("head_dim") == nullptr;
                c.given_head_dim = keys.whole("head_dim", is_null ? 0 : absent);
                if (c.given_head_dim == 0 && c.hidden_size % c.num_heads != 0)
                  keys.refuse("hidden_size",
                              "num_attention_heads {} does not divide it, and head_dim is not given",
                              c.num_heads);
              },
          .write = [](const ModelConfig& c, Json& out) { out["head_dim"] = c.head_dim(); }};
}

HfPart activation(std::string key, bool gated, std::string absent) {
  return {.keys = {key},
          .read = [=](const HfKeys& keys, ModelConfig& c) { read_activation(keys, key, gated, absent, c); },
          .write =
              [=](const ModelConfig& c, Json& out) {
                ModelConfig usual = c;
                std::vector<std::string> none;
                Json object = Json::object();
                read_activation(HfKeys(object, none), key, gated, absent, usual);
                out[key] = absent;
                if (usual.activation == c.activation) return;
                for (const ActivationName& entry : kActivations) {
                  if ((gated ? entry.gated : entry.plain) != c.activation) continue;
                  out[key] = entry.name;
                  return;
                }
              }};
}

HfPart biases(bool absent, bool has_mlp_bias) {
  return {.keys = has_mlp_bias ? std::vector<std::string>{"attention_bias", "mlp_bias"}
                               : std::vector<std::string>{"attention_bias"},
          .read =
              [=](const HfKeys& keys, ModelConfig& c) {
                const bool attention = keys.flag("attention_bias", absent),
                           mlp = has_mlp_bias && keys.flag("mlp_bias", false);
                if (mlp && !attention)
                  keys.refuse("mlp_bias",
                              "biases of the feed-forward part alone are not supported; nearest "
                              "are attention_bias true too, or both false");
                c.bias = mlp ? BiasKind::all : attention ? BiasKind::attention : BiasKind::none;
              },
          .write =
              [=](const ModelConfig& c, Json& out) {
                out["attention_bias"] = c.bias == BiasKind::attention || c.bias == BiasKind::all;
                if (has_mlp_bias) out["mlp_bias"] = c.bias == BiasKind::all;
              }};
}

}  // namespace trireme::hf
