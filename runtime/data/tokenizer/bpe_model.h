// What a byte-level BPE tokenizer consists of, as plain data.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace trireme {

/// A token that is found in the text as a whole, before any splitting (e.g. <|endoftext|>).
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = true;      ///< a mark, not text: Hugging Face leaves it out of decoded text
  bool normalized = false;  ///< found after all that are not, in what those leave of the text
};

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
  bool ignore_merges = false;     ///< Llama 3: a word that is a token as a whole is not merged step by step
  bool add_prefix_space = false;  ///< a space is put before a text that does not begin with one
};

}  // namespace trireme
