// What the names in tokenizer.ggml.pre stand for: how a byte-level BPE's text is cut into words.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

/// A text is cut at the matches of each pattern, one after the other, as tokenizer.json's Split does with the
/// behavior Isolated.
struct GgufPretokenizer {
  std::vector<std::string_view> names;  ///< the first one is written where the model's own is not known
  std::vector<std::string_view> patterns;
  bool ignore_merges = false;  ///< a word that is a token as a whole is not merged step by step
  bool nfc = false;            ///< the published tokenizers of these names normalize their texts
  bool adds_bos = false;       ///< where tokenizer.ggml.add_bos_token is not there
};

/// Those of llama.cpp that are known here; patterns are those of the models' own tokenizer.json where
/// llama.cpp has one of the same meaning.
std::span<const GgufPretokenizer> gguf_pretokenizers();
/// Null for an unknown name.
const GgufPretokenizer* find_gguf_pretokenizer(std::string_view name);
/// "gpt-2, llama-bpe, ...": all names.
std::string gguf_pretokenizer_names();

/// The first with these patterns, whether spelled with line breaks or escapes, and this rule for whole words;
/// of several one whose published tokenizers normalize alike (llama.cpp itself normalizes no text). Null for
/// none.
const GgufPretokenizer* match_gguf_pretokenizer(const std::vector<std::string>& patterns, bool ignore_merges,
                                                bool nfc);

}  // namespace trireme
