// Builds a ByteGrammar from its ends to its beginnings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/grammar/byte_program.h"

namespace trireme {

/// Every function gives the state that reads what it says and goes on at `next`.
class ProgramBuilder {
 public:
  static constexpr size_t kMaxStates = 200'000;

  /// A state that is defined later. UserError(bad_input) where there are too many.
  uint32_t reserve();
  void define(uint32_t state, ByteState as) { grammar_.states[state] = as; }
  /// `edges` in any order, disjoint.
  void define_bytes(uint32_t state, std::vector<ByteEdge> edges);
  void define_split(uint32_t state, const std::vector<uint32_t>& targets);

  uint32_t bytes(std::vector<ByteEdge> edges);
  uint32_t byte(char c, uint32_t next);
  uint32_t literal(std::string_view text, uint32_t next);
  /// Any one of `texts`, none of them empty; sorts them.
  uint32_t any_literal(std::vector<std::string> texts, uint32_t next);
  uint32_t split(const std::vector<uint32_t>& targets);
  uint32_t call(uint32_t rule, uint32_t next, ByteCounter counter = {});
  uint32_t call_with(uint32_t rule, uint32_t next, uint32_t how);  ///< kSameCounter, kLessRoom
  uint32_t take(uint32_t next) { return add({ByteOp::take, next, 0, 0}); }
  uint32_t enough(uint32_t next) { return add({ByteOp::enough, next, 0, 0}); }
  uint32_t ret() { return add({ByteOp::ret, 0, 0, 0}); }

  /// The edges of a state that was made by bytes().
  std::vector<ByteEdge> edges_of(uint32_t state) const;
  /// What is made from here on is this grammar's own.
  void end_shared() { grammar_.num_shared = static_cast<uint32_t>(grammar_.states.size()); }

  /// From `state` some text leads to its rule's end.
  std::vector<bool> find_ending() const;
  /// The grammar, without ways that lead nowhere; `is_ending`: find_ending().
  ByteGrammar finish(uint32_t start, const std::vector<bool>& is_ending) &&;

 private:
  uint32_t add(ByteState state);

  ByteGrammar grammar_;
};

}  // namespace trireme
