#include "runtime/device/block_pool.h"

#include <iterator>

#include "runtime/base/error.h"
#include "runtime/base/integers.h"

namespace trireme {

size_t BlockPool::segment_size(size_t size) {
  constexpr size_t kPage = size_t{2} << 20, kMiddle = size_t{16} << 20, kForMiddle = size_t{32} << 20;
  if (is_small(size)) return kPage;
  return size < kMiddle ? kForMiddle : round_up(size, kPage);
}

void BlockPool::add(Segment segment, bool is_small, int owner) {
  const auto [block, is_new] =
      blocks_.emplace(segment.begin, Block{segment.size, owner, false, is_small, true, true});
  TRIREME_CHECK(is_new, "a segment that is there already");
  unused_.insert(key(block));
}

std::byte* BlockPool::take(size_t size, int from, int to) {
  const auto found = unused_.lower_bound({from, is_small(size), size, nullptr});
  if (found == unused_.end() || found->owner != from || found->is_small != is_small(size)) return nullptr;
  const auto block = blocks_.find(found->begin);
  unused_.erase(found);
  if (const size_t rest = block->second.size - size; rest > 0) {
    const auto tail = blocks_.emplace_hint(
        std::next(block), block->first + size,
        Block{rest, from, false, block->second.is_small, false, block->second.ends_segment});
    block->second.size = size;
    block->second.ends_segment = false;
    unused_.insert(key(tail));
  }
  block->second.owner = to;
  block->second.is_used = true;
  return block->first;
}

void BlockPool::give_back(std::byte* begin) {
  const auto block = blocks_.find(begin);
  TRIREME_CHECK(block != blocks_.end() && block->second.is_used, "a block that is not in use");
  set_unused(block);
}

void BlockPool::set_unused(Blocks::iterator block) {
  block->second.is_used = false;
  const auto joins = [&](Blocks::iterator other) {
    return !other->second.is_used && other->second.owner == block->second.owner;
  };
  if (!block->second.ends_segment) {
    if (const auto next = std::next(block); joins(next)) {
      unused_.erase(key(next));
      block = join(block, next);
    }
  }
  if (!block->second.begins_segment) {
    if (const auto previous = std::prev(block); joins(previous)) {
      unused_.erase(key(previous));
      block = join(previous, block);
    }
  }
  unused_.insert(key(block));
}

BlockPool::Blocks::iterator BlockPool::join(Blocks::iterator left, Blocks::iterator right) {
  left->second.size += right->second.size;
  left->second.ends_segment = right->second.ends_segment;
  blocks_.erase(right);
  return left;
}

BlockPool::Unused BlockPool::key(Blocks::iterator block) const {
  return {block->second.owner, block->second.is_small, block->second.size, block->first};
}

void BlockPool::change_owner(int from, int to) {
  std::vector<Blocks::iterator> changed;
  for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
    if (block->second.owner != from) continue;
    if (!block->second.is_used) {
      unused_.erase(key(block));
      changed.push_back(block);
    }
    block->second.owner = to;
  }
  // Not yet among the unused, so that none of them is joined before its turn.
  for (const auto block : changed) block->second.is_used = true;
  for (const auto block : changed) set_unused(block);
}

std::vector<BlockPool::Segment> BlockPool::remove_unused(int owner) {
  std::vector<Segment> removed;
  for (auto it = unused_.begin(); it != unused_.end();) {
    const auto block = blocks_.find(it->begin);
    if (it->owner != owner || !block->second.begins_segment || !block->second.ends_segment) {
      ++it;
      continue;
    }
    removed.push_back({block->first, block->second.size});
    blocks_.erase(block);
    it = unused_.erase(it);
  }
  return removed;
}

std::vector<BlockPool::Segment> BlockPool::unused_of(int owner) const {
  std::vector<Segment> all;
  for (const Unused& unused : unused_) {
    if (unused.owner == owner) all.push_back({unused.begin, unused.size});
  }
  return all;
}

std::vector<BlockPool::Segment> BlockPool::segments() const {
  std::vector<Segment> all;
  for (const auto& [begin, block] : blocks_) {
    if (block.begins_segment) all.push_back({begin, 0});
    all.back().size += block.size;
  }
  return all;
}

}  // namespace trireme
