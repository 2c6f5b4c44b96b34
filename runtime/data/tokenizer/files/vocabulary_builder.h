// Ids and spellings of a tokenizer's file, and merges of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/added_tokens.h"
#include "runtime/data/tokenizer/models/pair_table.h"
#include "runtime/data/tokenizer/models/word_model.h"

namespace trireme {

/// Every fault is a UserError(bad_input) naming the file.
class VocabularyBuilder {
 public:
  explicit VocabularyBuilder(std::string file) : file_(std::move(file)) {}

  /// `id` lies below kMostTokens; neither it nor the token stands twice.
  void add(std::string_view token, int64_t id);
  /// Of a token that the vocabulary has too the two must agree.
  void add_added(const AddedToken& token);
  int32_t id_of(std::string_view token, const std::string& where) const;
  bool has(std::string_view token) const { return ids_.contains(token); }

  const std::string& file() const { return file_; }
  /// By token; added tokens that are in the vocabulary alone.
  const Vocabulary& vocabulary() const { return ids_; }
  /// By id; empty for a free one. UserError when too many are free.
  std::vector<std::string> tokens() const;

  static constexpr int64_t kMostTokens = int64_t{1} << 24;

 private:
  std::string file_;
  Vocabulary ids_;
  std::vector<AddedToken> added_;
};

/// The merges of a vocabulary that has none of its own: every way to cut a token in two of it. The lower the
/// rank of the token, the sooner it is merged. `parts`: what may be merged, tokens among it.
PairTable merges_of_ranks(const Vocabulary& parts,
                          const std::vector<std::pair<std::string_view, RankedMerge>>& tokens);

}  // namespace trireme
