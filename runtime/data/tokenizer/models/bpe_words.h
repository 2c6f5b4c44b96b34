// Byte-pair encoding of words (Sennrich et al. 2016), over bytes or over characters.
#pragma once

#include <array>
#include <optional>

#include "runtime/data/tokenizer/models/pair_table.h"
#include "runtime/data/tokenizer/models/word_model.h"

namespace trireme {

struct BpeOptions {
  bool over_bytes = false;     ///< the vocabulary's keys are bytes, not their spelling
  bool ignore_merges = false;  ///< a word that is a token as a whole is not merged step by step
  bool byte_fallback = false;  ///< a character without a token becomes <0xE4> and so on
  bool fuse_unknown = false;   ///< unknown characters in succession are one unknown token
  std::optional<int32_t> unknown;
  std::string continuing_prefix, word_suffix;  ///< of all symbols but the first; of the last
  /// Of characters that tokens have, without being tokens themselves: they may merge, alone they are unknown.
  int32_t first_virtual_id = INT32_MAX;
};

class BpeWords final : public WordModel {
 public:
  BpeWords(Vocabulary vocabulary, PairTable merges, const BpeOptions& options);
  void encode(std::string_view word, const TextPlace& place, std::vector<int32_t>& ids) const override;

 private:
  struct Symbol {
    int32_t id;  // -1: merged into the symbol on its left
    int32_t previous, next;
  };
  std::vector<int32_t> ids_of(std::string_view word, const TextPlace& place) const;
  std::vector<int32_t> symbols_of(std::string_view word, const TextPlace& place) const;
  void add_unknown(std::string_view character, const TextPlace& place, bool& follows_unknown,
                   std::vector<int32_t>& ids) const;
  std::optional<int32_t> find(std::string_view token) const;
  std::vector<int32_t> merged(std::vector<int32_t> ids) const;
  void replace_virtual(const TextPlace& place, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  PairTable merges_;
  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_, fallback_ids_;
  std::vector<std::string> virtual_characters_;
  mutable WordCache cache_;
};

}  // namespace trireme
