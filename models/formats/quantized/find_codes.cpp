#include "models/formats/quantized/find_codes.h"

#include <algorithm>
#include <optional>
#include <set>

#include <fmt/ranges.h>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"

namespace trireme {

namespace {

using Strategy = CodeScheme::Strategy;

/// Scales of keys, values and queries in a cache, which is none of the weights'.
constexpr std::string_view kCacheTensors[] = {".k_scale",      ".v_scale",      ".q_scale",
                                              ".k_zero_point", ".v_zero_point", ".q_zero_point"};

std::set<std::string> modules_with(const StoredTensors& tensors, std::string_view end) {
  std::set<std::string> modules;
  for (const auto& [name, tensor] : tensors) {
    if (name.ends_with(end)) modules.insert(name.substr(0, name.size() - end.size()));
  }
  return modules;
}

bool is_packed_with(const StoredTensor& packed, int64_t inputs, int bits) {
  return inputs >= 0 && packed.shape.rank() == 2 && inputs <= packed.shape[1] * (32 / bits) &&
         words_of(inputs, bits) == packed.shape[1];
}

bool has_scales_of(const Shape& scales, const Shape& matrix, const CodeScheme& scheme) {
  if (scheme.strategy == Strategy::tensor) return scales.numel() == 1;
  if (scheme.strategy == Strategy::channel)
    return scales == Shape{matrix[0], 1} || scales == Shape{matrix[0]};
  return scales == Shape{matrix[0], ceil_of(matrix[1], scheme.group)};
}

std::string text_of_scheme(const CodeScheme& scheme) {
  return fmt::format("{} bits {}", scheme.bits,
                     scheme.strategy == Strategy::group     ? fmt::format("in groups of {}", scheme.group)
                     : scheme.strategy == Strategy::channel ? "per channel"
                                                            : "with one scale");
}

/// What the tensors of a module are, of those in the configuration: its targets may be regular expressions,
/// classes and names with exceptions, and no two schemes that differ have the same tensors.
CodeScheme scheme_of_module(const StoredTensors& tensors, const std::string& module,
                            const FileQuantization& config, const std::string& path) {
  const auto packed = tensors.find(part_name(module, kPacked));
  const bool is_packed = packed != tensors.end();
  const StoredTensor& weight = is_packed ? packed->second : tensors.find(part_name(module, kWeight))->second;
  const auto scales = tensors.find(part_name(module, kScale));
  if (scales == tensors.end())
    throw_bad_input("{}: tensor \"{}\" is missing", path, part_name(module, kScale));
  Shape matrix = weight.shape;
  if (is_packed) {
    const StoredTensor& shape = tensor_of(tensors, path, part_name(module, kShape), DType::i64, {2});
    if (weight.shape.rank() == 2 && int64_at(shape, 1) >= 0) matrix = {weight.shape[0], int64_at(shape, 1)};
  }
  std::vector<std::string> known;
  for (CodeScheme scheme : config.schemes) {
    known.push_back(text_of_scheme(scheme));
    if (!is_packed && !scheme.is_float) scheme.bits = 8;  // each in a byte
    scheme.symmetric = !tensors.contains(part_name(module, kZeroPoint));
    if (matrix.rank() != 2 || scheme.is_float != (weight.dtype == DType::f8e4m3)) continue;
    if (is_packed && !is_packed_with(weight, matrix[1], scheme.bits)) continue;
    if (has_scales_of(scales->second.shape, matrix, scheme)) return scheme;
  }
  throw_bad_input("{}: {} is {} {} with weight_scale {}, which is of no group of quantization_config ({})",
                  path, part_name(module, is_packed ? kPacked : kWeight), to_string(weight.dtype),
                  to_string(weight.shape), to_string(scales->second.shape), fmt::join(known, ", "));
}

void find_compressed(CodedTensors& all, const FileQuantization& config, const std::string& path) {
  std::set<std::string> modules = modules_with(all.tensors, kPacked);
  for (const std::string& module : modules_with(all.tensors, kWeight)) {
    if (has_compressed_codes(all.tensors, module)) modules.insert(module);
  }
  for (const std::string& module : modules) {
    const CodeScheme scheme = scheme_of_module(all.tensors, module, config, path);
    all.codes.insert({part_name(module, kWeight), open_compressed_codes(all.tensors, path, module, scheme)});
    for (const std::string_view end : {kPacked, kWeight, kScale, kZeroPoint, kGroups, kShape})
      all.parts.insert(part_name(module, end));
    for (const std::string_view end : kActivationTensors) all.parts.insert(part_name(module, end));
  }
  for (const std::string_view end : kCacheTensors) {
    for (const std::string& module : modules_with(all.tensors, end)) all.parts.insert(part_name(module, end));
  }
}

bool is_zero(const StoredTensor& tensor) {
  return std::ranges::all_of(tensor.bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

void find_columns(CodedTensors& all, const FileQuantization& config, const std::string& path) {
  for (const std::string& module : modules_with(all.tensors, ".qweight")) {
    all.codes.insert(
        {part_name(module, kWeight), open_column_codes(all.tensors, path, module, config.columns)});
    for (const std::string_view end : {".qweight", ".qzeros", ".scales", ".g_idx"})
      all.parts.insert(part_name(module, end));
    // AutoGPTQ writes biases for layers that have none.
    const auto bias = all.tensors.find(part_name(module, ".bias"));
    if (bias != all.tensors.end() && is_zero(bias->second)) all.empty_biases.insert(bias->first);
  }
}

}  // namespace

void find_codes(CodedTensors& all, const FileQuantization& config, const std::string& path) {
  if (config.method == QuantizedFormat::compressed_tensors) return find_compressed(all, config, path);
  find_columns(all, config, path);
}

}  // namespace trireme
