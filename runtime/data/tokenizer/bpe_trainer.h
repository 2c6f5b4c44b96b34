// Training of a byte-level BPE vocabulary (Sennrich et al. 2016, "Neural machine translation of rare words
// with subword units"), with pair counts kept up to date instead of counted again.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/tokenizer.h"
#include "runtime/data/tokenizer/word_cache.h"

namespace trireme {

/// Ids 0 to 255 are the bytes in GPT-2's order, then the merges by rank, the last id is <|endoftext|>. At
/// each step the most frequent pair is merged; among equals the one with the smallest left id, then the
/// smallest right id. So the result depends on the multiset of words only.
class BpeTrainer {
 public:
  explicit BpeTrainer(std::string_view pattern = kGpt2Pattern);

  /// Counts the words of `text`. UserError(bad_input) when it is not UTF-8.
  void add(std::string_view text, const TextOrigin& origin);

  /// UserError(usage) when `vocab_size` leaves no room for the bytes and <|endoftext|>, or is more than the
  /// pairs that occur twice can fill (the message says how many they do).
  std::unique_ptr<Tokenizer> train(int64_t vocab_size) const;

 private:
  Pretokenizer pretokenizer_;
  StringMap<int64_t> words_;
};

std::unique_ptr<Tokenizer> train_bpe(std::string_view text, int64_t vocab_size);

}  // namespace trireme
