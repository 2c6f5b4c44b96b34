// What turns a word into ids.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/data/tokenizer/models/vocabulary.h"
#include "runtime/data/tokenizer/word_cache.h"

namespace trireme {

/// Where a word comes from, for messages.
struct TextPlace {
  const std::string& file;
  uint64_t offset;        ///< of `text` in it
  std::string_view text;  ///< before it was normalized and split

  /// UserError(bad_input): `symbol` (a character, or a byte of one) "has no token in" `vocabulary`.
  [[noreturn]] void refuse(std::string_view symbol, std::string_view vocabulary) const {
    const size_t found = text.find(symbol);  // words are encoded from left to right: it is the first
    const uint64_t at = offset + (found == std::string_view::npos ? 0 : found);
    const bool is_byte = symbol.size() == 1;
    const auto name = is_byte ? fmt::format("the byte 0x{:02X}", static_cast<uint8_t>(symbol[0]))
                              : fmt::format("\"{}\"", symbol.substr(0, 40));
    throw_bad_input("{}: {} at offset {} has no token in this {} vocabulary{}", file, name, at, vocabulary,
                    is_byte ? "" : ", and there is none for the unknown");
  }
};

class WordModel {
 public:
  virtual ~WordModel() = default;

  /// Appends the ids of `word` (valid UTF-8, not empty). Safe from several threads. UserError(bad_input) when
  /// the vocabulary cannot express the word.
  virtual void encode(std::string_view word, const TextPlace& place, std::vector<int32_t>& ids) const = 0;
};

}  // namespace trireme
