#include "runtime/text/grammar/program_builder.h"

#include <algorithm>

#include "runtime/base/error.h"

namespace trireme {
namespace {

uint32_t size32(size_t size) { return static_cast<uint32_t>(size); }

constexpr uint32_t kMostEdgesWithoutTable = 4;
constexpr size_t kMostTables = 4096;  // of a kibibyte each

}  // namespace

uint32_t ProgramBuilder::reserve() {
  if (grammar_.states.size() >= kMaxStates) {
    throw_bad_input("the JSON schema is too large: its automaton has more than {} states", kMaxStates);
  }
  grammar_.states.push_back({});
  return size32(grammar_.states.size() - 1);
}

uint32_t ProgramBuilder::add(ByteState state) {
  const uint32_t number = reserve();
  define(number, state);
  return number;
}

void ProgramBuilder::define_bytes(uint32_t state, std::vector<ByteEdge> edges) {
  std::ranges::sort(edges, {}, &ByteEdge::first);
  for (size_t i = 1; i < edges.size(); ++i) TRIREME_CHECK(edges[i - 1].last < edges[i].first);
  const uint32_t begin = size32(grammar_.edges.size());
  grammar_.edges.insert(grammar_.edges.end(), edges.begin(), edges.end());
  define(state, {ByteOp::bytes, begin, size32(grammar_.edges.size()), 0});
}

void ProgramBuilder::define_split(uint32_t state, const std::vector<uint32_t>& targets) {
  const uint32_t begin = size32(grammar_.targets.size());
  grammar_.targets.insert(grammar_.targets.end(), targets.begin(), targets.end());
  define(state, {ByteOp::split, begin, size32(grammar_.targets.size()), 0});
}

uint32_t ProgramBuilder::bytes(std::vector<ByteEdge> edges) {
  const uint32_t state = reserve();
  define_bytes(state, std::move(edges));
  return state;
}

uint32_t ProgramBuilder::byte(char c, uint32_t next) {
  const auto value = static_cast<uint8_t>(c);
  return bytes({{value, value, next}});
}

uint32_t ProgramBuilder::literal(std::string_view text, uint32_t next) {
  for (size_t i = text.size(); i-- > 0;) next = byte(text[i], next);
  return next;
}

uint32_t ProgramBuilder::any_literal(std::vector<std::string> texts, uint32_t next) {
  std::ranges::sort(texts);
  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> children;  // by byte
    bool ends = false;
  };
  std::vector<Node> nodes(1);
  for (const std::string& text : texts) {
    TRIREME_CHECK(!text.empty());
    uint32_t at = 0;
    for (const char c : text) {
      const auto value = static_cast<uint8_t>(c);
      // Sorted: what is shared with texts before is the last child.
      if (nodes[at].children.empty() || nodes[at].children.back().first != value) {
        nodes[at].children.emplace_back(value, size32(nodes.size()));
        nodes.emplace_back();
      }
      at = nodes[at].children.back().second;
    }
    nodes[at].ends = true;
  }
  std::vector<uint32_t> state(nodes.size(), next);
  for (size_t i = nodes.size(); i-- > 0;) {  // children come after their parents
    if (nodes[i].children.empty()) continue;
    std::vector<ByteEdge> edges;
    for (const auto& child : nodes[i].children)
      edges.push_back({child.first, child.first, state[child.second]});
    state[i] = bytes(std::move(edges));
    if (nodes[i].ends) state[i] = split({state[i], next});
  }
  return state[0];
}

uint32_t ProgramBuilder::split(const std::vector<uint32_t>& targets) {
  if (targets.size() == 1) return targets[0];
  const uint32_t state = reserve();
  define_split(state, targets);
  return state;
}

uint32_t ProgramBuilder::call(uint32_t rule, uint32_t next, ByteCounter counter) {
  auto& limits = grammar_.limits;
  if (limits.empty()) limits.emplace_back();  // most calls count nothing
  const bool is_known = counter == limits.front() || counter == limits.back();
  if (!is_known) limits.push_back(counter);
  const size_t index = counter == limits.front() ? 0 : limits.size() - 1;
  return add({ByteOp::call, rule, next, size32(index)});
}

uint32_t ProgramBuilder::call_with(uint32_t rule, uint32_t next, uint32_t how) {
  return add({ByteOp::call, rule, next, how});
}

std::vector<ByteEdge> ProgramBuilder::edges_of(uint32_t state) const {
  const ByteState& of = grammar_.states[state];
  TRIREME_CHECK(of.op == ByteOp::bytes);
  return {grammar_.edges.begin() + of.a, grammar_.edges.begin() + of.b};
}

std::vector<bool> ProgramBuilder::find_ending() const {
  const auto& g = grammar_;
  const size_t size = g.states.size();
  // waiting[s]: states to look at again once s ends.
  std::vector<std::vector<uint32_t>> waiting(size);
  std::vector<bool> ends(size);
  std::vector<uint32_t> pending;
  const auto mark = [&](uint32_t s) {
    if (ends[s]) return;
    ends[s] = true;
    pending.push_back(s);
  };
  for (uint32_t s = 0; s < size; ++s) {
    const ByteState& state = g.states[s];
    if (state.op == ByteOp::ret) mark(s);
    if (state.op == ByteOp::take || state.op == ByteOp::enough) waiting[state.a].push_back(s);
    if (state.op == ByteOp::call) {
      waiting[state.a].push_back(s);
      waiting[state.b].push_back(s);
    }
    for (uint32_t i = state.a; state.op == ByteOp::bytes && i < state.b; ++i)
      waiting[g.edges[i].next].push_back(s);
    for (uint32_t i = state.a; state.op == ByteOp::split && i < state.b; ++i)
      waiting[g.targets[i]].push_back(s);
  }
  while (!pending.empty()) {
    const uint32_t done = pending.back();
    pending.pop_back();
    for (const uint32_t s : waiting[done]) {
      const ByteState& state = g.states[s];
      if (state.op != ByteOp::call || (ends[state.a] && ends[state.b])) mark(s);
    }
  }
  return ends;
}

ByteGrammar ProgramBuilder::finish(uint32_t start, const std::vector<bool>& is_ending) && {
  ByteGrammar& g = grammar_;
  g.start = start;
  for (ByteState& state : g.states) {
    if (state.op == ByteOp::split) {
      const auto begin = g.targets.begin() + state.a;
      const auto end =
          std::remove_if(begin, g.targets.begin() + state.b, [&](uint32_t t) { return !is_ending[t]; });
      state.b = size32(static_cast<size_t>(end - g.targets.begin()));
    }
    if (state.op != ByteOp::bytes) continue;
    const auto begin = g.edges.begin() + state.a;
    const auto end = std::remove_if(begin, g.edges.begin() + state.b,
                                    [&](const ByteEdge& edge) { return !is_ending[edge.next]; });
    state.b = size32(static_cast<size_t>(end - g.edges.begin()));
    if (state.b - state.a <= kMostEdgesWithoutTable || g.tables.size() == kMostTables) continue;
    auto& table = g.tables.emplace_back();
    table.fill(ByteGrammar::kNone);
    for (uint32_t i = state.a; i < state.b; ++i) {
      for (size_t b = g.edges[i].first; b <= g.edges[i].last; ++b) table[b] = g.edges[i].next;
    }
    state.c = size32(g.tables.size());
  }
  return std::move(grammar_);
}

}  // namespace trireme
