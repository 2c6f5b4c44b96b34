// LoadPlan: which rank reads which slice of a checkpoint, and which ranks need which part of it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/checkpoint/format/manifest.h"

namespace trireme {

/// A part of a stored slice that ranks want.
struct Delivery {
  Box part;       ///< in the whole tensor
  size_t wanted;  ///< number of the box it belongs to, in LoadPlan::wanted_by
};

/// A stored slice, read once in the group, whole, by one of those who want of it.
struct PlannedRead {
  size_t slice;  ///< number among those stored
  int reader;
  std::vector<Delivery> deliveries;
};

struct LoadPlan {
  /// In the order in which every rank carries out those that it has to do with: readers take turns.
  std::vector<PlannedRead> reads;
  /// Of each different box that is wanted: the ranks, ascending.
  std::vector<std::vector<int>> wanted_by;
  /// Of each rank and each slice that it wants: its number in `wanted_by`.
  std::vector<std::vector<size_t>> box_of;
};

/// `wanted`: of each rank of the group, the slices that it wants; several may want the same. The plan is a
/// pure function of its arguments, in time that grows with their number and that of the overlaps between
/// stored and wanted boxes. UserError (checkpoint) naming `path` and the tensors that are missing, of another
/// shape or of another type.
LoadPlan make_load_plan(std::span<const StoredSlice> stored, const std::vector<std::vector<Slice>>& wanted,
                        const std::string& path);

}  // namespace trireme
