#include "models/formats/hf_model_files.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/formats/hf_tensors.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/stored_bytes.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

namespace {

int64_t bytes_of(const StoredTensorShape& tensor, DType dtype) {
  return tensor.shape.numel() * static_cast<int64_t>(size_of(dtype));
}

std::string shard_name(size_t index, size_t count) {
  return count == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, count);
}

void write_index(const std::string& directory, const std::vector<std::vector<StoredTensorShape>>& shards,
                 DType dtype) {
  int64_t bytes = 0, numbers = 0;
  nlohmann::json index;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const StoredTensorShape& tensor : shards[i]) {
      index["weight_map"][tensor.name] = shard_name(i, shards.size());
      bytes += bytes_of(tensor, dtype);
      numbers += tensor.shape.numel();
    }
  }
  index["metadata"] = {{"total_parameters", numbers}, {"total_size", bytes}};
  write_file_atomically(directory + "/model.safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace

std::vector<std::vector<StoredTensorShape>> hf_shards(const TensorMap& map, DType dtype,
                                                      int64_t shard_bytes) {
  std::vector<std::vector<StoredTensorShape>> shards(1);
  int64_t filled = 0;
  for (const StoredTensorShape& tensor : map.tensors) {
    const int64_t bytes = bytes_of(tensor, dtype);
    if (!shards.back().empty() && bytes > shard_bytes - filled) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(tensor);
    filled += bytes;
  }
  for (auto& shard : shards) std::ranges::sort(shard, {}, &StoredTensorShape::name);
  return shards;
}

std::vector<std::string> write_hf_weights(const std::string& directory, const ModelConfig& config,
                                          std::string_view architecture, DType dtype, int64_t shard_bytes,
                                          const ParameterValues& values) {
  const TensorMap map = hf_tensor_map(config, architecture);
  const auto shards = hf_shards(map, dtype, shard_bytes);
  std::vector<std::string> names;
  for (size_t i = 0; i < shards.size(); ++i) {
    std::vector<TensorSpec> specs;
    for (const StoredTensorShape& tensor : shards[i]) specs.push_back({tensor.name, dtype, tensor.shape});
    names.push_back(shard_name(i, shards.size()));
    SafetensorsWriter writer(directory + "/" + names.back(), specs, TextMap{{"format", "pt"}});
    for (const StoredTensorShape& tensor : shards[i])
      writer.write(tensor.name, stored_bytes(assemble(map, tensor, values), dtype));
    writer.commit();
  }
  if (shards.size() > 1) {
    write_index(directory, shards, dtype);
    names.emplace_back("model.safetensors.index.json");
  }
  return names;
}

ParameterValues rounded_as_hf(const ModelConfig& config, std::string_view architecture, DType dtype,
                              ParameterValues values) {
  auto map = std::make_shared<const TensorMap>(hf_tensor_map(config, architecture));
  return [=, values = std::move(values)](const std::string& name) {
    const float added = map->places.find(name)->second.added;
    std::vector<float> all = values(name);
    for (float& value : all) value = rounded_to(value - added, dtype) + added;
    return all;
  };
}

}  // namespace trireme
