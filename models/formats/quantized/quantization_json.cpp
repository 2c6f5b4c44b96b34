#include "models/formats/quantized/quantization_json.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "models/formats/quantized/compressed_codes.h"
#include "models/formats/quantized/module_patterns.h"
#include "models/formats/quantized/own_quantization.h"

namespace trireme {

namespace {

using Json = nlohmann::ordered_json;
using ops::Activations;
using ops::PackedFormat;
using ops::PackedSpec;

constexpr const char* kTiedHead = "lm_head";

/// Linear modules by how they are stored, those as numbers apart.
struct Modules {
  std::vector<std::pair<PackedSpec, std::vector<std::string>>> coded;
  std::vector<std::string> plain;
};

Modules modules_of(const HfQuantizedPlan& plan) {
  Modules modules;
  for (const HfQuantizedTensor& tensor : plan.tensors) {
    if (!tensor.is_linear) continue;
    if (!tensor.spec) {
      modules.plain.push_back(tensor.module());
      continue;
    }
    auto found =
        std::ranges::find(modules.coded, *tensor.spec, [](const auto& entry) { return entry.first; });
    if (found == modules.coded.end()) found = modules.coded.insert(found, {*tensor.spec, {}});
    found->second.push_back(tensor.module());
  }
  if (plan.has_tied_head) modules.plain.emplace_back(kTiedHead);
  return modules;
}

/// The most frequent first, so that few are exceptions.
void sort_by_count(Modules& modules) {
  std::ranges::stable_sort(modules.coded, std::ranges::greater(),
                           [](const auto& entry) { return entry.second.size(); });
}

Json weights_of(const PackedSpec& spec) {
  const CodeScheme scheme = scheme_of(spec);
  Json weights = {{"num_bits", scheme.bits},
                  {"type", scheme.is_float ? "float" : "int"},
                  {"symmetric", scheme.symmetric},
                  {"strategy", spec.group == 0 ? "channel" : "group"}};
  weights["group_size"] = spec.group == 0 ? Json() : Json(spec.group);
  weights["dynamic"] = false;
  weights["actorder"] = nullptr;
  return weights;
}

Json int8_activations() {
  return {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}};
}

std::vector<std::string> others_than(const Modules& modules, size_t index) {
  std::vector<std::string> others = modules.plain;
  for (size_t i = 0; i < modules.coded.size(); ++i) {
    const auto& names = modules.coded[i].second;
    if (i != index) others.insert(others.end(), names.begin(), names.end());
  }
  return others;
}

int64_t group_size_of(const PackedSpec& spec) { return spec.group == 0 ? -1 : spec.group; }

/// GPTQModel's exceptions: "-:" modules that are numbers, "+:" such of other widths.
Json exceptions(const Modules& modules) {
  Json dynamic = Json::object();
  std::vector<std::string> skipped = modules.plain;
  std::erase(skipped, kTiedHead);
  std::erase(skipped, "embed_out");
  for (const std::string& pattern : module_patterns(skipped, others_than({modules.coded, {}}, SIZE_MAX)))
    dynamic["-:^" + pattern + "$"] = Json::object();
  for (size_t i = 1; i < modules.coded.size(); ++i) {
    const auto& [spec, names] = modules.coded[i];
    for (const std::string& pattern : module_patterns(names, others_than(modules, i)))
      dynamic["+:^" + pattern + "$"] = {
          {"bits", bits_of_codes(spec)}, {"group_size", group_size_of(spec)}, {"sym", spec.symmetric}};
  }
  return dynamic;
}

}  // namespace

const char* compressed_format(const PackedSpec& spec, Activations activations) {
  if (scheme_of(spec).is_float) return "float-quantized";
  const bool is_int8 = spec.format == PackedFormat::int8 && activations != Activations::exact;
  return is_int8 ? "int-quantized" : "pack-quantized";
}

Json compressed_config(const HfQuantizedPlan& plan, Activations activations) {
  const Modules modules = modules_of(plan);
  Json groups = Json::object();
  std::string format;
  for (size_t i = 0; i < modules.coded.size(); ++i) {
    const auto& [spec, names] = modules.coded[i];
    Json targets = Json::array();
    if (modules.coded.size() == 1) {
      targets.push_back("Linear");
    } else {
      for (const std::string& pattern : module_patterns(names, others_than(modules, i)))
        targets.push_back("re:^" + pattern + "$");
    }
    const bool is_float = scheme_of(spec).is_float;
    const std::string own = compressed_format(spec, activations);
    groups[fmt::format("group_{}", i)] = {
        {"targets", targets},
        {"weights", weights_of(spec)},
        {"input_activations", activations != Activations::exact && !is_float ? int8_activations() : Json()},
        {"output_activations", nullptr},
        {"format", own}};
    format = format.empty() || format == own ? own : "mixed-precision";
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", format.empty() ? "dense" : format},
          {"quantization_status", "compressed"},
          {"config_groups", groups},
          {"ignore", modules.plain},
          {"kv_cache_scheme", nullptr},
          {"global_compression_ratio", nullptr}};
}

bool is_symmetric(const HfQuantizedPlan& plan) {
  return std::ranges::all_of(
      plan.tensors, [](const HfQuantizedTensor& tensor) { return !tensor.spec || tensor.spec->symmetric; });
}

Json gptq_config(const HfQuantizedPlan& plan, bool has_order) {
  Modules modules = modules_of(plan);
  sort_by_count(modules);
  const PackedSpec first = modules.coded.empty() ? PackedSpec{PackedFormat::int4} : modules.coded[0].first;
  const bool has_head = std::ranges::any_of(modules.coded, [](const auto& entry) {
    return std::ranges::find(entry.second, "lm_head") != entry.second.end() ||
           std::ranges::find(entry.second, "embed_out") != entry.second.end();
  });
  const Json dynamic = exceptions(modules);
  return {{"quant_method", "gptq"},
          {"bits", bits_of_codes(first)},
          {"group_size", group_size_of(first)},
          {"desc_act", has_order},
          {"sym", is_symmetric(plan)},
          {"lm_head", has_head},
          {"checkpoint_format", is_symmetric(plan) ? "gptq" : "gptq_v2"},
          {"pack_dtype", "int32"},
          {"dynamic", dynamic.empty() ? Json() : dynamic},
          {"meta", {{"quantizer", {"trireme"}}}}};
}

Json awq_config(const HfQuantizedPlan& plan) {
  const Modules modules = modules_of(plan);
  Json skipped = Json::array();
  for (const std::string& module : modules.plain) skipped.push_back(module);
  return {{"quant_method", "awq"},
          {"bits", 4},
          {"group_size", modules.coded.empty() ? 128 : group_size_of(modules.coded[0].first)},
          {"zero_point", true},
          {"version", "gemm"},
          {"modules_to_not_convert", skipped.empty() ? Json() : skipped}};
}

}  // namespace trireme
