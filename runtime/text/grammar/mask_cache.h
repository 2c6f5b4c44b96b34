// What single states of grammars allow, kept for the next time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "runtime/text/grammar/byte_program.h"

namespace trireme {

/// Of the tokens behind a state and its counter, wherever its rule was called from.
struct StateMask {
  std::vector<uint64_t> words;  ///< tokens that stay within the rule, or end with it; or, where they are few,
  std::vector<int32_t> tokens;  ///< their numbers
  std::vector<uint32_t> exits;  ///< nodes of the trie, with others below them, at which the rule ends

  void add_to(std::span<uint64_t> allowed) const;
  size_t size() const { return sizeof(StateMask) + 8 * words.size() + 4 * (tokens.size() + exits.size()); }
};

/// Two generations: when the younger one is full the older one goes.
class MaskCache {
 public:
  struct Key {
    const ByteGrammar* grammar;  ///< null: of the states that all grammars share
    uint32_t state;
    ByteCounter counter;
    bool operator==(const Key&) const = default;
  };

  explicit MaskCache(size_t max_bytes) : max_bytes_(max_bytes) {}

  /// null: not there.
  std::shared_ptr<const StateMask> find(const Key& key);
  /// `grammar` is kept as long as its masks: no other one can have its address.
  void insert(const Key& key, std::shared_ptr<const ByteGrammar> grammar,
              std::shared_ptr<const StateMask> mask);

 private:
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  struct Entry {
    std::shared_ptr<const ByteGrammar> grammar;
    std::shared_ptr<const StateMask> mask;
  };
  void add(const Key& key, Entry entry);

  const size_t max_bytes_;
  std::mutex mutex_;
  std::array<std::unordered_map<Key, Entry, Hash>, 2> generations_;  ///< the younger first
  size_t bytes_ = 0;                                                 ///< of the younger
};

}  // namespace trireme
