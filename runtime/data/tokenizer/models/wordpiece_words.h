// The longest token that a word begins with, again and again (Schuster & Nakajima 2012, as BERT has it), and
// words as tokens.
#pragma once

#include <optional>

#include "runtime/data/tokenizer/models/word_model.h"

namespace trireme {

struct WordPieceOptions {
  int32_t unknown = 0;
  std::string continuing_prefix = "##";
  size_t most_characters = 100;  ///< a longer word is unknown
};

class WordPieceWords final : public WordModel {
 public:
  WordPieceWords(Vocabulary vocabulary, WordPieceOptions options);
  void encode(std::string_view word, const TextPlace& place, std::vector<int32_t>& ids) const override;

 private:
  std::vector<int32_t> ids_of(std::string_view word) const;

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  size_t longest_ = 0;  ///< token, in bytes
  mutable WordCache cache_;
};

class WholeWords final : public WordModel {
 public:
  /// Without a token for the unknown it is refused.
  WholeWords(Vocabulary vocabulary, std::optional<int32_t> unknown)
      : vocabulary_(std::move(vocabulary)), unknown_(unknown) {}
  void encode(std::string_view word, const TextPlace& place, std::vector<int32_t>& ids) const override {
    const auto it = vocabulary_.find(word);
    if (it == vocabulary_.end() && !unknown_) place.refuse(word, "WordLevel");
    ids.push_back(it == vocabulary_.end() ? *unknown_ : it->second);
  }

 private:
  Vocabulary vocabulary_;
  std::optional<int32_t> unknown_;
};

}  // namespace trireme
