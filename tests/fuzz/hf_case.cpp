#include "tests/fuzz/hf_case.h"

#include <cstdlib>

#include "models/formats/hf/weight_files.h"
#include "models/formats/hf_config.h"
#include "models/formats/hf_tensors.h"
#include "models/formats/model_differences.h"
#include "runtime/base/error.h"
#include "tests/models/formats/published_configs.h"

namespace trireme::test {

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// What was read is written, with the original's keys and without, and read the same.
void require_same_model(const HfModel& model, const nlohmann::ordered_json& json) {
  require(errors_of(model.config).empty());
  constexpr int64_t kMostLayers = 16, kMostExperts = 64;
  if (model.config.num_layers > kMostLayers || model.config.moe.num_experts > kMostExperts) return;
  require(!hf_tensor_map(model.config, model.architecture).tensors.empty());
  for (const nlohmann::ordered_json& original : {json, nlohmann::ordered_json()}) {
    const auto out = write_hf_config(model.config, original, DType::bf16, model.config.vocab_size);
    require(compute_the_same(read_hf_config(out, "written").config, model.config));
  }
}

}  // namespace

bool run_hf(std::string_view input, const std::string& path) {
  try {
    if (input.starts_with("I")) {
      for (const auto& [file, tensors] : hf::indexed_files(path))
        require(file.find('/') == std::string::npos && file != ".." && !tensors.empty());
      return true;
    }
    const auto json = read_ordered_json(path);
    require_same_model(read_hf_config(json, path), json);
    return true;
  } catch (const UserError&) {
    return false;
  }
}

std::vector<std::string> hf_seeds() {
  std::vector<std::string> seeds(std::begin(kPublished), std::end(kPublished));
  const auto with = [&](const char* text, const nlohmann::ordered_json& keys) {
    auto json = nlohmann::ordered_json::parse(text);
    json.update(keys);
    seeds.push_back(json.dump());
  };
  with(kLlama2, {{"num_attention_heads", 0}, {"hidden_size", 9223372036854775807}, {"rms_norm_eps", 1e308}});
  with(kLlama2,
       {{"num_hidden_layers", 1.5}, {"hidden_act", nullptr}, {"head_dim", 1}, {"num_key_value_heads", 33}});
  with(kPhi3Long, {{"rope_scaling", {{"type", "su"}, {"short_factor", {1, "x"}}, {"long_factor", 7}}}});
  with(kGemma3, {{"num_hidden_layers", 2}, {"layer_types", {"full_attention", "sliding_attention"}}});
  with(kSmolLm3,
       {{"no_rope_layers", {0, 0, 0, 0, 0, 0, 0, 0}}, {"num_hidden_layers", 4}, {"layer_types", nullptr}});
  with(kQwen3Moe, {{"mlp_only_layers", {-1, 99, 3}}, {"num_hidden_layers", 4}, {"num_experts", 8}});
  with(kPythia, {{"rotary_pct", 1e-9}, {"hidden_size", 8}});
  with(kMixtral, {{"architectures", {7}}, {"num_experts_per_tok", 0}});
  const nlohmann::ordered_json group = {
      {"targets", {"Linear"}},
      {"weights", {{"num_bits", 4}, {"type", "int"}, {"strategy", "group"}, {"group_size", 32}}},
      {"input_activations", {{"num_bits", 8}, {"dynamic", true}}}};
  with(kLlama2, {{"quantization_config",
                  {{"quant_method", "compressed-tensors"},
                   {"format", "pack-quantized"},
                   {"sparsity_config", {{"format", "dense"}}},
                   {"config_groups", {{"group_0", group}, {"group_1", 7}}}}}});
  with(kLlama2, {{"quantization_config",
                  {{"quant_method", "gptq"}, {"bits", 8}, {"group_size", -1}, {"dynamic", {{"+:x", 1}}}}}});
  with(kQwen25, {{"quantization_config", {{"quant_method", "awq"}, {"w_bit", 4}, {"version", "GEMM"}}}});
  for (const char* text : {R"({"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}})",
                           R"({"weight_map":{"a":"../x.safetensors"}})", R"({"weight_map":{"a":["x"]}})",
                           R"({"weight_map":{"a":"x\u0000.safetensors"},"metadata":{"total_size":-1}})"})
    seeds.push_back(std::string("I") + text);
  seeds.push_back("{\"architectures\":[\"LlamaForCausalLM\"]}");
  seeds.push_back(std::string(1000, '['));
  return seeds;
}

}  // namespace trireme::test
