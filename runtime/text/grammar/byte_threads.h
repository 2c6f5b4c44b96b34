// The places of a ByteGrammar that a text can have reached, with one stack shared by all of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/text/grammar/byte_program.h"

namespace trireme {

/// A state of ByteOp::bytes in a call of a rule.
struct ByteThread {
  uint32_t state = 0;
  uint32_t node = 0;  ///< of the stack: the call it is in
  ByteCounter counter;
  bool operator==(const ByteThread&) const = default;
};

/// A graph-structured stack (Tomita 1987; Scott and Johnstone 2010): calls of one rule at one place of the
/// text are one node, however many callers wait for it, so that alternatives that begin alike do not
/// multiply.
class ByteStack {
 public:
  struct Size {
    size_t nodes, edges;
  };

  ByteStack() : nodes_(1) {}

  Size size() const { return {nodes_.size(), edges_.size()}; }
  /// Forgets what was made since.
  void shrink(Size size);
  /// Keeps what `threads` can return to, and renumbers their nodes.
  void compact(std::span<ByteThread> threads);

  /// What can be reached from the start of `grammar`; is_complete: also the end.
  void start(const ByteGrammar& grammar, std::vector<ByteThread>& to, bool& is_complete);
  /// The same with `byte` behind `from`.
  void step(const ByteGrammar& grammar, std::span<const ByteThread> from, uint8_t byte,
            std::vector<ByteThread>& to, bool& is_complete);
  /// Where the callers of `node` go on.
  void leave(const ByteGrammar& grammar, uint32_t node, std::vector<ByteThread>& to, bool& is_complete);

 private:
  struct Node {
    uint32_t rule = 0;
    ByteCounter counter;
    uint32_t first_caller = ByteGrammar::kNone;
    uint64_t left_at = 0;  ///< the step in which it was last returned from
  };
  struct Caller {
    ByteThread then;
    uint32_t next = ByteGrammar::kNone;  ///< caller of the same node
  };
  struct Walk {
    const ByteGrammar& grammar;
    std::vector<ByteThread>& to;
    bool& is_complete;
  };

  void begin_step();
  void close(Walk walk);
  void enter(Walk walk, const ByteThread& caller, const ByteState& call);
  void return_from(Walk walk, uint32_t node);

  std::vector<Node> nodes_;  ///< the first is the whole text
  std::vector<Caller> edges_;
  std::vector<ByteThread> pending_;
  size_t first_new_ = 1;  ///< nodes of this step are from here on
  uint64_t step_ = 0;
};

}  // namespace trireme
