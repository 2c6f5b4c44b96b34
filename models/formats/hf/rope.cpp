// RoPE in config.json: rope_theta and rope_scaling as before version 5 of transformers, or rope_parameters.
#include <algorithm>
#include <cmath>

#include "models/formats/hf/parts.h"

namespace trireme::hf {

namespace {

constexpr double kMostScaling = 1e6;

/// Factor of scaling; nothing where there is none.
std::optional<double> factor_in(const HfKeys& scaling) {
  if (scaling.find("factor") == nullptr) return std::nullopt;
  const double factor = scaling.real("factor", 1);
  if (factor >= 1 && factor <= kMostScaling) return factor;
  scaling.refuse("factor", "a factor from 1 to {} was expected", kMostScaling);
  return 1.0;
}

double needed(const HfKeys& scaling, std::string_view key) {
  if (scaling.find(key) == nullptr) scaling.refuse(key, "it is missing, and rope_type llama3 needs it");
  return scaling.real(key, 1);
}

void read_yarn(const HfKeys& scaling, ModelConfig& c) {
  c.rotary_beta_fast = scaling.real("beta_fast", 32);
  c.rotary_beta_slow = scaling.real("beta_slow", 1);
  if (c.rotary_beta_fast == 0) c.rotary_beta_fast = 32;
  if (c.rotary_beta_slow == 0) c.rotary_beta_slow = 1;
  c.rotary_truncate = scaling.flag("truncate", true);
  const double scale = scaling.real("mscale", 0), all = scaling.real("mscale_all_dim", 0);
  if (c.rotary_attention_factor != 0 || scale == 0 || all == 0 || c.rotary_scaling_factor <= 1) return;
  const double per = 0.1 * std::log(c.rotary_scaling_factor);
  c.rotary_attention_factor = (per * scale + 1) / (per * all + 1);
}

void read_longrope(const HfKeys& scaling, ModelConfig& c) {
  for (const char* key : {"short_mscale", "long_mscale"}) {
    if (scaling.find(key) != nullptr)
      scaling.refuse(key, "factors of the scores by length are not supported");
  }
  const int64_t pairs = (c.rotary_dims > 0 ? c.rotary_dims : c.head_dim()) / 2;
  for (const auto& [key, field] : {std::pair("short_factor", &ModelConfig::rotary_short_factors),
                                   std::pair("long_factor", &ModelConfig::rotary_long_factors)}) {
    const auto list = scaling.reals(key);
    if (!list || std::ssize(*list) != pairs ||
        !std::ranges::all_of(*list, [](double x) { return x > 0 && std::isfinite(static_cast<float>(x)); })) {
      scaling.refuse(key, "a list of {} numbers above 0 was expected, one for each pair that is turned",
                     pairs);
      continue;
    }
    c.*field = *list;
  }
}

/// What all but `default` have.
void read_factor(const HfKeys& keys, const HfKeys& scaling, ModelConfig& c) {
  c.rotary_original_positions = keys.whole(
      "original_max_position_embeddings", scaling.whole("original_max_position_embeddings", c.max_positions));
  const bool has_ratio =
      c.rotary_scaling == RotaryScaling::yarn || c.rotary_scaling == RotaryScaling::longrope;
  const auto factor = factor_in(scaling);
  if (!factor && !has_ratio) scaling.refuse("factor", "it is missing");
  c.rotary_scaling_factor = factor.value_or(has_ratio ? static_cast<double>(c.max_positions) /
                                                            static_cast<double>(c.rotary_original_positions)
                                                      : 1.0);
  if (has_ratio) c.rotary_attention_factor = scaling.real("attention_factor", 0);
}

/// Without them a factor of 1 leaves RoPE as it is.
void read_scaling(const Rope& rope, const HfKeys& keys, const HfKeys& scaling, ModelConfig& c) {
  const std::string type = scaling.text("rope_type", scaling.text("type", "default"));
  if (type == "default") return;
  if (type == "linear") {
    c.rotary_scaling = RotaryScaling::linear;
    read_factor(keys, scaling, c);
    if (!scaling.has("original_max_position_embeddings"))
      c.rotary_original_positions =
          std::max<int64_t>(1, std::llround(static_cast<double>(c.max_positions) / c.rotary_scaling_factor));
  } else if (type == "llama3") {
    c.rotary_scaling = RotaryScaling::llama3;
    read_factor(keys, scaling, c);
    c.rotary_low_freq_factor = needed(scaling, "low_freq_factor");
    c.rotary_high_freq_factor = needed(scaling, "high_freq_factor");
  } else if (type == "longrope" || type == "su" || (type == "yarn" && rope.yarn_is_longrope)) {
    c.rotary_scaling = RotaryScaling::longrope;
    read_factor(keys, scaling, c);
    read_longrope(scaling, c);
    if (c.rotary_scaling_factor <= 1)
      scaling.refuse("type",
                     "max_position_embeddings {} is not above original_max_position_embeddings {}: longrope "
                     "with a factor of 1 is not supported",
                     c.max_positions, c.rotary_original_positions);
  } else if (type == "yarn") {
    c.rotary_scaling = RotaryScaling::yarn;
    read_factor(keys, scaling, c);
    read_yarn(scaling, c);
  } else {
    scaling.refuse(scaling.has("rope_type") ? "rope_type" : "type",
                   "default, linear, llama3, yarn and longrope are supported{}",
                   type == "dynamic"
                       ? "; up to max_position_embeddings dynamic changes nothing: without rope_scaling "
                         "the model is the same there"
                       : "");
  }
  if (c.rotary_scaling_factor <= 1) c.rotary_scaling_factor = 1;
}

void read_partial(const Rope& rope, const HfKeys& keys, const HfKeys& scaling, ModelConfig& c) {
  c.rotary_dims = 0;
  double part = keys.real("partial_rotary_factor", rope.partial);
  if (!rope.partial_key.empty()) part = keys.real(rope.partial_key, part);
  part = scaling.real("partial_rotary_factor", part);
  if (part == 1) return;
  const auto dims = static_cast<int64_t>(static_cast<double>(c.head_dim()) * std::clamp(part, 0.0, 1.0));
  const std::string key = rope.partial_key.empty() ? "partial_rotary_factor" : rope.partial_key;
  if (rope.partial_key.empty()) {
    keys.refuse(key, "transformers turns whole heads of this architecture");
  } else if (!(part > 0 && part < 1) || dims < 2 || dims % 2 != 0) {
    keys.refuse(key,
                "of heads of {} it makes {} dimensions to be turned: an even number is needed, from 2 on",
                c.head_dim(), dims);
  } else {
    c.rotary_dims = dims;
  }
}

void read_rope(const Rope& rope, const HfKeys& keys, ModelConfig& c) {
  const Json* before = keys.find("rope_scaling");
  const bool has_before = before != nullptr && !before->empty();
  const HfKeys given = keys.of(has_before ? "rope_scaling" : "rope_parameters");
  const bool by_type = given.has("full_attention") || given.has("sliding_attention");
  if (by_type && rope.local_key.empty())
    given.refuse("full_attention", "one RoPE for all blocks is supported for this architecture");
  const HfKeys all = by_type ? given.of("full_attention") : given;
  c.rotary_theta = all.real("rope_theta", keys.real(rope.theta_key, keys.real("rope_theta", rope.theta)));
  if (!(c.rotary_theta >= 1)) keys.refuse(rope.theta_key, "a number from 1 on was expected");
  read_partial(rope, keys, all, c);
  c.rotary_scaling_factor = 1;
  read_scaling(rope, keys, all, c);
  if (rope.local_key.empty()) return;
  c.rotary_local_theta = keys.real(rope.local_key, rope.local_theta);
  if (by_type) {
    const HfKeys local = given.of("sliding_attention");
    c.rotary_local_theta = local.real("rope_theta", c.rotary_local_theta);
    if (local.text("rope_type", "default") != "default")
      local.refuse("rope_type", "blocks with a window have RoPE without scaling");
  }
  if (!(c.rotary_local_theta >= 1)) keys.refuse(rope.local_key, "a number from 1 on was expected");
}

Json scaling_of(const Rope& rope, const ModelConfig& c) {
  const char* type = rope.yarn_is_longrope ? "type" : "rope_type";
  Json out = Json::object();
  const auto attention = [&] {
    if (c.rotary_attention_factor > 0) out["attention_factor"] = c.rotary_attention_factor;
  };
  switch (c.rotary_scaling) {
    case RotaryScaling::linear:
      out = {{type, "linear"}, {"factor", c.rotary_scaling_factor}};
      break;
    case RotaryScaling::llama3:
      out = {{type, "llama3"},
             {"factor", c.rotary_scaling_factor},
             {"low_freq_factor", c.rotary_low_freq_factor},
             {"high_freq_factor", c.rotary_high_freq_factor},
             {"original_max_position_embeddings", c.rotary_original_positions}};
      break;
    case RotaryScaling::yarn:
      out = {{type, "yarn"},
             {"factor", c.rotary_scaling_factor},
             {"original_max_position_embeddings", c.rotary_original_positions},
             {"beta_fast", c.rotary_beta_fast},
             {"beta_slow", c.rotary_beta_slow}};
      if (!c.rotary_truncate) out["truncate"] = false;
      attention();
      break;
    case RotaryScaling::longrope: {
      out = {{type, "longrope"},
             {"short_factor", c.rotary_short_factors},
             {"long_factor", c.rotary_long_factors}};
      const double ratio =
          static_cast<double>(c.max_positions) / static_cast<double>(c.rotary_original_positions);
      if (ratio != c.rotary_scaling_factor) out["factor"] = c.rotary_scaling_factor;
      if (!rope.yarn_is_longrope) out["original_max_position_embeddings"] = c.rotary_original_positions;
      attention();
      break;
    }
  }
  return out;
}

void write_rope(const Rope& rope, const ModelConfig& c, Json& out) {
  out[rope.theta_key] = c.rotary_theta;
  if (!rope.partial_key.empty()) {
    const int64_t dims = c.rotary_dims > 0 ? c.rotary_dims : c.head_dim();
    const auto head = static_cast<double>(c.head_dim());
    double part = static_cast<double>(dims) / head;
    if (static_cast<int64_t>(head * part) < dims) part = std::nextafter(part, 1.0);
    out[rope.partial_key] = part;
  }
  if (!rope.local_key.empty())
    out[rope.local_key] = c.rotary_local_theta > 0 ? c.rotary_local_theta : c.rotary_theta;
  const bool is_scaled = c.rotary_scaling_factor > 1;
  out["rope_scaling"] = is_scaled ? scaling_of(rope, c) : Json();
  if (is_scaled && rope.yarn_is_longrope)
    out["original_max_position_embeddings"] = c.rotary_original_positions;
}

}  // namespace

HfPart rope(const Rope& rope) {
  std::vector<std::string> keys = {rope.theta_key,          "rope_theta",
                                   "rope_scaling",          "rope_parameters",
                                   "partial_rotary_factor", "original_max_position_embeddings"};
  if (!rope.partial_key.empty()) keys.push_back(rope.partial_key);
  if (!rope.local_key.empty()) keys.push_back(rope.local_key);
  return {.keys = std::move(keys),
          .read = [=](const HfKeys& k, ModelConfig& c) { read_rope(rope, k, c); },
          .write = [=](const ModelConfig& c, Json& out) { write_rope(rope, c, out); }};
}

}  // namespace trireme::hf
