#include "runtime/text/grammar/byte_threads.h"

#include <algorithm>

namespace trireme {

void ByteStack::shrink(Size size) {
  nodes_.resize(size.nodes);
  edges_.resize(size.edges);
}

void ByteStack::begin_step() {
  ++step_;
  first_new_ = nodes_.size();
}

void ByteStack::start(const ByteGrammar& grammar, std::vector<ByteThread>& to, bool& is_complete) {
  begin_step();
  to.clear();
  is_complete = false;
  pending_.push_back({grammar.start, 0, {}});
  close({grammar, to, is_complete});
}

void ByteStack::step(const ByteGrammar& grammar, std::span<const ByteThread> from, uint8_t byte,
                     std::vector<ByteThread>& to, bool& is_complete) {
  begin_step();
  to.clear();
  is_complete = false;
  for (const ByteThread& thread : from) {
    const uint32_t next = grammar.next(thread.state, byte);
    if (next == ByteGrammar::kNone) continue;
    pending_.push_back({next, thread.node, thread.counter});
    close({grammar, to, is_complete});
  }
}

void ByteStack::leave(const ByteGrammar& grammar, uint32_t node, std::vector<ByteThread>& to,
                      bool& is_complete) {
  begin_step();
  to.clear();
  is_complete = false;
  return_from({grammar, to, is_complete}, node);
  close({grammar, to, is_complete});
}

// All that is reached without another byte.
void ByteStack::close(Walk walk) {
  const ByteGrammar& grammar = walk.grammar;
  while (!pending_.empty()) {
    ByteThread at = pending_.back();
    pending_.pop_back();
    const ByteState& state = grammar.states[at.state];
    switch (state.op) {
      case ByteOp::bytes:
        if (std::ranges::find(walk.to, at) == walk.to.end()) walk.to.push_back(at);
        break;
      case ByteOp::split:
        for (uint32_t i = state.b; i-- > state.a;)
          pending_.push_back({grammar.targets[i], at.node, at.counter});
        break;
      case ByteOp::call:
        enter(walk, at, state);
        break;
      case ByteOp::take:
        if (at.counter.take()) pending_.push_back({state.a, at.node, at.counter});
        break;
      case ByteOp::enough:
        if (at.counter.need == 0) pending_.push_back({state.a, at.node, at.counter});
        break;
      case ByteOp::ret:
        return_from(walk, at.node);
        break;
    }
  }
}

void ByteStack::enter(Walk walk, const ByteThread& caller, const ByteState& call) {
  ByteCounter counter = caller.counter;
  if (call.c == ByteGrammar::kLessRoom) {
    if (counter.room == 0) return;
    --counter.room;
  } else if (call.c != ByteGrammar::kSameCounter) {
    counter = walk.grammar.limits[call.c];
  }
  const auto first = nodes_.begin() + static_cast<std::ptrdiff_t>(first_new_);
  const auto found = std::find_if(
      first, nodes_.end(), [&](const Node& node) { return node.rule == call.a && node.counter == counter; });
  const auto node = static_cast<uint32_t>(found - nodes_.begin());
  const bool is_new = found == nodes_.end();
  if (is_new) nodes_.push_back({.rule = call.a, .counter = counter});
  const ByteThread then{call.b, caller.node, caller.counter};
  for (uint32_t i = nodes_[node].first_caller; i != ByteGrammar::kNone; i = edges_[i].next) {
    if (edges_[i].then == then) return;
  }
  edges_.push_back({then, nodes_[node].first_caller});
  nodes_[node].first_caller = static_cast<uint32_t>(edges_.size() - 1);
  if (is_new) pending_.push_back({call.a, node, counter});
  // Nothing but white space ends where it began; who calls it later misses that end.
  if (nodes_[node].left_at == step_) pending_.push_back(then);
}

void ByteStack::return_from(Walk walk, uint32_t node) {
  if (nodes_[node].left_at == step_) return;
  nodes_[node].left_at = step_;
  if (node == 0) walk.is_complete = true;
  for (uint32_t i = nodes_[node].first_caller; i != ByteGrammar::kNone; i = edges_[i].next)
    pending_.push_back(edges_[i].then);
}

void ByteStack::compact(std::span<ByteThread> threads) {
  std::vector<bool> is_used(nodes_.size());
  is_used[0] = true;
  std::vector<uint32_t> pending;
  const auto use = [&](uint32_t node) {
    if (is_used[node]) return;
    is_used[node] = true;
    pending.push_back(node);
  };
  for (const ByteThread& thread : threads) use(thread.node);
  while (!pending.empty()) {
    const uint32_t node = pending.back();
    pending.pop_back();
    for (uint32_t i = nodes_[node].first_caller; i != ByteGrammar::kNone; i = edges_[i].next)
      use(edges_[i].then.node);
  }
  std::vector<uint32_t> number(nodes_.size());
  std::vector<Node> nodes;
  std::vector<Caller> edges;
  for (size_t node = 0; node < nodes_.size(); ++node) {
    if (is_used[node]) {
      number[node] = static_cast<uint32_t>(nodes.size());
      nodes.push_back(nodes_[node]);
    }
  }
  for (Node& node : nodes) {
    uint32_t from = node.first_caller;
    if (from == ByteGrammar::kNone) continue;
    node.first_caller = static_cast<uint32_t>(edges.size());
    while (from != ByteGrammar::kNone) {
      Caller caller = edges_[from];
      from = caller.next;
      caller.then.node = number[caller.then.node];
      if (from != ByteGrammar::kNone) caller.next = static_cast<uint32_t>(edges.size() + 1);
      edges.push_back(caller);
    }
  }
  for (ByteThread& thread : threads) thread.node = number[thread.node];
  nodes_ = std::move(nodes);
  edges_ = std::move(edges);
}

}  // namespace trireme
