// GrammarFilter: a text that has to be of a grammar, token by token.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "models/inference/token_filter.h"
#include "runtime/text/grammar/byte_grammar.h"
#include "runtime/text/grammar/token_masks.h"

namespace trireme::launch {

/// End tokens are allowed where the text is whole, and where no token of the vocabulary can go on (one that
/// cannot spell what has to come: then the text ends unfinished).
class GrammarFilter final : public TokenFilter {
 public:
  /// `end_tokens`: at least one, of the vocabulary; whatever bytes they have, they only end the text.
  GrammarFilter(std::shared_ptr<const ByteGrammar> grammar, std::shared_ptr<const TokenMasks> masks,
                std::span<const int32_t> end_tokens);

  std::span<const uint64_t> allowed() override;
  void accept(int32_t token) override;

  /// The text so far is one of the grammar.
  bool is_complete() const { return matcher_.is_complete(); }

 private:
  bool is_end(int32_t token) const;

  ByteMatcher matcher_;
  std::shared_ptr<const TokenMasks> masks_;
  std::vector<int32_t> end_tokens_;
  std::vector<uint64_t> allowed_;
  bool is_filled_ = false;  ///< allowed_ is of this place
};

}  // namespace trireme::launch
