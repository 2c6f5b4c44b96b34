#include "runtime/data/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/bpe_tokenizer.h"
#include "runtime/data/tokenizer/byte_alphabet.h"

namespace trireme {
namespace {

struct Word {
  std::vector<int32_t> symbols;
  int64_t count;
};

struct Pair {
  int32_t left, right;
  bool operator==(const Pair&) const = default;
};
struct PairHash {
  size_t operator()(Pair p) const {
    return (static_cast<uint64_t>(static_cast<uint32_t>(p.left)) * 0x9E3779B97F4A7C15ull) ^
           (static_cast<uint64_t>(static_cast<uint32_t>(p.right)) * 0xC2B2AE3D27D4EB4Full);
  }
};

// Merges pairs in the words and keeps the count of every pair exact.
class PairCounts {
 public:
  explicit PairCounts(std::vector<Word> words) : words_(std::move(words)) {
    for (uint32_t w = 0; w < words_.size(); ++w) {
      const auto& symbols = words_[w].symbols;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) change({symbols[i], symbols[i + 1]}, w, +1);
    }
    offer_changed();
  }

  // The most frequent pair, if one occurs at least twice.
  bool best(Pair& pair) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const auto it = pairs_.find(top.pair);
      const int64_t now = it == pairs_.end() ? 0 : it->second.count;
      if (now == top.count) {
        pair = top.pair;
        return true;
      }
      if (now >= kLeastCount) queue_.push({now, top.pair});
    }
    return false;
  }

  void merge(Pair pair, int32_t merged) {
    const auto holders = std::move(pairs_.at(pair).words);
    for (const uint32_t w : holders) merge_in_word(w, pair, merged);
    TRIREME_CHECK(pairs_.at(pair).count == 0);
    pairs_.erase(pair);
    offer_changed();
  }

 private:
  static constexpr int64_t kLeastCount = 2;
  struct Occurrences {
    int64_t count = 0;
    std::vector<uint32_t> words;  // every word that holds the pair, and some that no longer do
  };
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      if (count != other.count) return count < other.count;
      return pair.left != other.pair.left ? pair.left > other.pair.left : pair.right > other.pair.right;
    }
  };

  void change(Pair pair, uint32_t word, int64_t sign) {
    Occurrences& occurrences = pairs_[pair];
    occurrences.count += sign * words_[word].count;
    if (sign < 0) return;
    if (occurrences.words.empty() || occurrences.words.back() != word) occurrences.words.push_back(word);
    changed_.insert(pair);
  }

  void merge_in_word(uint32_t w, Pair pair, int32_t merged) {
    auto& symbols = words_[w].symbols;
    size_t out = 0;
    for (size_t i = 0; i < symbols.size();) {
      if (i + 1 == symbols.size() || symbols[i] != pair.left || symbols[i + 1] != pair.right) {
        symbols[out++] = symbols[i++];
        continue;
      }
      change(pair, w, -1);
      if (out > 0) {
        change({symbols[out - 1], pair.left}, w, -1);
        change({symbols[out - 1], merged}, w, +1);
      }
      if (i + 2 < symbols.size()) {
        change({pair.right, symbols[i + 2]}, w, -1);
        change({merged, symbols[i + 2]}, w, +1);
      }
      symbols[out++] = merged;
      i += 2;
    }
    symbols.resize(out);
  }

  void offer_changed() {
    for (const Pair pair : changed_) {
      const int64_t count = pairs_.at(pair).count;
      if (count >= kLeastCount) queue_.push({count, pair});
    }
    changed_.clear();
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  std::unordered_set<Pair, PairHash> changed_;
  std::priority_queue<Candidate> queue_;
};

std::vector<Word> spell_words(const StringMap<int64_t>& counts, const std::array<uint8_t, 256>& order) {
  std::array<int32_t, 256> id_of_byte{};
  for (size_t id = 0; id < order.size(); ++id) id_of_byte[order[id]] = static_cast<int32_t>(id);
  std::vector<Word> words;
  words.reserve(counts.size());
  for (const auto& [text, count] : counts) {
    if (text.size() < 2) continue;
    Word word{{}, count};
    for (const char c : text) word.symbols.push_back(id_of_byte[static_cast<uint8_t>(c)]);
    words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

BpeTrainer::BpeTrainer(std::string_view pattern) : pretokenizer_({std::string(pattern)}) {}

void BpeTrainer::add(std::string_view text, const TextOrigin& origin) {
  check_utf8(text, origin);
  pretokenizer_.split(text, [&](std::string_view word) {
    const auto it = words_.find(word);
    if (it != words_.end()) {
      ++it->second;
    } else {
      words_.emplace(word, 1);
    }
  });
}

std::unique_ptr<Tokenizer> BpeTrainer::train(int64_t vocab_size) const {
  constexpr int64_t kLeast = 256 + 1;
  if (vocab_size < kLeast || vocab_size > INT32_MAX) {
    throw_usage("a BPE vocabulary of {} is not possible: 256 bytes and <|endoftext|> make {}", vocab_size,
                kLeast);
  }
  const auto order = byte_alphabet_order();
  BpeModel model;
  model.patterns = pretokenizer_.patterns();
  std::unordered_map<std::string, int32_t> ids;
  const auto add_token = [&](const std::string& bytes) {
    const auto [it, is_new] = ids.emplace(bytes, static_cast<int32_t>(model.tokens.size()));
    if (is_new) model.tokens.push_back(bytes);
    return it->second;
  };
  for (const uint8_t byte : order) add_token(std::string(1, static_cast<char>(byte)));

  PairCounts counts(spell_words(words_, order));
  std::unordered_set<Pair, PairHash> known;
  while (static_cast<int64_t>(model.tokens.size()) + 1 < vocab_size) {
    Pair pair{};
    if (!counts.best(pair)) {
      throw_usage(
          "this text gives a BPE vocabulary of at most {} (pairs that occur twice), not {}; ask for fewer or "
          "train on more text",
          model.tokens.size() + 1, vocab_size);
    }
    // Two ways of merging can spell one token; it keeps its first id.
    const int32_t merged = add_token(model.tokens[static_cast<size_t>(pair.left)] +
                                     model.tokens[static_cast<size_t>(pair.right)]);
    if (known.insert(pair).second) model.merges.push_back({pair.left, pair.right, merged});
    counts.merge(pair, merged);
  }
  model.added.push_back({static_cast<int32_t>(vocab_size - 1), "<|endoftext|>", true});
  model.tokens.push_back("<|endoftext|>");
  return std::make_unique<BpeTokenizer>(std::move(model));
}

std::unique_ptr<Tokenizer> train_bpe(std::string_view text, int64_t vocab_size) {
  BpeTrainer trainer;
  trainer.add(text, {});
  return trainer.train(vocab_size);
}

}  // namespace trireme
