#include "models/inference/block_pool.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/io/digest/xxh3.h"

namespace trireme {

namespace {

constexpr int32_t kNone = -1;

// The two are mixed by an odd constant, 2^64 over the golden ratio (Fibonacci hashing, Knuth, TAOCP 6.4).
uint64_t hash_of_block(int64_t before, std::span<const int32_t> tokens) {
  const uint64_t chain = static_cast<uint64_t>(before) * 0x9e3779b97f4a7c15ULL;
  return xxh3_128(std::as_bytes(tokens)).low ^ chain;
}

}  // namespace

CacheBlockPool::CacheBlockPool(int64_t num_blocks, int64_t block_tokens) : block_tokens_(block_tokens) {
  TRIREME_CHECK(num_blocks > 0 && num_blocks <= INT32_MAX && block_tokens > 0, "{} blocks of {} tokens",
                num_blocks, block_tokens);
  blocks_.resize(static_cast<size_t>(num_blocks));
  for (int32_t block = 0; block < num_blocks; ++block) link_before(first_, block);
}

CacheBlockPool::Block& CacheBlockPool::at(int32_t block) {
  TRIREME_CHECK(block >= 0 && block < num_blocks(), "block {} of {}", block, num_blocks());
  return blocks_[static_cast<size_t>(block)];
}
const CacheBlockPool::Block& CacheBlockPool::at(int32_t block) const {
  TRIREME_CHECK(block >= 0 && block < num_blocks(), "block {} of {}", block, num_blocks());
  return blocks_[static_cast<size_t>(block)];
}

// Before the first of all is behind the last.
void CacheBlockPool::link_before(int32_t place, int32_t block) {
  Block& b = at(block);
  ++num_available_;
  if (place == kNone) {
    b.previous = b.next = first_ = block;
    return;
  }
  b.next = place;
  b.previous = at(place).previous;
  at(b.previous).next = at(place).previous = block;
}

void CacheBlockPool::unlink(int32_t block) {
  const Block& b = at(block);
  --num_available_;
  at(b.previous).next = b.next;
  at(b.next).previous = b.previous;
  if (first_ == block) first_ = b.next == block ? kNone : b.next;
}

void CacheBlockPool::forget(Block& block) {
  if (block.is_listed) by_hash_.erase(block.hash);
  block.is_listed = false;
  block.content = 0;
  block.tokens.clear();
}

std::optional<int32_t> CacheBlockPool::take() {
  if (num_available_ == 0) return std::nullopt;
  const int32_t block = first_;
  unlink(block);
  forget(at(block));
  at(block).users = 1;
  return block;
}

void CacheBlockPool::share(int32_t block) {
  TRIREME_CHECK(at(block).users > 0, "block {}, which nobody uses, is shared", block);
  ++at(block).users;
}

void CacheBlockPool::release(int32_t block) {
  Block& b = at(block);
  TRIREME_CHECK(b.users > 0, "block {}, which nobody uses, is released", block);
  if (--b.users > 0) return;
  link_before(first_, block);
  if (!b.is_listed) first_ = block;
}

int32_t CacheBlockPool::listed(uint64_t hash, Content before, std::span<const int32_t> tokens) const {
  const auto found = by_hash_.find(hash);
  if (found == by_hash_.end()) return kNone;
  const Block& b = at(found->second);
  return b.before == before && std::ranges::equal(b.tokens, tokens) ? found->second : kNone;
}

void CacheBlockPool::remember(int32_t block, int32_t parent, std::span<const int32_t> tokens) {
  Block& b = at(block);
  TRIREME_CHECK(b.users > 0 && std::ssize(tokens) == block_tokens_, "{} tokens of block {} with {} users",
                tokens.size(), block, b.users);
  const Content before = parent == kNone ? 0 : at(parent).content;
  if (b.content != 0 || (parent != kNone && before == 0)) return;
  const uint64_t hash = hash_of_block(before, tokens);
  const auto [place, is_new] = by_hash_.try_emplace(hash, block);
  b.before = before;
  if (is_new) {
    b.content = ++last_content_;
    b.hash = hash;
    b.is_listed = true;
    b.tokens.assign(tokens.begin(), tokens.end());
  } else if (const int32_t other = listed(hash, before, tokens); other != kNone) {
    b.content = at(other).content;
  }
}

std::vector<int32_t> CacheBlockPool::find(std::span<const int32_t> tokens) {
  std::vector<int32_t> row;
  Content before = 0;
  for (; std::ssize(tokens) >= block_tokens_; tokens = tokens.subspan(static_cast<size_t>(block_tokens_))) {
    const auto own = tokens.first(static_cast<size_t>(block_tokens_));
    const int32_t block = listed(hash_of_block(before, own), before, own);
    if (block == kNone) break;
    if (at(block).users++ == 0) unlink(block);
    before = at(block).content;
    row.push_back(block);
  }
  return row;
}

}  // namespace trireme
