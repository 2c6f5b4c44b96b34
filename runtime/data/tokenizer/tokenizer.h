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

enum class SpecialTokens { keep, skip };  ///< in decoded text

/// Immutable; every call is safe from several threads at once. Ids run from 0 to vocab_size() - 1.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// "byte", "char", "bpe", "unigram", "wordpiece" or "wordlevel".
  virtual std::string_view kind() const = 0;
  virtual int64_t vocab_size() const = 0;

  /// The ids of `text`; nothing is put before or after them. UserError(bad_input) naming `origin` and the
  /// offset when this tokenizer cannot express the text (not UTF-8, a character it has never seen).
  virtual std::vector<int32_t> encode(std::string_view text, const TextOrigin& origin) const = 0;
  std::vector<int32_t> encode(std::string_view text) const { return encode(text, TextOrigin{}); }

  /// The text of `ids`. Of tokenizers over bytes a slice of ids may begin or end inside a character: the
  /// bytes are given as they are. Others give what Hugging Face's or SentencePiece's decoder gives, U+FFFD
  /// for bytes that are no character among it. UserError(bad_input) when an id is not of this vocabulary.
  std::string decode(std::span<const int32_t> ids, SpecialTokens specials = SpecialTokens::keep) const;

  /// Marks such as <|endoftext|>, which text never means.
  virtual bool is_special(int32_t id) const { return end_of_text() == id; }
  /// What a model's users put before and after a whole text where the tokenizer's file says so (its
  /// post-processor): e.g. <s>, or [CLS] and [SEP]. encode() adds neither.
  virtual std::span<const int32_t> begin_ids() const { return {}; }
  virtual std::span<const int32_t> end_ids() const { return {}; }
  std::vector<int32_t> encode_whole(std::string_view text, const TextOrigin& origin = {}) const;

  /// The id that stands between documents, where the vocabulary has one.
  virtual std::optional<int32_t> end_of_text() const = 0;

  /// The largest known position c <= limit, c > 0, where encode(text) == encode(text[0, c)) + encode(text[c,
  /// end)). Without such a position below `limit`, the nearest one above, or text.size().
  virtual size_t find_cut(std::string_view text, size_t limit) const = 0;

  /// A description that load_tokenizer reads back. Equal tokenizers give equal text.
  virtual std::string to_json() const = 0;
  void save(const std::string& path) const;
  /// A hash of to_json(): token files carry it, so that a file meets the tokenizer that made it.
  virtual uint64_t fingerprint() const;

  /// Whether decode() is the tokens' bytes one after the other.
  virtual bool joins_bytes() const { return true; }
  /// The byte that a token such as <0x0A> stands for, where the decoder takes it so.
  virtual std::optional<uint8_t> raw_byte(int32_t) const { return std::nullopt; }

 protected:
  /// decode() of ids of the vocabulary.
  virtual std::string decode_known(std::span<const int32_t> ids) const;

 private:
  friend class TextStream;
  /// The bytes of one id of [0, vocab_size()), for tokenizers that join bytes.
  virtual void append_token(std::string& out, int32_t id) const = 0;
  /// Whether what the tokens up to this one decode to is settled, whatever follows; for others than those
  /// that join bytes.
  virtual bool settles_text(int32_t) const { return true; }
};

/// Text of tokens as they come: whole characters alone, and all pieces together are what decode() gives for
/// all ids.
class TextStream {
 public:
  explicit TextStream(const Tokenizer& tokenizer, SpecialTokens specials = SpecialTokens::keep)
      : tokenizer_(tokenizer), specials_(specials) {}

  /// The text that this token settles; may be empty. UserError(bad_input) as decode().
  std::string push(int32_t id);
  /// What is left, as decode() would end.
  std::string finish();

 private:
  std::string take_whole_characters();
  std::string settled();

  const Tokenizer& tokenizer_;
  SpecialTokens specials_;
  std::string bytes_;         ///< of a character that is not whole yet
  std::vector<int32_t> ids_;  ///< those that the next text depends on
  size_t given_ = 0;          ///< bytes of their text that have been given
};

}  // namespace trireme
