// KeyLimits: which keys queries see under a window and a pattern, in ranges of places.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/module/parameter.h"
#include "runtime/ops/attention/key_pattern.h"

namespace trireme {

/// What a causal query sees of the keys before it (AttentionShape).
struct KeyLimits {
  int64_t window = 0;
  ops::KeyPattern pattern = {};

  /// Of `keys` those, in order, that some query of `queries` sees; both are places of one document.
  std::vector<Part> seen_by(const Part& queries, const Part& keys) const;
  /// No query of `queries` at this place or behind it sees one of `keys`, which come before them; at most the
  /// end of `queries`.
  int64_t end_of_sight(const Part& queries, const Part& keys) const;
  /// Whether, however long a document, a query sees a bounded number of keys.
  bool is_bounded() const;

  friend bool operator==(const KeyLimits&, const KeyLimits&) = default;
};

}  // namespace trireme
