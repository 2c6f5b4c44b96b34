// The two long lists of a tokenizer.json, read without a JSON value for each of their entries.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/tokenizer/text_list.h"

namespace trireme {

/// What of "vocab" and "merges" of "model" has the plain form: a token with an id below 2^24; merges that are
/// all texts, or all pairs of them. The rest stays in the JSON value, for its reader to take or refuse.
struct TokenLists {
  TextList tokens;           ///< in the order of the file; one may stand twice
  std::vector<int32_t> ids;  ///< of each
  TextList merges;           ///< "a b"; where they are pairs "a" and "b" one behind the other
  bool are_pairs = false;

  size_t num_merges() const { return merges.size() / (are_pairs ? 2 : 1); }
};

/// parse_json(), but that the lists lack what `lists` gets: of 32,000 tokens 2 MiB instead of 10. Takes time
/// that grows with the length of `text`.
nlohmann::json parse_tokenizer_json(std::string_view text, const std::string& name, TokenLists& lists);

/// Makes `root` what parse_json() gives.
void put_back(const TokenLists& lists, nlohmann::json& root);

/// Calls merge(left, right, where) for each merge: those of `lists` and then those of `rest`, which must be a
/// list of "a b" or ["a", "b"]. UserError(bad_input) naming `file` and the merge.
void for_each_merge(const TokenLists& lists, const nlohmann::json& rest, const std::string& file,
                    const std::function<void(std::string_view, std::string_view, const std::string&)>& merge);

}  // namespace trireme
