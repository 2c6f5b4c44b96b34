// What the files beside a tokenizer say of it: tokenizer_config.json, added_tokens.json,
// special_tokens_map.json, generation_config.json and chat templates, as transformers writes them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/data/tokenizer/added_tokens.h"

namespace trireme {

struct TokenizerConfig {
  std::string tokenizer_class;  ///< "GPT2TokenizerFast"; empty: not said
  /// Contents of tokens by what they are for: "bos", "eos", "unk", "pad", "sep", "cls", "mask".
  std::map<std::string, std::string> roles;
  std::optional<bool> add_bos, add_eos;
  std::vector<AddedToken> added;    ///< by id
  std::vector<int32_t> stop_ids;    ///< of generation_config.json, any of which ends a text
  std::optional<int32_t> begin_id;  ///< of generation_config.json
  std::string chat_template;        ///< the one by default; empty: none
  std::vector<std::pair<std::string, std::string>> templates;  ///< others, by name

  /// The content of the token for `role`; empty where there is none.
  std::string role(const std::string& name) const;
};

/// Of a directory; files that are not there say nothing. UserError(bad_input) naming file and key for what is
/// malformed or contradicts another file.
TokenizerConfig read_tokenizer_config(const std::string& directory);

}  // namespace trireme
