// Grammars of JSON on any bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::test {

/// "S" and a JSON schema: it is refused, or texts drawn from its grammar are JSON. Anything else: the grammar
/// of objects accepts it where it is an object within the bounds, and nowhere else.
bool run_grammar(std::string_view input);
std::vector<std::string> grammar_seeds();

}  // namespace trireme::test
