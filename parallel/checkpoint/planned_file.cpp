#include "parallel/checkpoint/planned_file.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/io/safetensors/sharded_safetensors.h"

namespace trireme {

namespace {

std::string head_of(const PlannedFile& file, const std::vector<Slice>& slices) {
  std::vector<TensorSpec> specs;
  std::vector<std::pair<std::string, Shape>> offsets;
  for (const size_t i : file.slices) {
    specs.push_back({slices[i].name, slices[i].dtype, slices[i].box.extent});
    offsets.emplace_back(slices[i].name, slices[i].box.offset);
  }
  return safetensors_head(specs, sharding_metadata(offsets));
}

}  // namespace

std::vector<PlannedFile> plan_files(int rank, const std::vector<Slice>& slices) {
  std::vector<PlannedFile> files;
  std::unordered_map<std::string_view, size_t> seen;
  for (size_t i = 0; i < slices.size(); ++i) {
    TRIREME_CHECK(slices[i].box.numel() > 0, "{} is empty", to_string(slices[i]));
    const size_t number = seen[slices[i].name]++;
    if (number == files.size()) {
      const std::string part = number == 0 ? "" : fmt::format("-part{}", number);
      files.push_back({fmt::format("rank-{:05}{}.safetensors", rank, part), {}, {}});
    }
    files[number].slices.push_back(i);
  }
  for (PlannedFile& file : files) {
    // Readers that want aligned elements get them when wider types come first.
    std::ranges::stable_sort(file.slices, std::ranges::greater(),
                             [&](size_t i) { return size_of(slices[i].dtype); });
    file.head = head_of(file, slices);
  }
  return files;
}

}  // namespace trireme
