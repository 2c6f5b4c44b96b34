// Byte-level byte-pair encoding (Sennrich et al. 2016; over bytes as in Radford et al. 2019).
#pragma once

#include <memory>

#include "runtime/data/tokenizer/bpe_model.h"
#include "runtime/data/tokenizer/pattern/pretokenizer.h"
#include "runtime/data/tokenizer/pipeline_tokenizer.h"

namespace trireme {

/// Tokenizers that a BpeModel describes in full: those that this program trains, and most published ones over
/// bytes. Gives the ids that Hugging Face's tokenizers gives without its post-processor.
class BpeTokenizer final : public PipelineTokenizer {
 public:
  /// `model` as the readers and the trainer make it: ids without gaps, merges of known tokens.
  /// UserError(bad_input) when a pattern does not compile.
  explicit BpeTokenizer(BpeModel model);
  ~BpeTokenizer() override;

  size_t find_cut(std::string_view text, size_t limit) const override;
  std::string to_json() const override;
  /// Does not depend on the post-processor, which changes no ids of a text.
  uint64_t fingerprint() const override;

 private:
  struct Made;
  explicit BpeTokenizer(Made made);
  BpeModel whole_model() const;

  BpeModel model_;  ///< without its tokens, which PipelineTokenizer has
  std::unique_ptr<const Pretokenizer> pretokenizer_;
};

}  // namespace trireme
