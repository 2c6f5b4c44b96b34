// Tokens that are found in a text as a whole, before it is split into words.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

/// As Hugging Face's tokenizers has them (e.g. <|endoftext|>).
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = true;       ///< a mark, not text: left out of decoded text on request
  bool normalized = false;   ///< found, in its normalized form, in what those that are not leave of the text
  bool single_word = false;  ///< not beside a character of a word
  bool lstrip = false, rstrip = false;  ///< takes the blanks on its left, on its right
};

/// Finds tokens from left to right, at each place the longest. Of two with one content the first counts.
/// Immutable.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  /// Tokens whose content is empty are never found. `tokens` must live as long as this.
  explicit AddedTokenFinder(const std::vector<const AddedToken*>& tokens,
                            const std::vector<std::string>& contents);

  bool is_empty() const { return entries_.empty(); }
  /// Calls rest(begin, end) for what lies between tokens and found(id) for these, from left to right.
  void split(std::string_view text, const std::function<void(size_t, size_t)>& rest,
             const std::function<void(int32_t)>& found) const;

 private:
  struct Entry {
    std::string content;
    const AddedToken* token;
  };
  const Entry* at(std::string_view text) const;

  std::vector<Entry> entries_;                              ///< by first byte, of these the longest first
  std::array<std::pair<uint32_t, uint32_t>, 256> range_{};  ///< of entries, by first byte
};

}  // namespace trireme
