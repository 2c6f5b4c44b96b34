// ProcessMesh: the ranks of a job as a grid with named axes. Integers only.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct MeshAxis {
  std::string name;
  int size = 1;
};

/// Ranks lie in row-major order: the last axis is the innermost, whose ranks are neighbours. Axes are named
/// in any order in the calls below; results are always in mesh order. A rank, coordinate or name that the
/// mesh does not have throws InternalError.
class ProcessMesh {
 public:
  /// `axes` outermost first, each of size 1 or more, no name twice. Throws UserError (usage), with the
  /// numbers and the nearest sizes that work, when their product is not `world_size`.
  ProcessMesh(std::vector<MeshAxis> axes, int world_size);

  const std::vector<MeshAxis>& axes() const { return axes_; }
  int size() const { return size_; }
  int axis_size(std::string_view axis) const { return axes_[index_of(axis)].size; }
  /// How many ranks differ along these axes only: the product of their sizes.
  int group_size(std::span<const std::string> axes) const;

  /// One coordinate an axis.
  std::vector<int> coordinates(int rank) const;
  int coordinate(int rank, std::string_view axis) const;
  int rank_at(std::span<const int> coordinates) const;
  /// The rank at `position` along `axis` that has the same other coordinates as `rank`.
  int peer(int rank, std::string_view axis, int position) const;

  /// The ranks that share all coordinates with `rank` but those along `axes`, ascending; `rank` is among
  /// them.
  std::vector<int> group(int rank, std::span<const std::string> axes) const;
  /// Where `rank` stands in that group.
  int position_in_group(int rank, std::span<const std::string> axes) const;

 private:
  size_t index_of(std::string_view axis) const;
  void check_rank(int rank) const;
  std::vector<bool> selected(std::span<const std::string> axes) const;

  std::vector<MeshAxis> axes_;
  int size_;
};

/// "data 2 x tensor 4".
std::string to_string(const ProcessMesh& mesh);

}  // namespace trireme
