// A directory of transformers with a tiny model.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "models/formats/hf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/half.h"
#include "runtime/io/safetensors/safetensors.h"
#include "tests/models/formats/tiny_models.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {

struct StoredForTest {
  TensorSpec spec;
  std::vector<std::byte> bytes;
};
using StoredTensors = std::map<std::string, StoredForTest>;

template <class Element>
StoredForTest stored(const std::string& name, DType dtype, const Shape& shape,
                     const std::vector<float>& values) {
  std::vector<Element> elements;
  for (const float value : values) elements.push_back(static_cast<Element>(value));
  const auto bytes = std::as_bytes(std::span(elements));
  return {{name, dtype, shape}, {bytes.begin(), bytes.end()}};
}

/// All tensors of the model, in bf16, with values_of() its parameters.
inline StoredTensors tensors_of(const HfModel& model) {
  std::map<std::string, Parameter> parameters;
  for (const Parameter& p : parameters_of(model.config)) parameters.insert({p.name, p});
  const TensorMap map = hf_tensor_map(model.config, model.architecture);
  StoredTensors all;
  for (const StoredTensorShape& tensor : map.tensors) {
    const auto values =
        assemble(map, tensor, [&](const std::string& name) { return values_of(parameters.at(name)); });
    all[tensor.name] = stored<bf16>(tensor.name, DType::bf16, tensor.shape, values);
  }
  return all;
}

inline void write_tensors(const std::string& path, const StoredTensors& tensors) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) specs.push_back(tensor.spec);
  SafetensorsWriter writer(path, specs, TextMap{{"format", "pt"}});
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor.bytes);
  writer.commit();
}

/// config.json alone; the weights are the test's to write.
struct HfDirectory {
  explicit HfDirectory(const char* text) : model(tiny_model(text)), tensors(tensors_of(model)) {
    folder.write("config.json", tiny_config(text).dump());
  }
  void write_one() const { write_tensors(folder.path("model.safetensors"), tensors); }

  TemporaryFolder folder;
  HfModel model;
  StoredTensors tensors;
};

}  // namespace trireme::test
