// ByteGrammar: languages of JSON texts, byte by byte.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/text/grammar/byte_threads.h"

namespace trireme {

/// Immutable, shared by any number of matchers.
class ByteGrammar;

/// Any JSON object (RFC 8259), UTF-8 whole, within JsonBounds.
std::shared_ptr<const ByteGrammar> json_object_grammar();

/// The JSON texts that `schema` allows (docs/structured-output.md), members of objects in the order of
/// "properties". UserError (bad_input) naming the place (a JSON pointer) of a keyword that is not supported,
/// or that allows no value.
std::shared_ptr<const ByteGrammar> json_schema_grammar(const nlohmann::ordered_json& schema);

/// Where in a text of the grammar one is. Copies are cheap: their size is the depth of the text.
class ByteMatcher {
 public:
  explicit ByteMatcher(std::shared_ptr<const ByteGrammar> grammar);

  /// Whether the bytes can follow; then it stands behind them, else it has not moved.
  bool accept(std::string_view bytes);
  /// The bytes so far are a whole text of the grammar.
  bool is_complete() const { return is_complete_; }
  /// Nothing can follow.
  bool is_at_end() const { return threads_.empty(); }

 private:
  friend class TokenMasks;
  std::shared_ptr<const ByteGrammar> grammar_;
  std::vector<ByteThread> threads_;
  ByteStack stack_;
  bool is_complete_ = false;
  static constexpr size_t kSpareNodes = 32;
  size_t compact_beyond_ = kSpareNodes;  ///< nodes of the stack
};

}  // namespace trireme
