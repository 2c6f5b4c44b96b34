// TokenMasks: which tokens of a vocabulary a grammar allows next.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/text/grammar/byte_grammar.h"

namespace trireme {

/// Made once for a vocabulary; every call is safe from several threads. What a state of a grammar allows
/// whatever surrounds it is computed once and kept, up to some 64 MiB of it.
class TokenMasks {
 public:
  /// `tokens[t]`: the bytes that token t adds to a text; empty: it may never be drawn (special tokens).
  explicit TokenMasks(std::vector<std::string> tokens);
  ~TokenMasks();

  int64_t num_tokens() const;
  /// Bit t % 64 of word t / 64 of `allowed`, which has room for all tokens: token t can follow in `matcher`.
  void fill(const ByteMatcher& matcher, std::span<uint64_t> allowed) const;
  std::string_view bytes(int32_t token) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
