#include "launch/serve/protocol/request/grammar_store.h"

#include <algorithm>
#include <utility>

namespace trireme::launch {

std::shared_ptr<const ByteGrammar> GrammarStore::find(const std::string& text) {
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::find(entries_, text, &Entry::text);
  if (at == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, at);
  return at->grammar;
}

// Compiled without the lock: where two threads did the same work, the first one's grammar is everybody's.
std::shared_ptr<const ByteGrammar> GrammarStore::keep(std::string text,
                                                      std::shared_ptr<const ByteGrammar> grammar) {
  const std::lock_guard lock(mutex_);
  const auto at = std::ranges::find(entries_, text, &Entry::text);
  if (at != entries_.end()) return at->grammar;
  entries_.push_front({std::move(text), grammar});
  if (entries_.size() > kMost) entries_.pop_back();
  return grammar;
}

std::shared_ptr<const ByteGrammar> GrammarStore::of_schema(const nlohmann::ordered_json& schema) {
  std::string text = schema.dump();
  if (text.size() > kLongest) return json_schema_grammar(schema);
  if (auto grammar = find(text)) return grammar;
  return keep(std::move(text), json_schema_grammar(schema));
}

std::shared_ptr<const ByteGrammar> GrammarStore::of_objects() {
  if (auto grammar = find("")) return grammar;
  return keep("", json_object_grammar());
}

}  // namespace trireme::launch
