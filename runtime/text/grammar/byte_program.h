// ByteGrammar: rules over bytes as states of a pushdown automaton, with calls and counters.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace trireme {

/// How many of something must still come, and how many may.
struct ByteCounter {
  static constexpr uint32_t kUnlimited = std::numeric_limits<uint32_t>::max();
  uint32_t need = 0;
  uint32_t room = kUnlimited;
  /// One of them has come; false: there was no room.
  bool take() {
    if (room == 0) return false;
    if (room != kUnlimited) --room;
    if (need > 0) --need;
    return true;
  }
  bool operator==(const ByteCounter&) const = default;
};

struct ByteEdge {
  uint8_t first, last;  ///< bytes, both included
  uint32_t next;
};

enum class ByteOp : uint8_t {
  bytes,   ///< reads one: edges [a, b), sorted and disjoint; c: its table + 1, or 0
  split,   ///< goes on in any of targets [a, b)
  call,    ///< rule at a, then b; the rule's counter is limits[c], or as kSameCounter and kLessRoom say
  take,    ///< one counted; where there is no room nothing goes on
  enough,  ///< goes on where no more are needed
  ret      ///< the rule ends
};

struct ByteState {
  ByteOp op = ByteOp::ret;
  uint32_t a = 0, b = 0, c = 0;
};

/// From every state that a text can reach the text can be completed. Rules read at least a byte, white space
/// alone excepted.
class ByteGrammar {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  static constexpr uint32_t kSameCounter = kNone - 1;  ///< the caller's
  static constexpr uint32_t kLessRoom = kNone - 2;     ///< the caller's with one room less; none: no call

  /// The state behind a state of `bytes`; kNone: the byte cannot follow.
  uint32_t next(uint32_t state, uint8_t byte) const {
    const ByteState& from = states[state];
    if (from.c != 0) return tables[from.c - 1][byte];
    for (uint32_t i = from.a; i < from.b; ++i) {
      if (byte <= edges[i].last) return byte >= edges[i].first ? edges[i].next : kNone;
    }
    return kNone;
  }

  std::vector<ByteState> states;
  std::vector<ByteEdge> edges;
  std::vector<uint32_t> targets;
  std::vector<ByteCounter> limits;
  std::vector<std::array<uint32_t, 256>> tables;  ///< of states with many edges
  uint32_t start = 0;
  uint32_t num_shared = 0;  ///< the states before it are the same in every grammar
};

}  // namespace trireme
