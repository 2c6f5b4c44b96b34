// What a tokenizer does to a text before it looks for words.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/pattern/pattern.h"
#include "runtime/data/tokenizer/steps/charsmap.h"
#include "runtime/data/tokenizer/unicode/unicode.h"

namespace trireme {

/// A text on its way to tokens: valid UTF-8.
struct TextPiece {
  std::string text;
  bool is_first = false;  ///< its first character comes from the first one of the whole text
};

/// Safe from several threads. The functions below make those that Hugging Face's tokenizers has, with its
/// names.
using Normalizer = std::function<void(TextPiece&)>;

struct BertNormalizerOptions {
  bool clean_text = true, handle_chinese_chars = true, strip_accents = true, lowercase = true;
};

Normalizer make_normal_form(unicode::Form form);
Normalizer make_lowercase();
Normalizer make_strip_accents();
Normalizer make_strip(bool left, bool right);
Normalizer make_prepend(std::string prefix);
Normalizer make_replace(std::string wanted, std::string content);
Normalizer make_replace(Pattern wanted, std::string content);
Normalizer make_bert_normalizer(const BertNormalizerOptions& options);
Normalizer make_nmt();
/// Each grapheme cluster of up to five bytes, else each of its characters, by the shortest entry of `map`
/// that it begins with.
Normalizer make_precompiled(Charsmap map);
Normalizer make_sequence(std::vector<Normalizer> steps);

/// `text` with every match of `wanted` (an empty one too) replaced.
std::string replace_matches(std::string_view text, const Pattern& wanted, std::string_view content);
/// `text` with every `wanted`, which is not empty, replaced.
std::string replace_all(std::string_view text, std::string_view wanted, std::string_view content);

}  // namespace trireme
