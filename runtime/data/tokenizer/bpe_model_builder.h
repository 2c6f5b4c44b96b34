// Puts a BpeModel together from the names that files use, and refuses what does not fit.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/bpe_model.h"
#include "runtime/data/tokenizer/files/token_lists.h"
#include "runtime/data/tokenizer/models/pair_table.h"
#include "runtime/data/tokenizer/models/vocabulary.h"

namespace trireme {

/// Call in the order of declaration. Every fault is a UserError(bad_input) naming the file and the place.
class BpeModelBuilder {
 public:
  explicit BpeModelBuilder(std::string file) : file_(std::move(file)) {}

  /// `vocab`: an object of token (bytes spelled in the byte alphabet) to id, but for those of `lists`.
  void set_vocab(const nlohmann::json& vocab, const TokenLists& lists = {});
  /// A token that is also in the vocabulary keeps its id there; the two must agree.
  void add_token(AddedToken token);
  /// Checks that ids run from 0, with gaps only beyond those of the vocabulary, and that every token but the
  /// added ones spells bytes.
  void finish_tokens();
  /// The next merge by rank; `where` names it in messages.
  void add_merge(std::string_view left, std::string_view right, const std::string& where);

  BpeModel model;

 private:
  void add(std::string_view token, int32_t id);
  size_t check_gaps() const;  ///< one more than the largest id
  int32_t id_of(std::string_view token, const std::string& where) const;

  std::string file_;
  Vocabulary ids_;
  PairTable pairs_{0};
};

}  // namespace trireme
