// Byte-level byte-pair encoding (Sennrich et al. 2016; over bytes as in Radford et al. 2019).
#pragma once

#include <array>
#include <memory>
#include <unordered_map>

#include "runtime/data/tokenizer/bpe_model.h"
#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

class WordCache;

/// Gives the ids that Hugging Face's tokenizers gives without its post-processor: added tokens are found in
/// the text first (those with the flag `normalized` after the others), the rest is split into words, and each
/// word's pairs are merged in order of rank.
class BpeTokenizer final : public Tokenizer {
 public:
  /// `model` as the readers and the trainer make it: ids without gaps, merges of known tokens.
  /// UserError(bad_input) when a pattern does not compile.
  explicit BpeTokenizer(BpeModel model);
  ~BpeTokenizer() override;

  using Tokenizer::encode;
  std::string_view kind() const override { return "bpe"; }
  int64_t vocab_size() const override { return static_cast<int64_t>(model_.tokens.size()); }
  std::vector<int32_t> encode(std::string_view text, const TextOrigin& origin) const override;
  /// The added token that the model names, or that published models part documents with (end_of_text_names).
  std::optional<int32_t> end_of_text() const override { return end_of_text_; }
  size_t find_cut(std::string_view text, size_t limit) const override;
  std::string to_json() const override;

 private:
  struct Place {  ///< of a piece of text, for messages
    const std::string& file;
    uint64_t offset;
  };
  struct Merge {
    int32_t rank, merged;
  };

  void append_token(std::string& out, int32_t id) const override {
    out += model_.tokens[static_cast<size_t>(id)];
  }
  const AddedToken* added_at(std::string_view text, bool normalized) const;
  /// Added tokens with that flag, and what lies between them.
  void encode_marked(std::string_view text, bool normalized, const Place& place,
                     std::vector<int32_t>& ids) const;
  void encode_plain(std::string_view text, const Place& place, std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, const Place& place, std::vector<int32_t>& ids) const;
  std::vector<int32_t> merge_word(std::string_view word, const Place& place) const;
  const Merge* find_merge(int32_t left, int32_t right) const;

  BpeModel model_;
  Pretokenizer pretokenizer_;
  std::array<int32_t, 256> byte_ids_;
  std::unordered_map<uint64_t, Merge> merges_;                 ///< by pair
  std::unordered_map<std::string_view, int32_t> whole_words_;  ///< filled for ignore_merges only
  /// By flag `normalized` and first byte, the longest first.
  std::array<std::array<std::vector<const AddedToken*>, 256>, 2> added_by_byte_;
  std::optional<int32_t> end_of_text_;
  std::unique_ptr<WordCache> cache_;
};

}  // namespace trireme
