#include "runtime/base/error.h"
#include "runtime/text/grammar/byte_grammar.h"
#include "runtime/text/grammar/json_rules.h"

namespace trireme {

ByteMatcher::ByteMatcher(std::shared_ptr<const ByteGrammar> grammar) : grammar_(std::move(grammar)) {
  TRIREME_CHECK(grammar_);
  stack_.start(*grammar_, threads_, is_complete_);
}

bool ByteMatcher::accept(std::string_view bytes) {
  if (bytes.empty()) return true;
  std::vector<ByteThread> threads = threads_, next;
  bool is_complete = is_complete_;
  const ByteStack::Size before = stack_.size();
  for (const char c : bytes) {
    stack_.step(*grammar_, threads, static_cast<uint8_t>(c), next, is_complete);
    if (next.empty() && !is_complete) {
      stack_.shrink(before);
      return false;
    }
    threads.swap(next);
  }
  if (stack_.size().nodes > compact_beyond_) {
    stack_.compact(threads);
    compact_beyond_ = 2 * stack_.size().nodes + kSpareNodes;
  }
  threads_ = std::move(threads);
  is_complete_ = is_complete;
  return true;
}

std::shared_ptr<const ByteGrammar> json_object_grammar() {
  ProgramBuilder builder;
  const JsonRules rules = make_json_rules(builder);
  const uint32_t object = builder.call(rules.object, builder.ret(), {0, JsonBounds::kNesting - 1});
  const uint32_t start = builder.call(rules.space, object);
  const auto is_ending = builder.find_ending();
  return std::make_shared<const ByteGrammar>(std::move(builder).finish(start, is_ending));
}

}  // namespace trireme
