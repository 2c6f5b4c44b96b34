#include "models/formats/hf_tensors.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "models/formats/hf/architecture.h"
#include "models/formats/mapped_weights.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using hf::HfArchitecture;
using hf::HfStorage;
using hf::HfTensorName;

/// "layers.3.ffn.experts.7.up.weight" as "layers.{}.ffn.experts.{}.up", ".weight", {3, 7}.
struct NamePattern {
  std::string text, kind;
  std::vector<std::string> numbers;
};

NamePattern pattern_of(const std::string& name) {
  NamePattern out;
  const size_t last = name.rfind('.');
  out.kind = name.substr(last);
  for (size_t begin = 0; begin < last;) {
    const size_t end = std::min(name.find('.', begin), last);
    const std::string word = name.substr(begin, end - begin);
    const bool is_number = std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
    if (!out.text.empty()) out.text += '.';
    out.text += is_number ? "{}" : word;
    if (is_number) out.numbers.push_back(word);
    begin = end + 1;
  }
  return out;
}

std::string filled(std::string_view pattern, const std::vector<std::string>& numbers) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern.substr(i, 2) == "{}") {
      out += numbers.at(next++);
      ++i;
    } else {
      out += pattern[i];
    }
  }
  return out;
}

class MapBuilder {
 public:
  MapBuilder(const ModelConfig& config, const HfArchitecture& architecture)
      : config_(config), architecture_(architecture) {}

  void add(const Parameter& p) {
    const NamePattern pattern = pattern_of(p.name);
    for (const HfTensorName& entry : architecture_.tensors) {
      if (entry.parameter != pattern.text) continue;
      const std::string kind = pattern.kind == ".bias" ? ".bias" : ".weight";
      place(p, filled(entry.tensor, pattern.numbers) + kind, entry.storage, pattern.kind == ".gain");
      return;
    }
    throw_usage("{} of transformers has no tensor for the parameter {}", architecture_.name, p.name);
  }

  TensorMap take() {
    TensorMap map;
    map.places = std::move(places_);
    // Files hold them sorted, whatever the order of the modules.
    for (auto& [name, shape] : shapes_) map.tensors.push_back({name, shape});
    return map;
  }

 private:
  void place(const Parameter& p, const std::string& tensor, HfStorage storage, bool is_gain) {
    const bool is_matrix = p.global_shape.rank() == 2;
    const int64_t rows = p.global_shape[0];
    int64_t& begin = rows_[tensor];
    StoredPlace place{.tensor = tensor};
    place.added = is_gain ? architecture_.gain_added : 0;
    if (storage == HfStorage::by_heads) {
      const int64_t head = config_.head_dim(), part = begin / rows;
      place.rows = {.group = head, .stride = 3 * head, .offset = part * head};
    } else {
      place.rows.offset = begin;
      place.transposed = storage == HfStorage::transposed && is_matrix;
    }
    begin += rows;
    if (is_matrix) {
      const int64_t columns = p.global_shape[1];
      shapes_[tensor] = place.transposed ? Shape{columns, begin} : Shape{begin, columns};
    } else {
      shapes_[tensor] = Shape{begin};
    }
    places_.insert({p.name, std::move(place)});
  }

  const ModelConfig& config_;
  const HfArchitecture& architecture_;
  std::map<std::string, int64_t> rows_;
  std::map<std::string, Shape> shapes_;
  std::map<std::string, StoredPlace, std::less<>> places_;
};

}  // namespace

TensorMap hf_tensor_map(const ModelConfig& config, std::string_view architecture) {
  const HfArchitecture* found = hf::find_hf_architecture(architecture);
  TRIREME_CHECK(found != nullptr, "no architecture {}", architecture);
  MapBuilder builder(config, *found);
  for (const Parameter& p : parameters_of(config)) builder.add(p);
  return builder.take();
}

bool is_hf_buffer(std::string_view name) {
  for (const std::string_view end :
       {"rotary_emb.inv_freq", "attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias"}) {
    if (!name.ends_with(end)) continue;
    const std::string_view before = name.substr(0, name.size() - end.size());
    if (before.empty() || before.ends_with('.')) return true;
  }
  return false;
}

}  // namespace trireme
