// Cuts a text into the words that a model takes one by one (Hugging Face's pre-tokenizers).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/pattern/pattern.h"

namespace trireme {

/// What becomes of the matches that a text is split at.
enum class SplitBehavior { isolated, removed, contiguous, merged_with_previous, merged_with_next };

/// A word, which is never empty, on its way through the steps: `text` lives during the call alone.
struct WordView {
  std::string_view text;
  bool is_first = false;  ///< as TextPiece
};
using WordSink = std::function<void(WordView)>;

/// One step: hands on what it makes of a word, from left to right. Safe from several threads.
using Splitter = std::function<void(WordView, const WordSink&)>;

Splitter make_split(Pattern pattern, SplitBehavior behavior, bool invert);
Splitter make_digits(bool individually);
Splitter make_punctuation(SplitBehavior behavior);
Splitter make_whitespace();        ///< words and runs of other characters, without the blanks
Splitter make_whitespace_split();  ///< what stands between blanks
Splitter make_bert_splitter();
Splitter make_char_delimiter_split(char32_t delimiter);
Splitter make_byte_level(bool add_prefix_space, bool use_regex);

enum class PrependScheme { always, first, never };
struct MetaspaceOptions {
  std::string replacement = "\u2581";
  PrependScheme prepend = PrependScheme::always;
  bool split = true;
};
Splitter make_metaspace(const MetaspaceOptions& options);

inline constexpr std::string_view kSpaceMark = "\u2581";

/// Words for a vocabulary no token of which holds the mark behind another character (else the tokens could
/// differ): each begins with marks that follow another character.
Splitter make_marked_words();
bool has_mark_inside(std::string_view token);

/// Null for no steps.
Splitter make_sequence(std::vector<Splitter> steps);

}  // namespace trireme
