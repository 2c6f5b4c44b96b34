#include "models/formats/quantized/open_own.h"

#include <memory>
#include <utility>

#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/coded_tensors.h"
#include "models/formats/quantized/compressed_codes.h"
#include "models/formats/quantized/own_quantization.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

std::string own_module(const std::string& matrix) { return matrix.substr(0, matrix.size() - kWeight.size()); }

/// Every parameter under its own name; biases of routers, which are none, too.
TensorMap own_map(const ModelConfig& config, const CodedTensors& all) {
  TensorMap map;
  for (const Parameter& p : parameters_of(config)) {
    // A file may hold a part of a model, as a block of a compression; who loads a model sees what is missing.
    if (all.has(p.name)) map.tensors.push_back({p.name, p.global_shape});
    map.places.insert({p.name, StoredPlace{.tensor = p.name}});
  }
  for (const auto& [name, tensor] : all.tensors) {
    if (!map.places.contains(name)) map.places.insert({name, StoredPlace{.tensor = name}});
  }
  return map;
}

}  // namespace

std::unique_ptr<WeightSource> open_own_quantized(const std::string& path, const ModelConfig& config) {
  const auto file = std::make_shared<const SafetensorsReader>(path);
  const auto quantization = read_own_quantization(*file);
  TRIREME_CHECK(quantization.has_value(), "{} is not quantized", path);
  CodedTensors all;
  all.files = file;
  all.release_pages = [file] { file->release_pages(); };
  all.tensors = file->tensors();
  const StoredTensors& stored = file->tensors();
  for (const auto& [name, spec] : quantization->matrices) {
    const std::string module = own_module(name);
    all.codes.insert({name, open_compressed_codes(stored, path, module, scheme_of(spec))});
    for (const std::string_view end : {kPacked, kWeight, kScale, kZeroPoint, kGroups, kShape})
      all.parts.insert(module + std::string(end));
  }
  for (const std::string& module : sparse_modules(stored, path)) {
    const std::string name = part_name(module, kWeight);
    all.sparse.insert({name, all.codes.contains(name)
                                 ? nullptr
                                 : std::make_unique<StoredSparse>(stored, path, module, false)});
    for (const std::string_view end : {kMask, kValues, kShape}) all.parts.insert(part_name(module, end));
  }
  TensorMap map = own_map(config, all);
  return mapped_weights(raw_coded_tensors(std::move(all), path), std::move(map), config, path);
}

}  // namespace trireme
