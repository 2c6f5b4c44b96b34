#include "models/formats/gguf_rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr double kDefaultTheta = 10000, kDefaultBetaFast = 32, kDefaultBetaSlow = 1;
constexpr int64_t kLlama3Positions = 8192;
constexpr double kLlama3LowFactor = 1, kLlama3HighFactor = 4;

int64_t turned_dims(const ModelConfig& c) { return c.rotary_dims > 0 ? c.rotary_dims : c.head_dim(); }

/// By what Llama 3's scaling divides each frequency (arXiv 2407.21783).
std::vector<float> llama3_factors(const ModelConfig& c) {
  const int64_t dims = turned_dims(c);
  const auto positions = static_cast<double>(c.rotary_original_positions);
  std::vector<float> factors;
  for (int64_t i = 0; i < dims / 2; ++i) {
    const double wavelength =
        2 * std::numbers::pi *
        std::pow(c.rotary_theta, 2 * static_cast<double>(i) / static_cast<double>(dims));
    const double turns = positions / wavelength;
    const double blend = std::clamp(
        (turns - c.rotary_low_freq_factor) / (c.rotary_high_freq_factor - c.rotary_low_freq_factor), 0.0,
        1.0);
    factors.push_back(static_cast<float>(1 / ((1 - blend) / c.rotary_scaling_factor + blend)));
  }
  return factors;
}

bool are_near(const std::vector<float>& a, const std::vector<float>& b) {
  constexpr float kApart = 2e-5f;  // published tables are computed in fp32
  return std::ranges::equal(a, b, [](float x, float y) { return std::abs(x - y) <= kApart * std::abs(x); });
}

/// Frequencies divided by these factors: by Llama 3's formula where it gives them, else each on its own.
void take_factors(GgufKeys& keys, const std::vector<float>& factors, ModelConfig& c) {
  const float most = *std::ranges::max_element(factors), least = *std::ranges::min_element(factors);
  if (!(least > 0) || !std::isfinite(most))
    throw_bad_input("{}: a factor of tensor \"{}\" is not above 0", keys.path(), kGgufFrequencyFactors);
  const double factor = keys.real("rope.scaling.llama3.factor").value_or(most);
  const double low = keys.real("rope.scaling.llama3.low_freq_factor").value_or(kLlama3LowFactor);
  const double high = keys.real("rope.scaling.llama3.high_freq_factor").value_or(kLlama3HighFactor);
  const int64_t positions = keys.integer("rope.scaling.original_context_length").value_or(kLlama3Positions);
  if (most == 1 && least == 1 && factor == 1) return;
  if (factor > 1 && low > 0 && high > low && positions > 0) {
    c.rotary_scaling = RotaryScaling::llama3;
    c.rotary_scaling_factor = factor;
    c.rotary_low_freq_factor = low;
    c.rotary_high_freq_factor = high;
    c.rotary_original_positions = positions;
    if (are_near(factors, llama3_factors(c))) return;
  }
  const ModelConfig usual;
  c.rotary_low_freq_factor = usual.rotary_low_freq_factor;
  c.rotary_high_freq_factor = usual.rotary_high_freq_factor;
  c.rotary_scaling = RotaryScaling::longrope;
  c.rotary_scaling_factor = std::max(1.0 + 1.0 / 1024, static_cast<double>(most));
  c.rotary_attention_factor = 1;
  c.rotary_original_positions = c.max_positions;
  c.rotary_short_factors.assign(factors.begin(), factors.end());
  c.rotary_long_factors = c.rotary_short_factors;
}

void read_linear(GgufKeys& keys, double factor, ModelConfig& c) {
  if (factor < 1) keys.refuse("rope.scaling.factor", "it must be 1 or more");
  c.rotary_scaling = RotaryScaling::linear;
  c.rotary_scaling_factor = factor;
}

void read_yarn(GgufKeys& keys, double factor, ModelConfig& c) {
  if (factor < 1) keys.refuse("rope.scaling.factor", "it must be 1 or more");
  c.rotary_scaling = RotaryScaling::yarn;
  c.rotary_scaling_factor = factor;
  c.rotary_original_positions =
      keys.integer("rope.scaling.original_context_length").value_or(c.max_positions);
  c.rotary_beta_fast = keys.real("rope.scaling.yarn_beta_fast").value_or(kDefaultBetaFast);
  c.rotary_beta_slow = keys.real("rope.scaling.yarn_beta_slow").value_or(kDefaultBetaSlow);
  // llama.cpp multiplies this with the paper's.
  const double times = keys.real("rope.scaling.attn_factor").value_or(1);
  if (times != 1) c.rotary_attention_factor = times * (1 + 0.1 * std::log(factor));
}

void read_longrope(GgufKeys& keys, const GgufTables& tables, ModelConfig& c) {
  const auto shorter = tables.find(kGgufShortFactors), longer = tables.find(kGgufLongFactors);
  if (shorter == tables.end() || longer == tables.end()) {
    throw_bad_input("{}: RoPE scaling longrope needs the tensors \"{}\" and \"{}\"", keys.path(),
                    kGgufShortFactors, kGgufLongFactors);
  }
  c.rotary_scaling = RotaryScaling::longrope;
  c.rotary_original_positions =
      keys.integer("rope.scaling.original_context_length").value_or(c.max_positions);
  c.rotary_short_factors.assign(shorter->second.begin(), shorter->second.end());
  c.rotary_long_factors.assign(longer->second.begin(), longer->second.end());
  // 1 would mean that nothing is scaled; the factor counts for the attention factor alone, which follows.
  c.rotary_scaling_factor =
      std::max(1.0 + 1.0 / 1024, static_cast<double>(c.max_positions) /
                                     static_cast<double>(std::max<int64_t>(1, c.rotary_original_positions)));
  c.rotary_attention_factor = keys.real("rope.scaling.attn_factor").value_or(1);
}

void check_table_lengths(const GgufKeys& keys, const GgufTables& tables, const ModelConfig& c) {
  for (const auto& [name, factors] : tables) {
    if (std::ssize(factors) != turned_dims(c) / 2 || factors.empty()) {
      throw_bad_input("{}: tensor \"{}\" has {} factors, the {} dimensions that are turned need {}",
                      keys.path(), name, factors.size(), turned_dims(c), turned_dims(c) / 2);
    }
  }
}

void read_dims(GgufKeys& keys, const GgufArchitecture& architecture, ModelConfig& c) {
  const int64_t dims = keys.integer("rope.dimension_count").value_or(c.head_dim());
  if (dims == c.head_dim()) return;
  if (!architecture.partial_rotary || dims % 2 != 0 || dims < 2 || dims > c.head_dim()) {
    keys.refuse("rope.dimension_count",
                fmt::format("heads have {} dimensions{}", c.head_dim(),
                            architecture.partial_rotary ? "; an even number up to that is expected"
                                                        : ", all of which are turned"));
  }
  c.rotary_dims = dims;
}

/// Theta of blocks with a window where it is another, or they are not scaled while others are.
double local_theta(GgufKeys& keys, const GgufArchitecture& architecture, const ModelConfig& c) {
  const std::optional<double> given = keys.real("rope.freq_base_swa");
  if (!architecture.reads_window || c.window == 0) return 0;
  if (architecture.family == ModelFamily::gemma3) return given.value_or(kDefaultTheta);
  // OLMo 3 has one theta, and scales blocks without a window alone.
  if (architecture.family == ModelFamily::olmo2) return c.rotary_scaling_factor == 1 ? 0 : c.rotary_theta;
  if (given && c.rotary_scaling_factor != 1)
    keys.refuse("rope.freq_base_swa", "blocks with a window that have a theta of their own are not scaled");
  return given && *given != c.rotary_theta ? *given : 0;
}

}  // namespace

void read_gguf_rotary(GgufKeys& keys, const GgufArchitecture& architecture, const GgufTables& tables,
                      ModelConfig& c) {
  c.rotary_theta = keys.real("rope.freq_base").value_or(kDefaultTheta);
  if (!(c.rotary_theta > 0)) keys.refuse("rope.freq_base", "it must be above 0");
  read_dims(keys, architecture, c);
  check_table_lengths(keys, tables, c);
  const std::string type = keys.text("rope.scaling.type").value_or("linear");
  const double old_factor = keys.real("rope.scale_linear").value_or(0);
  const double factor = keys.real("rope.scaling.factor").value_or(old_factor);
  for (const char* key : {"rope.scaling.yarn_log_multiplier", "rope.scaling.alpha"}) {
    if (keys.real(key).value_or(0) != 0) keys.refuse(key, "it cannot be represented; 0 can");
  }
  if (keys.real("rope.scaling.yarn_ext_factor").value_or(1) != 1)
    keys.refuse("rope.scaling.yarn_ext_factor", "it cannot be represented; 1 can");
  keys.ignore("rope.scaling.finetuned");
  keys.ignore("rope.scaling.yarn_attn_factor");  // a key that llama.cpp reads for other architectures
  const bool scales = factor != 0 && factor != 1;
  const auto table = tables.find(kGgufFrequencyFactors);
  if (type == "longrope") {
    read_longrope(keys, tables, c);
  } else if (type != "linear" && type != "yarn" && type != "none") {
    keys.refuse("rope.scaling.type", "none, linear, yarn and longrope can be represented");
  } else if (table != tables.end()) {
    if (scales && type != "none")
      keys.refuse("rope.scaling.factor",
                  fmt::format("beside the tensor \"{}\" it cannot be represented", kGgufFrequencyFactors));
    take_factors(keys, table->second, c);
  } else if (scales && type == "yarn") {
    read_yarn(keys, factor, c);
  } else if (scales && type == "linear") {
    read_linear(keys, factor, c);
  }
  for (const char* key : {"rope.scaling.attn_factor", "rope.scaling.original_context_length",
                          "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"})
    keys.ignore(key);  // without a scaling that reads them
  c.rotary_local_theta = local_theta(keys, architecture, c);
}

void write_gguf_rotary(const ModelConfig& c, const GgufArchitecture& architecture, GgufMetadata& metadata,
                       GgufTables& tables) {
  const std::string prefix = std::string(architecture.name) + ".rope.";
  const auto add = [&](const char* key, auto value) { metadata.emplace_back(prefix + key, value); };
  const auto add_real = [&](const char* key, double value) { add(key, static_cast<float>(value)); };
  const auto add_count = [&](const char* key, int64_t value) { add(key, static_cast<uint32_t>(value)); };
  if (architecture.free_head_dim || architecture.partial_rotary) add_count("dimension_count", turned_dims(c));
  add_real("freq_base", c.rotary_theta);
  if (architecture.family == ModelFamily::gemma3 && c.window > 0)
    add_real("freq_base_swa", c.rotary_local_theta > 0 ? c.rotary_local_theta : c.rotary_theta);
  else if (c.rotary_local_theta > 0 && architecture.reads_window)
    add_real("freq_base_swa", c.rotary_local_theta);
  if (c.rotary_scaling_factor == 1) return;
  if (c.rotary_scaling == RotaryScaling::linear) {
    add("scaling.type", std::string("linear"));
    add_real("scaling.factor", c.rotary_scaling_factor);
  } else if (c.rotary_scaling == RotaryScaling::yarn) {
    add("scaling.type", std::string("yarn"));
    add_real("scaling.factor", c.rotary_scaling_factor);
    add_count("scaling.original_context_length", c.rotary_original_positions);
    if (c.rotary_attention_factor > 0)
      add_real("scaling.attn_factor",
               c.rotary_attention_factor / (1 + 0.1 * std::log(c.rotary_scaling_factor)));
    // yarn_beta_fast and yarn_beta_slow are no keys that llama.cpp reads for these architectures.
  } else if (!architecture.frequency_factors) {
    return;
  } else if (c.rotary_scaling == RotaryScaling::llama3) {
    // Keys of our own: llama.cpp reads the factors alone, from which these do not follow.
    add_real("scaling.llama3.factor", c.rotary_scaling_factor);
    add_real("scaling.llama3.low_freq_factor", c.rotary_low_freq_factor);
    add_real("scaling.llama3.high_freq_factor", c.rotary_high_freq_factor);
    add_count("scaling.original_context_length", c.rotary_original_positions);
    tables[kGgufFrequencyFactors] = llama3_factors(c);
  } else {
    add("scaling.type", std::string("longrope"));
    add_count("scaling.original_context_length", c.rotary_original_positions);
    const double paper =
        std::sqrt(1 + std::log(c.rotary_scaling_factor) /
                          std::log(static_cast<double>(std::max<int64_t>(2, c.rotary_original_positions))));
    add_real("scaling.attn_factor", c.rotary_attention_factor > 0 ? c.rotary_attention_factor : paper);
    const auto as_floats = [](const std::vector<double>& from) {
      return std::vector<float>(from.begin(), from.end());
    };
    tables[kGgufLongFactors] = as_floats(c.rotary_long_factors);
    tables[kGgufShortFactors] = as_floats(c.rotary_short_factors);
  }
}

}  // namespace trireme
