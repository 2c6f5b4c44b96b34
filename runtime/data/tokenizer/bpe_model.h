// What a byte-level BPE tokenizer consists of, as plain data.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/data/tokenizer/added_tokens.h"

namespace trireme {

struct BpeMerge {
  int32_t left, right, merged;
};

struct BpeModel {
  std::vector<std::string>
      tokens;  ///< the bytes of each id; of an added token its content; of a free id nothing
  std::vector<BpeMerge> merges;       ///< in order of rank: the earlier, the sooner merged
  std::vector<AddedToken> added;      ///< ordered by id
  std::vector<std::string> patterns;  ///< of the Pretokenizer
  std::set<size_t> drop_gaps;         ///< of the Pretokenizer
  std::string end_of_text;            ///< token between documents; empty: found among `added` by name
  std::string post_processor;  ///< of tokenizer.json, as text: it puts the ids below around a whole text
  std::vector<int32_t> begin_ids, end_ids;
  bool ignore_merges = false;     ///< Llama 3: a word that is a token as a whole is not merged step by step
  bool add_prefix_space = false;  ///< a space is put before a text that does not begin with one
};

}  // namespace trireme
