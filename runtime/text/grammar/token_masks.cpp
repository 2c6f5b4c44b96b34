#include "runtime/text/grammar/token_masks.h"

#include <algorithm>
#include <bit>
#include <deque>

#include "runtime/base/error.h"
#include "runtime/text/grammar/mask_cache.h"
#include "runtime/text/grammar/token_trie.h"

namespace trireme {
namespace {

constexpr size_t kCacheBytes = size_t{64} << 20;

// Walks trie and automaton together.
class TrieWalk {
 public:
  TrieWalk(const TokenTrie& trie, const ByteGrammar& grammar, ByteStack stack)
      : trie_(trie), grammar_(grammar), stack_(std::move(stack)) {}

  /// Calls on_node(node, is_complete) for every node below `node` that can be reached from `threads` there.
  template <class OnNode>
  void below(uint32_t node, std::span<const ByteThread> threads, const OnNode& on_node) {
    go_on(node, threads, 0, on_node);
  }

  ByteStack& stack() { return stack_; }

 private:
  template <class OnNode>
  void go_on(uint32_t node, std::span<const ByteThread> threads, size_t depth, const OnNode& on_node) {
    if (threads.empty() || trie_.end(node) == node + 1) return;
    if (threads.size() == 1) return walk_one(node, threads[0], depth, on_node);
    const uint32_t end = trie_.end(node);
    for (uint32_t child = node + 1; child < end; child = trie_.end(child))
      step_to(child, threads, depth, on_node);
  }

  // Nearly all of a vocabulary is reached in strings, by one thread without calls.
  template <class OnNode>
  void walk_one(uint32_t node, ByteThread thread, size_t depth, const OnNode& on_node) {
    const uint32_t end = trie_.end(node);
    for (uint32_t child = node + 1; child < end; child = trie_.end(child)) {
      ByteThread next = thread;
      next.state = grammar_.next(thread.state, trie_.byte(child));
      if (next.state == ByteGrammar::kNone || !take(next)) continue;
      if (grammar_.states[next.state].op != ByteOp::bytes) {
        step_to(child, {&thread, 1}, depth, on_node);
        continue;
      }
      on_node(child, false);
      if (trie_.end(child) > child + 1) walk_one(child, next, depth, on_node);
    }
  }

  bool take(ByteThread& thread) const {
    const ByteState& state = grammar_.states[thread.state];
    if (state.op != ByteOp::take) return true;
    thread.state = state.a;
    return thread.counter.take();
  }

  template <class OnNode>
  void step_to(uint32_t child, std::span<const ByteThread> threads, size_t depth, const OnNode& on_node) {
    if (levels_.size() <= depth) levels_.emplace_back();
    std::vector<ByteThread>& next = levels_[depth];
    const ByteStack::Size before = stack_.size();
    bool is_complete = false;
    stack_.step(grammar_, threads, trie_.byte(child), next, is_complete);
    if (is_complete || !next.empty()) {
      on_node(child, is_complete);
      go_on(child, next, depth + 1, on_node);
    }
    stack_.shrink(before);
  }

  const TokenTrie& trie_;
  const ByteGrammar& grammar_;
  ByteStack stack_;
  std::deque<std::vector<ByteThread>> levels_;  // of threads, by depth
};

void allow(std::span<uint64_t> words, std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) words[static_cast<size_t>(token) / 64] |= uint64_t{1} << (token % 64);
}

}  // namespace

struct TokenMasks::State {
  explicit State(std::vector<std::string> from) : tokens(std::move(from)), trie(tokens), cache(kCacheBytes) {}

  std::shared_ptr<const StateMask> mask_of(const std::shared_ptr<const ByteGrammar>& grammar,
                                           const ByteThread& thread) {
    // No token counts further than it is long.
    ByteCounter counter = thread.counter;
    counter.need = std::min(counter.need, trie.depth());
    if (counter.room > trie.depth()) counter.room = ByteCounter::kUnlimited;
    const bool is_shared = thread.state < grammar->num_shared;
    const MaskCache::Key key{is_shared ? nullptr : grammar.get(), thread.state, counter};
    if (auto mask = cache.find(key)) return mask;
    auto mask = std::make_shared<const StateMask>(compute(*grammar, {thread.state, 0, counter}));
    cache.insert(key, is_shared ? nullptr : grammar, mask);
    return mask;
  }

  StateMask compute(const ByteGrammar& grammar, const ByteThread& thread) const {
    StateMask mask;
    mask.words.resize((tokens.size() + 63) / 64);
    size_t num_tokens = 0;
    TrieWalk walk(trie, grammar, ByteStack());
    walk.below(0, std::span(&thread, 1), [&](uint32_t node, bool is_complete) {
      const auto ending = trie.tokens(node);
      allow(mask.words, ending);
      num_tokens += ending.size();
      if (is_complete && trie.end(node) > node + 1) mask.exits.push_back(node);
    });
    if (num_tokens >= 2 * mask.words.size()) return mask;
    for (size_t i = 0; i < mask.words.size(); ++i) {
      for (uint64_t rest = mask.words[i]; rest != 0; rest &= rest - 1)
        mask.tokens.push_back(static_cast<int32_t>(64 * i) + std::countr_zero(rest));
    }
    mask.words = {};
    return mask;
  }

  const std::vector<std::string> tokens;
  const TokenTrie trie;
  MaskCache cache;
};

TokenMasks::TokenMasks(std::vector<std::string> tokens)
    : state_(std::make_unique<State>(std::move(tokens))) {}
TokenMasks::~TokenMasks() = default;

int64_t TokenMasks::num_tokens() const { return std::ssize(state_->tokens); }
std::string_view TokenMasks::bytes(int32_t token) const {
  return state_->tokens.at(static_cast<size_t>(token));
}

void TokenMasks::fill(const ByteMatcher& matcher, std::span<uint64_t> allowed) const {
  TRIREME_CHECK(allowed.size() * 64 >= state_->tokens.size());
  std::ranges::fill(allowed, 0);
  TrieWalk walk(state_->trie, *matcher.grammar_, matcher.stack_);
  for (const ByteThread& thread : matcher.threads_) {
    const auto mask = state_->mask_of(matcher.grammar_, thread);
    mask->add_to(allowed);
    if (mask->exits.empty()) continue;
    const ByteStack::Size before = walk.stack().size();
    std::vector<ByteThread> outside;
    bool is_complete = false;
    walk.stack().leave(*matcher.grammar_, thread.node, outside, is_complete);
    for (const uint32_t exit : mask->exits) {
      walk.below(exit, outside, [&](uint32_t node, bool) { allow(allowed, state_->trie.tokens(node)); });
    }
    walk.stack().shrink(before);
  }
}

}  // namespace trireme
