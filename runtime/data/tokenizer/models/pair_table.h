// The merges of a byte-pair encoding, by the pair of ids that they merge.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trireme {

struct RankedMerge {
  int32_t rank, merged;  ///< the lower the rank, the sooner
};

/// A hash table with open addressing: half the slots at most are used, and a look-up touches one or two.
class PairTable {
 public:
  explicit PairTable(size_t expected) {
    size_t size = 16;
    while (size < 2 * expected + 1) size *= 2;
    slots_.resize(size);
  }

  /// False when the pair is there already.
  bool insert(int32_t left, int32_t right, RankedMerge merge) {
    if (2 * (used_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place_of(key_of(left, right))];
    if (slot.key != kFree) return false;
    slot = {key_of(left, right), merge};
    ++used_;
    return true;
  }
  const RankedMerge* find(int32_t left, int32_t right) const {
    const Slot& slot = slots_[place_of(key_of(left, right))];
    return slot.key == kFree ? nullptr : &slot.merge;
  }

 private:
  static constexpr uint64_t kFree = ~uint64_t{0};
  struct Slot {
    uint64_t key = kFree;
    RankedMerge merge{};
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
  }
  size_t place_of(uint64_t key) const {
    uint64_t hash = key * 0x9E3779B97F4A7C15ull;
    hash ^= hash >> 32;
    size_t place = hash & (slots_.size() - 1);
    while (slots_[place].key != kFree && slots_[place].key != key) place = (place + 1) & (slots_.size() - 1);
    return place;
  }
  void grow() {
    const auto old = std::move(slots_);
    slots_ = std::vector<Slot>(2 * old.size());
    for (const Slot& slot : old) {
      if (slot.key != kFree) slots_[place_of(slot.key)] = slot;
    }
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
};

}  // namespace trireme
