#include "models/formats/quantized/quantization_config.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include <fmt/ranges.h>

namespace trireme {

namespace {

using hf::HfKeys;
using hf::Json;
using Strategy = CodeScheme::Strategy;

constexpr int64_t kMostGroup = int64_t{1} << 20;
constexpr const char* kDequantize =
    "load the model with transformers, call dequantize() and save it, or take the original";

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> known) {
  return std::ranges::find(known, text) != known.end();
}

/// group_size as GPTQ and AWQ have it: -1 for all inputs.
int64_t group_size(const HfKeys& keys, int64_t absent) {
  const int64_t size = keys.whole("group_size", absent, -1);
  if (size == 0 || size > kMostGroup) keys.refuse("group_size", "-1 (all inputs) or above 0 is read");
  return size == -1 ? 0 : size;
}

std::optional<Strategy> strategy_of(const HfKeys& weights) {
  const bool has_groups = weights.has("group_size") && weights.find("group_size") != nullptr;
  const int64_t size = weights.whole("group_size", -1, -1);
  const std::string text = weights.text("strategy", !has_groups  ? "tensor"
                                                    : size == -1 ? "channel"
                                                                 : "group");
  if (text == "tensor") return Strategy::tensor;
  if (text == "channel") return Strategy::channel;
  if (text == "group") return Strategy::group;
  weights.refuse("strategy", "tensor, channel and group are read; {}", kDequantize);
  return std::nullopt;
}

void read_weights(const HfKeys& weights, FileQuantization& into) {
  CodeScheme scheme;
  const std::string type = weights.text("type", "int");
  const int64_t bits = weights.whole("num_bits", 8);
  scheme.is_float = type == "float";
  if (type != "int" && type != "float")
    weights.refuse("type", "int and float are read");
  else if (scheme.is_float ? bits != 8 : bits != 4 && bits != 8)
    weights.refuse("num_bits", "integers of 4 or 8 bits and floats of 8 are read, not {} of {}; {}", type,
                   bits, kDequantize);
  scheme.bits = static_cast<int>(bits);
  scheme.symmetric = weights.flag("symmetric", true);
  const auto strategy = strategy_of(weights);
  scheme.strategy = strategy.value_or(Strategy::channel);
  if (scheme.strategy == Strategy::group) {
    scheme.group = weights.whole("group_size", 0);
    if (scheme.group > kMostGroup) weights.refuse("group_size", "at most {} are read", kMostGroup);
    if (scheme.is_float) weights.refuse("group_size", "8-bit floats in groups (mxfp8) are not read");
  }
  if (const Json* dynamic = weights.find("dynamic"); dynamic != nullptr && *dynamic != false)
    weights.refuse("dynamic", "weights are stored with their scales");
  if (const Json* order = weights.find("actorder");
      order != nullptr && !order->is_string() && *order != false)
    weights.refuse("actorder", "\"group\", \"weight\" or null is read");
  if (std::ranges::find(into.schemes, scheme) == into.schemes.end()) into.schemes.push_back(scheme);
}

bool are_int8(const HfKeys& group) {
  if (group.find("input_activations") == nullptr) return false;
  const HfKeys activations = group.of("input_activations");
  return activations.text("type", "int") == "int" && activations.whole("num_bits", 8) == 8;
}

void read_compressed(const HfKeys& keys, FileQuantization& into) {
  const std::string format = keys.text("format", "dense");
  if (!is_one_of(format, {"pack-quantized", "int-quantized", "float-quantized", "naive-quantized",
                          "mixed-precision", "dense"}))
    keys.refuse("format", "pack-quantized, int-quantized, float-quantized and naive-quantized are read; {}",
                kDequantize);
  for (const char* key : {"sparsity_config", "transform_config"}) {
    const Json* value = keys.find(key);
    const bool is_dense = value != nullptr && value->is_object() &&
                          (value->empty() || value->value("format", Json()) == "dense");
    if (value != nullptr && !is_dense)
      keys.refuse(key, "sparse and transformed weights are not read; {}", kDequantize);
  }
  if (!keys.has("config_groups"))
    return keys.refuse("config_groups", "groups with their weights were expected");
  const HfKeys groups = keys.of("config_groups");
  for (const auto& [name, value] : groups.object().items()) {
    if (!value.is_object()) {
      groups.refuse(name, "an object with targets and weights was expected");
      continue;
    }
    const HfKeys group = groups.of(name);
    if (group.find("weights") != nullptr) read_weights(group.of("weights"), into);
    if (are_int8(group)) into.activations = ops::Activations::int8_rows;
  }
}

void read_gptq(const HfKeys& keys, FileQuantization& into) {
  const std::string format = keys.text("checkpoint_format", "gptq");
  if (!is_one_of(format, {"gptq", "gptq_v2"}))
    keys.refuse("checkpoint_format", "gptq and gptq_v2 are read; {}", kDequantize);
  const int64_t bits = keys.whole("bits", 4);
  if (bits != 4 && bits != 8) keys.refuse("bits", "4 and 8 are read; {}", kDequantize);
  const Json* dynamic = keys.find("dynamic");
  into.columns = {.format = format == "gptq_v2" ? ColumnFormat::gptq_v2 : ColumnFormat::gptq,
                  .bits = static_cast<int>(bits),
                  .group = group_size(keys, 128),
                  .may_differ = dynamic != nullptr && !dynamic->empty()};
}

void read_awq(const HfKeys& keys, FileQuantization& into) {
  const int64_t bits = keys.whole(keys.has("w_bit") ? "w_bit" : "bits", 4);
  if (bits != 4) keys.refuse(keys.has("w_bit") ? "w_bit" : "bits", "4 is read; {}", kDequantize);
  std::string version = keys.text("version", "gemm");
  std::ranges::transform(version, version.begin(), [](unsigned char c) { return std::tolower(c); });
  if (version != "gemm") keys.refuse("version", "gemm is read; {}", kDequantize);
  into.columns = {.format = ColumnFormat::awq, .bits = 4, .group = group_size(keys, 128)};
}

}  // namespace

FileQuantization read_quantization_config(const HfKeys& all) {
  FileQuantization config;
  const HfKeys keys = all.of("quantization_config");
  const std::string method = keys.text("quant_method", "");
  if (method == "compressed-tensors") {
    read_compressed(keys, config);
  } else if (method == "gptq") {
    config.method = QuantizedFormat::gptq;
    read_gptq(keys, config);
  } else if (method == "awq") {
    config.method = QuantizedFormat::awq;
    read_awq(keys, config);
  } else {
    keys.refuse("quant_method", "compressed-tensors, gptq and awq are read; {}", kDequantize);
  }
  return config;
}

}  // namespace trireme
