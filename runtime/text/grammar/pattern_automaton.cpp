#include "runtime/text/grammar/pattern_automaton.h"

#include <algorithm>
#include <map>

#include "runtime/base/error.h"

namespace trireme {
namespace {

constexpr size_t kMostNodes = 20'000, kMostStates = 4'000;
constexpr uint32_t kMostProductStates = 20'000;

// Thompson's construction (1968): each node goes on without a character, or with one of a set.
class NodeAutomaton {
 public:
  enum class Way : uint8_t { free, at_begin, at_end };
  struct Node {
    std::vector<std::pair<uint32_t, Way>> free = {};
    CodePointSet characters = {};
    uint32_t next = 0;
  };

  explicit NodeAutomaton(const PatternTree& tree) : tree_(tree) {
    end = add({});
    nodes[end] = {{}, complement({}), end};  // anything may stand behind
    const uint32_t match = build(tree.root, end);
    begin = add({});
    nodes[begin] = {{{match, Way::free}}, complement({}), begin};  // and before
  }

  std::vector<Node> nodes;
  uint32_t begin = 0, end = 0;

 private:
  uint32_t add(Node node) {
    if (nodes.size() >= kMostNodes)
      throw_bad_input("it is too large: with all its repetitions it has more than {} parts", kMostNodes);
    nodes.push_back(std::move(node));
    return static_cast<uint32_t>(nodes.size() - 1);
  }

  // A node that matches tree node `number` and goes on at `next`.
  uint32_t build(uint32_t number, uint32_t next) {
    const PatternNode& part = tree_.nodes[number];
    switch (part.kind) {
      case PatternKind::characters:
        return add({{}, part.characters, next});
      case PatternKind::text_begin:
        return add({{{next, Way::at_begin}}});
      case PatternKind::text_end:
        return add({{{next, Way::at_end}}});
      case PatternKind::sequence:
        for (size_t i = part.parts.size(); i-- > 0;) next = build(part.parts[i], next);
        return next;
      case PatternKind::choice: {
        Node node;
        for (const uint32_t alternative : part.parts)
          node.free.emplace_back(build(alternative, next), Way::free);
        return add(std::move(node));
      }
      case PatternKind::repeat:
        return build_repeat(part, next);
    }
    return next;
  }

  uint32_t build_repeat(const PatternNode& part, uint32_t next) {
    const uint32_t inner = part.parts[0];
    uint32_t state = next;
    if (part.most == PatternTree::kUnlimited) {
      state = add({});
      const uint32_t again = build(inner, state);
      nodes[state].free = {{again, Way::free}, {next, Way::free}};
    } else {
      for (uint32_t i = part.least; i < part.most; ++i) {
        const uint32_t one = build(inner, state);
        state = add({{{one, Way::free}, {next, Way::free}}});
      }
    }
    for (uint32_t i = 0; i < part.least; ++i) state = build(inner, state);
    return state;
  }

  const PatternTree& tree_;
};

class SubsetConstruction {
 public:
  SubsetConstruction(const NodeAutomaton& from, size_t& steps)
      : from_(from), steps_left_(steps), seen_(from.nodes.size()) {
    for (const auto& node : from.nodes) {
      for (const CodePointRange& range : node.characters) {
        bounds_.push_back(range.first);
        bounds_.push_back(range.last + 1);
      }
    }
    std::ranges::sort(bounds_);
    bounds_.erase(std::unique(bounds_.begin(), bounds_.end()), bounds_.end());
  }

  PatternAutomaton make() {
    number_of(closed({from_.begin}, true));
    for (size_t i = 0; i < sets_.size(); ++i) {
      const std::vector<uint32_t> set = sets_[i];
      const auto at_end = closed(set, i == 0, true);
      out_.states[i].ends = std::ranges::binary_search(at_end, from_.end);
      out_.states[i].edges = edges_from(set);
    }
    return std::move(out_);
  }

 private:
  using Set = std::vector<uint32_t>;

  void count_steps(size_t steps) {
    if (steps > steps_left_) throw_bad_input("it takes too long to make an automaton of it");
    steps_left_ -= steps;
  }

  Set closed(Set set, bool at_begin, bool at_end = false) {
    Set pending = set, all;
    for (const uint32_t node : pending) seen_[node] = true;
    while (!pending.empty()) {
      const uint32_t node = pending.back();
      pending.pop_back();
      all.push_back(node);
      count_steps(1 + from_.nodes[node].free.size());
      for (const auto& [next, way] : from_.nodes[node].free) {
        if ((way == NodeAutomaton::Way::at_begin && !at_begin) ||
            (way == NodeAutomaton::Way::at_end && !at_end))
          continue;
        if (seen_[next]) continue;
        seen_[next] = true;
        pending.push_back(next);
      }
    }
    for (const uint32_t node : all) seen_[node] = false;
    std::ranges::sort(all);
    return all;
  }

  uint32_t number_of(Set set) {
    const auto [known, is_new] = numbers_.emplace(std::move(set), static_cast<uint32_t>(sets_.size()));
    if (is_new) {
      if (sets_.size() >= kMostStates) throw_bad_input("its automaton has more than {} states", kMostStates);
      sets_.push_back(known->first);
      out_.states.emplace_back();
    }
    return known->second;
  }

  std::vector<CodePointEdge> edges_from(const Set& set) {
    std::vector<CodePointEdge> edges;
    for (size_t i = 0; i + 1 < bounds_.size(); ++i) {
      Set next;
      count_steps(set.size());
      for (const uint32_t node : set) {
        const auto& characters = from_.nodes[node].characters;
        const auto range = std::ranges::lower_bound(characters, bounds_[i], {}, &CodePointRange::last);
        if (range == characters.end() || range->first > bounds_[i] || seen_[from_.nodes[node].next]) continue;
        seen_[from_.nodes[node].next] = true;
        next.push_back(from_.nodes[node].next);
      }
      for (const uint32_t node : next) seen_[node] = false;
      if (next.empty()) continue;
      const uint32_t to = number_of(closed(std::move(next), false));
      const char32_t last = bounds_[i + 1] - 1;
      if (!edges.empty() && edges.back().next == to && edges.back().last + 1 == bounds_[i]) {
        edges.back().last = last;
      } else {
        edges.push_back({bounds_[i], last, to});
      }
    }
    return edges;
  }

  const NodeAutomaton& from_;
  size_t& steps_left_;
  std::vector<char32_t> bounds_;  // between two the automaton cannot tell characters apart
  std::vector<bool> seen_;
  std::map<Set, uint32_t> numbers_;
  std::vector<Set> sets_;
  PatternAutomaton out_;
};

}  // namespace

PatternAutomaton compile_pattern(std::string_view text, size_t& steps) {
  const PatternTree tree = parse_pattern(text);
  const NodeAutomaton nodes(tree);
  return SubsetConstruction(nodes, steps).make();
}

PatternAutomaton of_length(const PatternAutomaton& automaton, uint32_t least, uint32_t most) {
  const bool is_bounded = most != PatternTree::kUnlimited;
  const uint64_t counts = uint64_t{is_bounded ? most : least} + 1;
  if (counts * automaton.states.size() > kMostProductStates) {
    throw_bad_input("with the bounds of its length its automaton has up to {} x {} states; {} are supported",
                    counts, automaton.states.size(), kMostProductStates);
  }
  const auto size = static_cast<uint32_t>(automaton.states.size());
  PatternAutomaton out;
  out.states.resize(counts * size);
  for (uint32_t count = 0; count < counts; ++count) {
    for (uint32_t i = 0; i < size; ++i) {
      auto& state = out.states[count * size + i];
      state.ends = automaton.states[i].ends && count >= least;
      if (is_bounded && count == most) continue;
      const uint32_t after = std::min<uint32_t>(count + 1, static_cast<uint32_t>(counts - 1));
      for (CodePointEdge edge : automaton.states[i].edges) {
        edge.next += after * size;
        state.edges.push_back(edge);
      }
    }
  }
  return out;
}

}  // namespace trireme
