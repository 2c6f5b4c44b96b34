// Cuts a text into the words within which byte-pair merges happen.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/pattern/pattern.h"

namespace trireme {

/// The patterns of GPT-2 (Radford et al. 2019, encoder.py) and of Llama 3 (its published tokenizer).
extern const std::string_view kGpt2Pattern;
extern const std::string_view kLlama3Pattern;

/// One or more regular expressions in Oniguruma's syntax (oniguruma_pattern.h), applied one after the other
/// to the pieces that the one before made. Every match is a piece, and so is every stretch between two
/// matches; an empty match parts what is on its two sides. Safe from several threads.
class Pretokenizer {
 public:
  /// Of the patterns with an index in `drop_gaps` only the matches are pieces; the rest of the text is left
  /// out. UserError(bad_input) when a pattern does not compile.
  explicit Pretokenizer(std::vector<std::string> patterns, const std::set<size_t>& drop_gaps = {});
  ~Pretokenizer();
  Pretokenizer(Pretokenizer&&) noexcept;

  const std::vector<std::string>& patterns() const { return patterns_; }

  /// Calls word(piece) for each piece from left to right; together they are `text` unless gaps are dropped.
  /// `text` must be valid UTF-8.
  void split(std::string_view text, const std::function<void(std::string_view)>& word) const;

  /// See Tokenizer::find_cut.
  size_t find_cut(std::string_view text, size_t limit) const;

 private:
  void split_from(size_t level, std::string_view text,
                  const std::function<void(std::string_view)>& word) const;

  std::vector<std::string> patterns_;
  std::set<size_t> drop_gaps_;
  std::vector<Pattern> compiled_;
};

}  // namespace trireme
