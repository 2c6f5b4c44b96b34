// TokenFilter: which tokens of the vocabulary may come next in one text.
#pragma once

#include <cstdint>
#include <span>

namespace trireme {

/// Belongs to one text; used on the first rank by one thread at a time.
class TokenFilter {
 public:
  virtual ~TokenFilter() = default;
  /// Bit t % 64 of word t / 64: token t may come next; tokens beyond the words may not. At least one may:
  /// where the text can only end, its end tokens. Valid until accept().
  virtual std::span<const uint64_t> allowed() = 0;
  /// The text goes on with `token`, which was allowed.
  virtual void accept(int32_t token) = 0;
};

}  // namespace trireme
