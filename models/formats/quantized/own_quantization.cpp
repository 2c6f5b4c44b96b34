#include "models/formats/quantized/own_quantization.h"

#include <algorithm>
#include <array>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/io/json/json_file.h"
#include "runtime/io/json/strict_json.h"

namespace trireme {

namespace {

using nlohmann::json;
using ops::Activations;
using ops::PackedFormat;

constexpr int64_t kOwnVersion = 1;
constexpr int kOwnDepth = 4;
/// In the order of ops::Activations.
constexpr std::array<std::string_view, 3> kActivationNames = {"exact", "int8", "int8-rows"};

json json_of_spec(const ops::PackedSpec& spec) {
  const CodeScheme scheme = scheme_of(spec);
  return {{"type", scheme.is_float ? "float" : "int"},
          {"bits", scheme.bits},
          {"symmetric", scheme.symmetric},
          {"group", spec.group}};
}

ops::PackedSpec spec_in(const json& value, const std::string& where) {
  const std::string& type = json_string(json_member(value, "type", where), "\"type\"", where);
  const int64_t bits = json_index(json_member(value, "bits", where), 64, "\"bits\"", where);
  const int64_t group = json_index(json_member(value, "group", where), INT32_MAX, "\"group\"", where);
  const bool is_float = type == "float" && bits == 8;
  if (!is_float && (type != "int" || (bits != 4 && bits != 8)))
    throw_bad_input("{} is of type \"{}\" in {} bits; \"int\" in 4 or 8 bits and \"float\" in 8 are read",
                    where, type, bits);
  return {.format = is_float    ? PackedFormat::fp8
                    : bits == 8 ? PackedFormat::int8
                                : PackedFormat::int4,
          .group = group,
          .symmetric = json_flag(value, "symmetric", true, where)};
}

}  // namespace

CodeScheme scheme_of(const ops::PackedSpec& spec) {
  return {.bits = spec.format == PackedFormat::int4 ? 4 : 8,
          .is_float = spec.format == PackedFormat::fp8,
          .symmetric = spec.symmetric,
          .strategy = spec.group == 0 ? CodeScheme::Strategy::channel : CodeScheme::Strategy::group,
          .group = spec.group};
}

std::string write_own_quantization(const OwnQuantization& quantization) {
  json matrices = json::object();
  for (const auto& [name, spec] : quantization.matrices) matrices[name] = json_of_spec(spec);
  return json{{"version", kOwnVersion},
              {"activations", kActivationNames[static_cast<size_t>(quantization.activations)]},
              {"matrices", std::move(matrices)}}
      .dump();
}

std::optional<OwnQuantization> read_own_quantization(const SafetensorsReader& file) {
  const auto text = file.metadata().find(kOwnQuantization);
  if (text == file.metadata().end()) return std::nullopt;
  const std::string where = fmt::format("{}: {} in the header", file.path(), kOwnQuantization);
  const json root = parse_strict_json(text->second, kOwnDepth, where);
  const int64_t version = json_index(json_member(root, "version", where), INT32_MAX, "\"version\"", where);
  if (version != kOwnVersion)
    throw_bad_input("{} is of version {}; this program reads version {}", where, version, kOwnVersion);
  OwnQuantization quantization;
  const std::string& activations =
      json_string(json_member(root, "activations", where), "\"activations\"", where);
  const auto found = std::ranges::find(kActivationNames, activations);
  if (found == kActivationNames.end())
    throw_bad_input("{}: activations are \"{}\"; {} are read", where, activations,
                    fmt::join(kActivationNames, ", "));
  quantization.activations = static_cast<Activations>(found - kActivationNames.begin());
  const json& matrices = json_member(root, "matrices", where);
  if (!matrices.is_object()) throw_bad_input("{}: \"matrices\" is no object", where);
  for (const auto& [name, value] : matrices.items()) {
    if (!name.ends_with(kWeight))
      throw_bad_input("{}: matrix \"{}\"; names of matrices end with {}", where, name, kWeight);
    quantization.matrices.insert({name, spec_in(value, fmt::format("{}: matrix \"{}\"", where, name))});
  }
  return quantization;
}

std::optional<int64_t> token_table_rows(const SafetensorsReader& file) {
  for (const char* name :
       {"embedding.tokens.weight", "embedding.tokens.weight_packed", "embedding.tokens.weight_mask"}) {
    const auto table = file.tensors().find(name);
    if (table != file.tensors().end() && table->second.shape.rank() == 2) return table->second.shape[0];
  }
  return std::nullopt;
}

}  // namespace trireme
