#include "models/formats/gguf_file_type.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr int64_t kExpertsOfMixtral = 8;  // for which llama.cpp has rules of its own
constexpr int64_t kBlockOfCodes = 32;

GgufType usual_type(GgufFileType type) {
  switch (type) {
    case GgufFileType::f32:
      return GgufType::f32;
    case GgufFileType::f16:
      return GgufType::f16;
    case GgufFileType::bf16:
      return GgufType::bf16;
    case GgufFileType::q8_0:
      return GgufType::q8_0;
    case GgufFileType::q4_0:
      return GgufType::q4_0;
    case GgufFileType::q4_k_m:
      return GgufType::q4_k;
  }
  TRIREME_CHECK(false, "a GGUF file of type {}", static_cast<uint32_t>(type));
  return GgufType::f32;
}

int64_t block_of(const std::string& name) {
  constexpr std::string_view kPrefix = "blk.";
  int64_t block = 0;
  if (name.starts_with(kPrefix))
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), block);
  return block;
}

/// llama.cpp's use_more_bits.
bool has_more_bits(int64_t block, int64_t blocks) {
  const int64_t eighth = blocks / 8;
  return block < eighth || block >= 7 * blocks / 8 || (block - eighth) % 3 == 2;
}

GgufType type_in_mixture(const std::string& name, int64_t blocks, int64_t experts) {
  const auto is = [&](const char* part) { return name.find(part) != std::string::npos; };
  const bool is_mixtral = experts == kExpertsOfMixtral;
  if (is_mixtral && (is("attn_v.weight") || is("attn_k.weight"))) return GgufType::q8_0;
  if (is("attn_qkv.weight") || (is_mixtral && is("attn_output.weight"))) return GgufType::q6_k;
  if (!is("attn_v.weight") && !is("ffn_down")) return GgufType::q4_k;
  return has_more_bits(block_of(name), blocks) ? GgufType::q6_k : GgufType::q4_k;
}

/// What holds these codes; nothing: no type does.
std::optional<GgufType> type_of_codes(const ops::PackedSpec& spec, int64_t columns, GgufFileType file) {
  const bool is_int4 = spec.format == ops::PackedFormat::int4;
  if ((!is_int4 && spec.format != ops::PackedFormat::int8) || columns % kBlockOfCodes != 0 ||
      spec.group % kBlockOfCodes != 0)
    return std::nullopt;
  if (is_int4 && file == GgufFileType::q4_0) return spec.symmetric ? GgufType::q4_0 : GgufType::q4_1;
  // Differences from a zero point of four bits are within eight; those of eight bits are not.
  if (!is_int4 && !spec.symmetric) return std::nullopt;
  return GgufType::q8_0;
}

/// The type that holds all of a tensor's parameters; nothing where one is no codes or they differ too much.
std::optional<GgufType> type_of_codes(const TensorMap& map, const StoredTensorShape& tensor,
                                      GgufFileType file, const ParameterCodes& codes) {
  if (!codes.spec || (file != GgufFileType::q8_0 && file != GgufFileType::q4_0)) return std::nullopt;
  std::optional<GgufType> all;
  for (const std::string& name : parameters_in(map, tensor.name)) {
    const auto spec = codes.spec(name);
    const auto one = spec ? type_of_codes(*spec, tensor.shape[-1], file) : std::nullopt;
    if (!one || (all && *all != *one)) return std::nullopt;
    all = one;
  }
  return all;
}

}  // namespace

bool has_blocks(GgufFileType type) { return info_of(usual_type(type)).block_elements > 1; }

GgufType gguf_type_of(const StoredTensorShape& tensor, GgufType matrices) {
  const bool is_f32 = tensor.shape.rank() <= 1 || tensor.name.ends_with("_norm.weight") ||
                      tensor.name.ends_with(".ffn_gate_inp.weight") ||
                      tensor.name == "position_embd.weight" || !tensor.name.ends_with(".weight");
  if (is_f32) return GgufType::f32;
  const auto fits = [&](GgufType type) { return tensor.shape[-1] % info_of(type).block_elements == 0; };
  if (fits(matrices)) return matrices;
  const GgufType smaller = matrices == GgufType::q4_k ? GgufType::q4_1 : GgufType::q8_0;
  return fits(smaller) ? smaller : GgufType::f16;
}

std::map<std::string, GgufType, std::less<>> gguf_types(const TensorMap& map, int64_t num_blocks,
                                                        int64_t num_experts, GgufFileType type,
                                                        const ParameterCodes& codes) {
  const bool is_tied =
      std::ranges::find(map.tensors, "output.weight", &StoredTensorShape::name) == map.tensors.end();
  std::map<std::string, GgufType, std::less<>> types;
  for (const StoredTensorShape& tensor : map.tensors) {
    GgufType wanted = usual_type(type);
    const bool is_head = tensor.name == (is_tied ? "token_embd.weight" : "output.weight");
    if (type == GgufFileType::q4_k_m) wanted = type_in_mixture(tensor.name, num_blocks, num_experts);
    if (is_head && (type == GgufFileType::q4_0 || type == GgufFileType::q4_k_m)) wanted = GgufType::q6_k;
    GgufType chosen = gguf_type_of(tensor, wanted);
    if (info_of(chosen).block_elements > 1) chosen = type_of_codes(map, tensor, type, codes).value_or(chosen);
    types[tensor.name] = chosen;
  }
  return types;
}

}  // namespace trireme
