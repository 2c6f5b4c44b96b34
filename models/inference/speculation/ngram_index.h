// NgramIndex: where the n-grams of a growing text were last.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace trireme {

/// Hash tables of places, one for each n, with a constant amount of work for each new token. They keep no
/// tokens: the text, which only grows, comes with each call.
class NgramIndex {
 public:
  /// Of n-grams of `shortest` to `longest` tokens.
  NgramIndex(int64_t longest, int64_t shortest);

  /// Takes in what `tokens` has more than in the last call. Where the text's last tokens were before, the
  /// longest n-gram first, and of several places the last: the place of the token behind them.
  std::optional<int64_t> follow(std::span<const int32_t> tokens);

 private:
  /// Places behind n-grams of one n, open addressing with linear probing; 0: a free slot.
  struct Table {
    int64_t width = 0;
    int64_t num_used = 0;
    std::vector<int32_t> slots;
  };
  void insert(Table& table, std::span<const int32_t> tokens, int64_t end) const;
  std::optional<int64_t> find(const Table& table, std::span<const int32_t> tokens) const;

  std::vector<Table> tables_;  // the longest n-grams first
  int64_t num_indexed_ = 0;    // n-grams that end before this place are in the tables
};

}  // namespace trireme
