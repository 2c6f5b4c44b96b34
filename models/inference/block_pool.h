// CacheBlockPool: which blocks of a cache of keys and values are whose. On the host, without memory of its
// own; equal calls on all ranks give equal numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace trireme {

/// Blocks are counted by who uses them. Full blocks are found again by a hash chain over their tokens (what
/// came before, the block's tokens), also after their last user has gone, until they are taken for something
/// else, least recently used first (vLLM's automatic prefix caching, after arXiv 2309.06180). Tokens are
/// compared as well: equal hashes alone share nothing.
class CacheBlockPool {
 public:
  CacheBlockPool(int64_t num_blocks, int64_t block_tokens);

  int64_t num_blocks() const { return static_cast<int64_t>(blocks_.size()); }
  int64_t block_tokens() const { return block_tokens_; }
  /// That nobody uses: free ones, and those kept for their tokens alone.
  int64_t num_available() const { return num_available_; }

  /// One block with one user; nothing when none is available.
  std::optional<int32_t> take();
  void share(int32_t block);  ///< one user more of a block in use
  /// One less. Who releases a row of blocks begins with the last: it is taken first, and is nothing without
  /// those before it.
  void release(int32_t block);
  int64_t num_users(int32_t block) const { return at(block).users; }

  /// A block in use is full, of these tokens, `parent` being the block before it (remembered already; -1: it
  /// is the first): found by later prompts.
  void remember(int32_t block, int32_t parent, std::span<const int32_t> tokens);
  /// The longest known row of blocks with the first tokens of `tokens`, each with one user more.
  std::vector<int32_t> find(std::span<const int32_t> tokens);

 private:
  /// What a block holds: tokens after others. Equal numbers, equal tokens from the beginning; 0: nothing.
  using Content = int64_t;
  struct Block {
    int64_t users = 0;
    Content content = 0, before = 0;
    uint64_t hash = 0;
    bool is_listed = false;  // found by its hash; of equal blocks the first is
    std::vector<int32_t> tokens;
    int32_t previous = 0, next = 0;  // of the available ones
  };
  Block& at(int32_t block);
  const Block& at(int32_t block) const;
  int32_t listed(uint64_t hash, Content before, std::span<const int32_t> tokens) const;
  void forget(Block& block);
  void link_before(int32_t place, int32_t block);
  void unlink(int32_t block);

  int64_t block_tokens_;
  int64_t num_available_ = 0;
  Content last_content_ = 0;
  std::vector<Block> blocks_;
  // Ends of a ring through the available blocks, the next to be taken first.
  int32_t first_ = -1;
  std::unordered_map<uint64_t, int32_t> by_hash_;
};

}  // namespace trireme
