// AttentionPattern: what the queries of a block see, and its text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/ops/attention/key_pattern.h"

namespace trireme {

/// window 0 and no keys: all before it.
struct AttentionPattern {
  int64_t window = 0;
  ops::KeyPattern keys;

  bool is_full() const { return window == 0 && !keys; }
  friend bool operator==(const AttentionPattern&, const AttentionPattern&) = default;
};

/// Of blocks one after the other, and again from the first: "full; window=64 sinks=4; window=64 stride=64/16;
/// blocks=64 summary=8 reach=4; window=64 globals=0,100"; none of an empty text. UserError (usage) naming the
/// word and what would do.
std::vector<AttentionPattern> read_attention_patterns(std::string_view text);
std::string to_text(const AttentionPattern& pattern);
std::string to_text(const std::vector<AttentionPattern>& patterns);

}  // namespace trireme
