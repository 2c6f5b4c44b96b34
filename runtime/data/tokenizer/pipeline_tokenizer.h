// A tokenizer put together from the steps that published files name.
#pragma once

#include <memory>

#include "runtime/data/tokenizer/added_tokens.h"
#include "runtime/data/tokenizer/models/word_model.h"
#include "runtime/data/tokenizer/steps/decoder.h"
#include "runtime/data/tokenizer/steps/normalizer.h"
#include "runtime/data/tokenizer/steps/splitter.h"
#include "runtime/data/tokenizer/text_list.h"
#include "runtime/data/tokenizer/tokenizer.h"

namespace trireme {

struct TokenizerParts {
  std::string kind;                 ///< of the model: "bpe", "unigram", "wordpiece", "wordlevel"
  std::vector<std::string> tokens;  ///< by id, as the file spells them; empty for a free id
  bool tokens_are_bytes = false;    ///< but for those of `added`; with decodes_bytes alone
  std::vector<AddedToken> added;    ///< found in texts, the earlier first where two have one content
  bool added_is_normal = false;     ///< their contents are of the normalized text already
  std::vector<int32_t> control;     ///< special, but never found in texts
  Normalizer normalizer;            ///< null for none, as all that follow but the model
  Splitter splitter;
  std::shared_ptr<const WordModel> model;
  bool decodes_bytes = false;            ///< the decoder is the byte alphabet alone
  std::vector<DecodeStep> decode_steps;  ///< otherwise; none: tokens with a blank between each two
  bool has_decoder = true;
  bool decodes_in_order = true;  ///< no step of the decoder looks across tokens
  std::vector<int32_t> begin_ids, end_ids;
  std::optional<int32_t> end_of_text;
};

/// Hugging Face's order: added tokens that are not normalized are cut out of the text, what is between is
/// normalized, of that the other added tokens are cut out, the rest is split into words, and each becomes
/// ids.
class PipelineTokenizer : public Tokenizer {
 public:
  /// `json` is what to_json() gives.
  PipelineTokenizer(TokenizerParts parts, std::string json);

  using Tokenizer::encode;
  std::string_view kind() const override { return parts_.kind; }
  int64_t vocab_size() const override { return static_cast<int64_t>(tokens_.size()); }
  std::vector<int32_t> encode(std::string_view text, const TextOrigin& origin) const override;
  std::optional<int32_t> end_of_text() const override { return parts_.end_of_text; }
  bool is_special(int32_t id) const override;
  std::span<const int32_t> begin_ids() const override { return parts_.begin_ids; }
  std::span<const int32_t> end_ids() const override { return parts_.end_ids; }
  /// No position is known to be safe.
  size_t find_cut(std::string_view text, size_t) const override { return text.size(); }
  std::string to_json() const override { return json_; }
  bool joins_bytes() const override { return parts_.decodes_bytes; }
  std::optional<uint8_t> raw_byte(int32_t id) const override;

 protected:
  std::string decode_known(std::span<const int32_t> ids) const override;
  /// As the decoder takes it: where it decodes bytes these.
  std::string_view token(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }

 private:
  void append_token(std::string& out, int32_t id) const override;
  bool settles_text(int32_t id) const override;
  void encode_raw(const TextPlace& place, bool is_first, std::vector<int32_t>& ids) const;
  void encode_normal(WordView piece, const TextPlace& place, std::vector<int32_t>& ids) const;

  TokenizerParts parts_;  ///< without tokens
  TextList tokens_;
  std::string json_;
  std::vector<bool> is_special_;
  AddedTokenFinder raw_, normal_;  ///< added tokens by their flag `normalized`
};

/// The id of the token of that name, else of one of the names that published models part documents with,
/// among `marks` (contents and ids). UserError(usage) when `name` is given and is none of them.
std::optional<int32_t> find_end_of_text(const std::vector<std::pair<std::string, int32_t>>& marks,
                                        const std::string& name);

}  // namespace trireme
