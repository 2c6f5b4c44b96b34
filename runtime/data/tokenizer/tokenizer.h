// Text to token ids and back.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/json/utf8.h"

namespace trireme {

/// Immutable; every call is safe from several threads at once. Ids run from 0 to vocab_size() - 1.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// "byte", "char" or "bpe".
  virtual std::string_view kind() const = 0;
  virtual int64_t vocab_size() const = 0;

  /// The ids of `text`; nothing is put before or after them. UserError(bad_input) naming `origin` and the
  /// offset when this tokenizer cannot express the text (not UTF-8, a character it has never seen).
  virtual std::vector<int32_t> encode(std::string_view text, const TextOrigin& origin) const = 0;
  std::vector<int32_t> encode(std::string_view text) const { return encode(text, TextOrigin{}); }

  /// The bytes of `ids`. A slice of ids may begin or end inside a character. UserError(bad_input) when an id
  /// is not of this vocabulary.
  std::string decode(std::span<const int32_t> ids) const;

  /// The id that stands between documents, where the vocabulary has one.
  virtual std::optional<int32_t> end_of_text() const = 0;

  /// The largest known position c <= limit, c > 0, where encode(text) == encode(text[0, c)) + encode(text[c,
  /// end)). Without such a position below `limit`, the nearest one above, or text.size().
  virtual size_t find_cut(std::string_view text, size_t limit) const = 0;

  /// A description that load_tokenizer reads back. Equal tokenizers give equal text.
  virtual std::string to_json() const = 0;
  void save(const std::string& path) const;
  /// A hash of to_json(): token files carry it, so that a file meets the tokenizer that made it.
  uint64_t fingerprint() const;

 private:
  /// The bytes of one id of [0, vocab_size()).
  virtual void append_token(std::string& out, int32_t id) const = 0;
};

}  // namespace trireme
