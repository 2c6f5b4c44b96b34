// The text of tokens as they come, up to the first stop string.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme::launch {

/// Where a stop string is, whatever tokens the text came in: of all that are in it the one that ends first,
/// the longest of those.
class StopSearch {
 public:
  /// `includes_stop`: it belongs to the text.
  explicit StopSearch(std::vector<std::string> stops, bool includes_stop = false);

  /// More text; what of all so far cannot be of a stop string. Nothing once one was found.
  std::string push(std::string_view text);
  /// What was held back.
  std::string finish();
  bool is_stopped() const { return is_stopped_; }

 private:
  std::vector<std::string> stops_;
  bool includes_stop_;
  size_t longest_ = 0;
  std::string held_;
  bool is_stopped_ = false;
};

/// Whole characters alone.
class StoppedText {
 public:
  /// `tokenizer` outlives it.
  StoppedText(const Tokenizer& tokenizer, std::vector<std::string> stops,
              SpecialTokens specials = SpecialTokens::skip, bool includes_stop = false)
      : stream_(tokenizer, specials), search_(std::move(stops), includes_stop) {}

  /// The text that this token adds for good; may be empty. UserError (bad_input) as Tokenizer::decode().
  std::string push(int32_t token) { return kept(search_.push(stream_.push(token))); }
  /// The same for text in which no stop string is looked for.
  std::string push_unsearched(int32_t token) { return kept(stream_.push(token)); }
  /// What was held back.
  std::string finish();
  /// A stop string has come: no token belongs to the text any more.
  bool is_stopped() const { return search_.is_stopped(); }
  /// All that was given.
  const std::string& text() const { return text_; }

 private:
  std::string kept(std::string piece) {
    text_ += piece;
    return piece;
  }

  TextStream stream_;
  StopSearch search_;
  std::string text_;
};

}  // namespace trireme::launch
