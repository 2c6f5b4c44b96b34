#include "runtime/mesh/process_mesh.h"

#include <algorithm>

#include <fmt/ranges.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

std::string product_of(const std::vector<MeshAxis>& axes) {
  std::vector<std::string> terms;
  for (const MeshAxis& a : axes) terms.push_back(fmt::format("{} {}", a.name, a.size));
  return fmt::format("{}", fmt::join(terms, " x "));
}

/// The first axis that, alone, can be given a size that makes the product right.
std::string fix_for(const std::vector<MeshAxis>& axes, int64_t product, int world_size) {
  for (const MeshAxis& a : axes) {
    const int64_t others = product / a.size;
    if (world_size % others == 0) return fmt::format("{} {} would fit", a.name, world_size / others);
  }
  return fmt::format("start {} ranks", product);
}

}  // namespace

ProcessMesh::ProcessMesh(std::vector<MeshAxis> axes, int world_size)
    : axes_(std::move(axes)), size_(world_size) {
  TRIREME_CHECK(world_size >= 1, "{} ranks", world_size);
  int64_t product = 1;
  for (size_t i = 0; i < axes_.size(); ++i) {
    const MeshAxis& a = axes_[i];
    if (a.size < 1) throw_usage("mesh axis '{}' has size {}; the least is 1", a.name, a.size);
    TRIREME_CHECK(index_of(a.name) == i, "mesh axis '{}' is named twice", a.name);
    product = std::min<int64_t>(product * a.size, int64_t{1} << 31);  // stays in range; no world is so large
  }
  if (product != world_size) {
    throw_usage("the layout {} needs {} ranks, the job has {}: {}", product_of(axes_), product, world_size,
                fix_for(axes_, product, world_size));
  }
}

size_t ProcessMesh::index_of(std::string_view axis) const {
  const auto at = std::ranges::find(axes_, axis, &MeshAxis::name);
  TRIREME_CHECK(at != axes_.end(), "no mesh axis '{}' among {}", axis, product_of(axes_));
  return static_cast<size_t>(at - axes_.begin());
}

void ProcessMesh::check_rank(int rank) const {
  TRIREME_CHECK(0 <= rank && rank < size_, "rank {} of {}", rank, size_);
}

std::vector<bool> ProcessMesh::selected(std::span<const std::string> axes) const {
  std::vector<bool> chosen(axes_.size(), false);
  for (const std::string& axis : axes) {
    const size_t i = index_of(axis);
    TRIREME_CHECK(!chosen[i], "mesh axis '{}' is named twice", axis);
    chosen[i] = true;
  }
  return chosen;
}

int ProcessMesh::group_size(std::span<const std::string> axes) const {
  const auto chosen = selected(axes);
  int product = 1;
  for (size_t i = 0; i < axes_.size(); ++i) product *= chosen[i] ? axes_[i].size : 1;
  return product;
}

std::vector<int> ProcessMesh::coordinates(int rank) const {
  check_rank(rank);
  std::vector<int> result(axes_.size());
  for (size_t i = axes_.size(); i-- > 0;) {
    result[i] = rank % axes_[i].size;
    rank /= axes_[i].size;
  }
  return result;
}

int ProcessMesh::coordinate(int rank, std::string_view axis) const {
  return coordinates(rank)[index_of(axis)];
}

int ProcessMesh::rank_at(std::span<const int> coordinates) const {
  TRIREME_CHECK(coordinates.size() == axes_.size(), "{} coordinates for {}", coordinates.size(),
                product_of(axes_));
  int rank = 0;
  for (size_t i = 0; i < axes_.size(); ++i) {
    TRIREME_CHECK(0 <= coordinates[i] && coordinates[i] < axes_[i].size, "coordinate {} along {} {}",
                  coordinates[i], axes_[i].name, axes_[i].size);
    rank = rank * axes_[i].size + coordinates[i];
  }
  return rank;
}

int ProcessMesh::peer(int rank, std::string_view axis, int position) const {
  std::vector<int> at = coordinates(rank);
  at[index_of(axis)] = position;
  return rank_at(at);
}

std::vector<int> ProcessMesh::group(int rank, std::span<const std::string> axes) const {
  const auto chosen = selected(axes);
  const std::vector<int> own = coordinates(rank);
  std::vector<int> ranks;
  for (int other = 0; other < size_; ++other) {
    const std::vector<int> at = coordinates(other);
    bool same = true;
    for (size_t i = 0; i < axes_.size(); ++i) same = same && (chosen[i] || at[i] == own[i]);
    if (same) ranks.push_back(other);
  }
  return ranks;
}

int ProcessMesh::position_in_group(int rank, std::span<const std::string> axes) const {
  const auto chosen = selected(axes);
  const std::vector<int> at = coordinates(rank);
  int position = 0;
  for (size_t i = 0; i < axes_.size(); ++i) {
    if (chosen[i]) position = position * axes_[i].size + at[i];
  }
  return position;
}

std::string to_string(const ProcessMesh& mesh) { return product_of(mesh.axes()); }

}  // namespace trireme
