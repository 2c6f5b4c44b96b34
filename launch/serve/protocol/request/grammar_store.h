// GrammarStore: grammars of response_format, for requests that ask for the same one.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/text/grammar/byte_grammar.h"

namespace trireme::launch {

/// The grammars that were asked for last; every call is safe from several threads. What TokenMasks has
/// computed for a grammar serves all requests that share it.
class GrammarStore {
 public:
  static constexpr size_t kMost = 32;
  static constexpr size_t kLongest =
      64 << 10;  ///< bytes of a schema that is kept; longer ones are compiled anew

  /// As json_schema_grammar() and its errors.
  std::shared_ptr<const ByteGrammar> of_schema(const nlohmann::ordered_json& schema);
  std::shared_ptr<const ByteGrammar> of_objects();

 private:
  struct Entry {
    std::string text;  ///< of the schema; empty: of any object
    std::shared_ptr<const ByteGrammar> grammar;
  };
  std::shared_ptr<const ByteGrammar> find(const std::string& text);
  std::shared_ptr<const ByteGrammar> keep(std::string text, std::shared_ptr<const ByteGrammar> grammar);

  std::mutex mutex_;
  std::list<Entry> entries_;  ///< the last one asked for first
};

}  // namespace trireme::launch
