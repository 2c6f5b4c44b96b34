// What rank files leave to the program that reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme {

struct Encoding {
  std::string name;
  size_t num_ranks;
  size_t vocab_size;
  std::string pattern;  ///< in Oniguruma's syntax, with the meaning that tiktoken's has
  std::vector<std::pair<std::string, int32_t>> special;
  int32_t begin_id = -1;  ///< stands before a whole text; -1: nothing does
  bool nfc = false;       ///< texts are brought into that form first
};

/// Null for a name that is not known.
const Encoding* find_encoding(std::string_view name);
std::vector<std::string> encoding_names();

/// Of tekken.json files that do not list theirs (those of 2024), by id.
const std::vector<std::string>& tekken_special_tokens();

}  // namespace trireme
