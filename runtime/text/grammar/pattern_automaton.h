// Regular expressions as deterministic automata over code points, and those as bytes of JSON strings.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/text/grammar/pattern_syntax.h"
#include "runtime/text/grammar/program_builder.h"

namespace trireme {

struct CodePointEdge {
  char32_t first, last;
  uint32_t next;
};

/// States by number, from 0.
struct PatternAutomaton {
  struct State {
    std::vector<CodePointEdge> edges;  ///< sorted, disjoint
    bool ends = false;
  };
  std::vector<State> states;
};

/// Texts in which the expression matches somewhere (JSON Schema's meaning), by subset construction.
/// UserError(bad_input) as parse_pattern(), or where it takes too many states or more than `steps`, which are
/// taken from it.
PatternAutomaton compile_pattern(std::string_view text, size_t& steps);

/// Of these texts those of `least` to `most` code points. UserError(bad_input) where that takes too many
/// states.
PatternAutomaton of_length(const PatternAutomaton& automaton, uint32_t least, uint32_t most);

/// The strings in quotation marks whose texts it accepts, spelled as json_spelling().
uint32_t string_of(ProgramBuilder& builder, const PatternAutomaton& automaton, uint32_t next);

}  // namespace trireme
