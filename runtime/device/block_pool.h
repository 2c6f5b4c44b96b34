// Segments of memory and the blocks they are divided into. For the allocator, under its lock.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <vector>

namespace trireme {

/// Every block has an owner, by a number; it is found again, and joined with its neighbours, among blocks of
/// its owner alone. Sizes are multiples of 256 bytes. Small blocks have segments of their own, so that one
/// that lives long does not divide a large one.
class BlockPool {
 public:
  struct Segment {
    std::byte* begin;
    size_t size;
  };
  /// Of blocks that belong to nobody in particular.
  static constexpr int kShared = 0;

  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  static bool is_small(size_t size) { return size <= kLargestSmall; }
  /// What to ask the device for where no block holds a request: room for some more of its kind.
  static size_t segment_size(size_t size);

  void add(Segment segment, bool is_small, int owner);
  /// The smallest unused block of `from` that holds `size` bytes, the lowest of several, cut to `size` and
  /// from now on of `to`; null where there is none.
  std::byte* take(size_t size, int from, int to);
  /// Ends the use of a block.
  void give_back(std::byte* block);
  /// Blocks of `from`, in use or not, are of `to` from now on.
  void change_owner(int from, int to);
  /// Removes the segments that are one unused block of `owner`.
  std::vector<Segment> remove_unused(int owner);
  /// The unused blocks of `owner`.
  std::vector<Segment> unused_of(int owner) const;
  /// All segments, whatever their use.
  std::vector<Segment> segments() const;

 private:
  static constexpr size_t kLargestSmall = size_t{1} << 20;
  struct Block {
    size_t size;
    int owner;
    bool is_used, is_small, begins_segment, ends_segment;
  };
  using Blocks = std::map<std::byte*, Block>;
  struct Unused {
    int owner;
    bool is_small;
    size_t size;
    std::byte* begin;
    auto operator<=>(const Unused&) const = default;
  };

  Unused key(Blocks::iterator block) const;
  void set_unused(Blocks::iterator block);
  Blocks::iterator join(Blocks::iterator left, Blocks::iterator right);

  Blocks blocks_;
  std::set<Unused> unused_;
};

}  // namespace trireme
