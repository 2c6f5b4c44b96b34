#include "models/formats/gguf_tensors.h"

#include <array>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "models/formats/gguf_architecture.h"
#include "models/formats/gguf_config.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"
#include "runtime/io/gguf/rotary_rows.h"

namespace trireme {

namespace {

using Renamed = std::pair<std::string_view, std::string_view>;

constexpr std::array kWholeNames = {Renamed{"embedding.tokens", "token_embd"},
                                    Renamed{"embedding.positions", "position_embd"},
                                    Renamed{"final_norm", "output_norm"}, Renamed{"head", "output"}};

// Of a block, behind "layers.N." and "blk.N.".
constexpr std::array kBlockNames = {Renamed{"attention_norm", "attn_norm"},
                                    Renamed{"attention.query", "attn_q"},
                                    Renamed{"attention.key", "attn_k"},
                                    Renamed{"attention.value", "attn_v"},
                                    Renamed{"attention.query_norm", "attn_q_norm"},
                                    Renamed{"attention.key_norm", "attn_k_norm"},
                                    Renamed{"attention.output", "attn_output"},
                                    Renamed{"attention_post_norm", "post_attention_norm"},
                                    Renamed{"ffn_norm", "ffn_norm"},
                                    Renamed{"ffn.gate", "ffn_gate"},
                                    Renamed{"ffn.up", "ffn_up"},
                                    Renamed{"ffn.down", "ffn_down"},
                                    Renamed{"ffn.router", "ffn_gate_inp"},
                                    Renamed{"ffn.shared.gate", "ffn_gate_shexp"},
                                    Renamed{"ffn.shared.up", "ffn_up_shexp"},
                                    Renamed{"ffn.shared.down", "ffn_down_shexp"},
                                    Renamed{"ffn_post_norm", "post_ffw_norm"}};

template <size_t N>
std::string_view renamed(const std::array<Renamed, N>& names, std::string_view name) {
  for (const Renamed& one : names) {
    if (one.first == name) return one.second;
  }
  return "";
}

/// Where a parameter lies, and how many rows (elements of a vector) the tensor has where it is not alone.
struct Place {
  StoredPlace stored;
  int64_t rows = 0;
};

class GgufPlaces {
 public:
  GgufPlaces(const ModelConfig& config, const GgufArchitecture& architecture)
      : config_(config), architecture_(architecture) {}

  Place place_of(const Parameter& p) const {
    const size_t dot = p.name.rfind('.');
    const std::string part = p.name.substr(0, dot);
    const std::string suffix = p.name.ends_with(".bias") ? ".bias" : ".weight";
    if (!part.starts_with("layers.")) {
      const std::string_view name = renamed(kWholeNames, part);
      TRIREME_CHECK(!name.empty(), "{} has no name in GGUF files", p.name);
      return {{.tensor = std::string(name) + suffix}};
    }
    constexpr size_t kBehindLayers = 7;
    const size_t end = part.find('.', kBehindLayers);
    return of_block("blk." + part.substr(kBehindLayers, end - kBehindLayers) + ".", part.substr(end + 1),
                    suffix, p);
  }

 private:
  static std::string name_in_block(const std::string& block, std::string_view part,
                                   const std::string& suffix) {
    const std::string_view name = renamed(kBlockNames, part);
    TRIREME_CHECK(!name.empty(), "{} has no name in GGUF files", part);
    return block + std::string(name) + suffix;
  }

  Place of_block(const std::string& block, std::string part, const std::string& suffix,
                 const Parameter& p) const {
    if (p.expert >= 0) {
      const std::string numbered = fmt::format(".experts.{}", p.expert);
      part.erase(part.find(numbered), numbered.size());
      const std::string name = name_in_block(block, part, "_exps" + suffix);
      return {{.tensor = name, .index = p.expert}};
    }
    if (part == "attention.query" || part == "attention.key" || part == "attention.value")
      return of_qkv(block, part, suffix);
    if (architecture_.fused_gate && (part == "ffn.gate" || part == "ffn.up")) {
      const int64_t width = p.global_shape[0];
      return {{.tensor = block + "ffn_up" + suffix, .rows = {.offset = part == "ffn.up" ? width : 0}},
              2 * width};
    }
    return {{.tensor = name_in_block(block, part, suffix)}};
  }

  Place of_qkv(const std::string& block, const std::string& part, const std::string& suffix) const {
    const int64_t dim = config_.head_dim(), queries = config_.num_heads * dim,
                  keys = config_.num_kv_heads * dim;
    RowMap rows;
    if (part != "attention.value" && has_interleaved_rotary(architecture_.name).value_or(false))
      rows.interleaved_head_dim = dim;
    if (!architecture_.fused_qkv) return {{.tensor = name_in_block(block, part, suffix), .rows = rows}};
    rows.offset = part == "attention.query" ? 0 : part == "attention.key" ? queries : queries + keys;
    return {{.tensor = block + "attn_qkv" + suffix, .rows = rows}, queries + 2 * keys};
  }

  const ModelConfig& config_;
  const GgufArchitecture& architecture_;
};

Shape stored_shape(const Parameter& p, const Place& place, int64_t num_experts) {
  const int64_t rows = place.rows > 0 ? place.rows : p.global_shape[0];
  if (p.global_shape.rank() == 1) return {rows};
  if (place.stored.index >= 0) return {num_experts, rows, p.global_shape[1]};
  return {rows, p.global_shape[1]};
}

}  // namespace

TensorMap gguf_tensor_map(const ModelConfig& config, std::string_view architecture) {
  const GgufArchitecture* found = find_gguf_architecture(architecture);
  TRIREME_CHECK(found != nullptr, "architecture {}", architecture);
  const GgufPlaces places(config, *found);
  TensorMap map;
  std::set<std::string> seen;
  for (const Parameter& p : parameters_of(config)) {
    Place place = places.place_of(p);
    if (seen.insert(place.stored.tensor).second)
      map.tensors.push_back({place.stored.tensor, stored_shape(p, place, config.moe.num_experts)});
    map.places.emplace(p.name, std::move(place.stored));
  }
  return map;
}

TensorMap gguf_tensor_map(const ModelConfig& config) {
  return gguf_tensor_map(config, gguf_architecture_of(config));
}

}  // namespace trireme
