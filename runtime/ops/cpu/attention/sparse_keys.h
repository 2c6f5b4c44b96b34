// Which keys some queries see under a pattern, for kernels that go through those alone.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "runtime/ops/attention/key_pattern.h"
#include "runtime/ops/cpu/attention/attention_tiles.h"

namespace trireme::ops::cpu {

/// The keys that a query sees of the groups that others see too, which lie side by side. Ranges count from
/// the first of these groups; masks[g] has a bit for each key of group g.
struct SparseRow {
  attention_tiles::KeyRange keys;  ///< from the first to the last one seen; {0, 0} where none is
  const uint16_t* masks;
};

/// Of the queries [begin, end) of one sequence.
class SparseKeys {
 public:
  SparseKeys() = default;
  SparseKeys(const KeyPlaces& places, int64_t begin, int64_t end) : rows_(end - begin) {
    SeenTiles tiles(places, begin, end, kTokenGroup);
    for (int64_t key = tiles.next(); key != kNoPlace; key = tiles.next()) groups_.push_back(key);
    masks_.reserve(static_cast<size_t>(rows_) * groups_.size());
    for (int64_t row = 0; row < rows_; ++row) {
      for (const int64_t key : groups_)
        masks_.push_back(static_cast<uint16_t>(places.mask_of(begin + row, key)));
    }
  }

  /// The first keys of the groups of kTokenGroup, ascending.
  const std::vector<int64_t>& groups() const { return groups_; }
  int64_t num_groups() const { return std::ssize(groups_); }
  int64_t num_keys() const { return num_groups() * kTokenGroup; }
  int64_t rows() const { return rows_; }

  SparseRow row(int64_t i) const {
    const uint16_t* masks = masks_.data() + i * num_groups();
    int64_t first = 0, last = num_groups() - 1;
    while (first <= last && masks[first] == 0) ++first;
    while (last > first && masks[last] == 0) --last;
    if (first > last) return {{0, 0}, masks};
    return {{first * kTokenGroup + std::countr_zero(masks[first]),
             last * kTokenGroup + std::bit_width(masks[last])},
            masks};
  }

 private:
  static_assert(kTokenGroup == 16);
  int64_t rows_ = 0;
  std::vector<int64_t> groups_;
  std::vector<uint16_t> masks_;
};

}  // namespace trireme::ops::cpu
