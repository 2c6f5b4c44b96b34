#include "runtime/io/safetensors/sharded_safetensors.h"

#include <cstdint>

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/io/json/strict_json.h"

namespace trireme {

namespace {

using nlohmann::json;

// Names of PyTorch's reader.
constexpr const char* kInfo = "DCP_SHARDING_INFO";
constexpr const char* kOffsets = "saved_offsets";

Shape read_offset(const json& entry, const std::string& where, int rank) {
  const auto found = entry.is_object() ? entry.find(kOffsets) : entry.end();
  if (!entry.is_object() || found == entry.end() || !found->is_array() ||
      found->size() != static_cast<size_t>(rank)) {
    throw_bad_input("{} is {} in {}: expected {{\"{}\": [...]}} with {} numbers", where, entry.dump(), kInfo,
                    kOffsets, rank);
  }
  std::vector<int64_t> dims;
  for (const json& number : *found) {
    if (!number.is_number_unsigned() || number.get<uint64_t>() > uint64_t{INT64_MAX})
      throw_bad_input("{} begins at {} by {}: expected indices", where, found->dump(), kInfo);
    dims.push_back(number.get<int64_t>());
  }
  return Shape(dims);
}

}  // namespace

TextMap sharding_metadata(const std::vector<std::pair<std::string, Shape>>& offsets) {
  json info = json::object();
  for (const auto& [name, offset] : offsets) info[name] = {{kOffsets, offset.dims()}};
  // "format": readers of model files refuse those without.
  return {{"DCP_VERSION", "1.0"}, {kInfo, info.dump()}, {"format", "pt"}};
}

std::map<std::string, Shape, std::less<>> sharding_offsets(const SafetensorsReader& file) {
  std::map<std::string, Shape, std::less<>> offsets;
  const auto text = file.metadata().find(kInfo);
  json info = json::object();
  if (text != file.metadata().end()) {
    info = parse_strict_json(text->second, 3, file.path());
    if (!info.is_object()) throw_bad_input("{}: {} is not an object", file.path(), kInfo);
  }
  for (const auto& [name, tensor] : file.tensors()) {
    const std::string where = fmt::format("{}: tensor \"{}\"", file.path(), name);
    if (text == file.metadata().end()) {
      offsets.emplace(name, Shape(std::vector<int64_t>(static_cast<size_t>(tensor.shape.rank()))));
    } else if (const auto entry = info.find(name); entry == info.end()) {
      throw_bad_input("{} is missing in {}", where, kInfo);
    } else {
      offsets.emplace(name, read_offset(*entry, where, tensor.shape.rank()));
    }
  }
  if (text != file.metadata().end() && info.size() != offsets.size())
    throw_bad_input("{}: {} names {} tensors, the file has {}", file.path(), kInfo, info.size(),
                    offsets.size());
  return offsets;
}

}  // namespace trireme
