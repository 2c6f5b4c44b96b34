// Words repeat: most of a text needs no merging at all.
#pragma once

#include <array>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <cstdint>

namespace trireme {

/// Hashing by view, so that a lookup makes no string.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
template <class T>
using StringMap = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;

/// The ids of words seen before. Bounded: when a part is full it takes no more. Safe from several threads.
class WordCache {
 public:
  /// Appends the ids of `word` and returns true, or returns false.
  bool append(std::string_view word, std::vector<int32_t>& ids) const {
    const Part& part = part_of(word);
    const std::lock_guard lock(part.mutex);
    const auto it = part.words.find(word);
    if (it == part.words.end()) return false;
    ids.insert(ids.end(), it->second.begin(), it->second.end());
    return true;
  }

  void insert(std::string_view word, const std::vector<int32_t>& word_ids) {
    if (word.size() > kLongestWord) return;
    Part& part = parts_[StringHash{}(word) % kParts];
    const std::lock_guard lock(part.mutex);
    if (part.words.size() < kWordsPerPart) part.words.emplace(word, word_ids);
  }

 private:
  static constexpr size_t kParts = 16, kWordsPerPart = size_t{1} << 14, kLongestWord = 64;
  struct Part {
    mutable std::mutex mutex;
    StringMap<std::vector<int32_t>> words;
  };
  const Part& part_of(std::string_view word) const { return parts_[StringHash{}(word) % kParts]; }

  std::array<Part, kParts> parts_;
};

}  // namespace trireme
