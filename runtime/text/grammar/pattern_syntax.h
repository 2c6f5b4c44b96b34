// Regular expressions of JSON schemas (ECMA-262's syntax with the flag u), read into a tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct CodePointRange {
  char32_t first, last;  ///< both included
};

/// Sorted, disjoint, none of them adjacent; without surrogates.
using CodePointSet = std::vector<CodePointRange>;
CodePointSet normalized(CodePointSet set);
CodePointSet complement(const CodePointSet& normal);

enum class PatternKind : uint8_t { characters, sequence, choice, repeat, text_begin, text_end };

struct PatternNode {
  PatternKind kind = PatternKind::sequence;
  CodePointSet characters = {};
  std::vector<uint32_t> parts = {};  ///< numbers of nodes; of `repeat` one
  uint32_t least = 0, most = 0;      ///< of `repeat`; kUnlimited: no bound
};

struct PatternTree {
  static constexpr uint32_t kUnlimited = UINT32_MAX;
  std::vector<PatternNode> nodes;
  uint32_t root = 0;
};

/// UserError(bad_input), "at byte N: ...", for what is no regular expression, or can be no automaton: looking
/// around, references to groups, word boundaries.
PatternTree parse_pattern(std::string_view text);

}  // namespace trireme
