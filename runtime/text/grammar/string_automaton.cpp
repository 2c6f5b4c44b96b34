// Automata over code points as bytes of JSON strings.
#include <algorithm>
#include <array>
#include <map>

#include "runtime/text/grammar/pattern_automaton.h"

namespace trireme {
namespace {

// UTF-8 of ranges of code points (Unicode standard, table 3-6).
class Utf8Ranges {
 public:
  explicit Utf8Ranges(ProgramBuilder& builder) : builder_(builder) {}

  // Lead bytes of those of `edges` that have `more` bytes behind it and lie in [first, last].
  void add_leads(const std::vector<CodePointEdge>& edges, int more, char32_t first, char32_t last,
                 uint8_t lead, std::vector<ByteEdge>& to) {
    std::vector<CodePointEdge> clipped;
    for (const CodePointEdge& edge : edges) {
      if (edge.last < first || edge.first > last) continue;
      clipped.push_back({std::max(edge.first, first), std::min(edge.last, last), edge.next});
    }
    const auto leads = blocks(clipped, more, lead);
    to.insert(to.end(), leads.begin(), leads.end());
  }

 private:
  // Byte `base` + i for the i-th block of 64^more values, and what is behind it.
  std::vector<ByteEdge> blocks(const std::vector<CodePointEdge>& edges, int more, uint8_t base) {
    const char32_t size = char32_t{1} << (6 * more);
    std::vector<ByteEdge> out;
    std::map<char32_t, std::vector<CodePointEdge>> partial;
    for (const CodePointEdge& edge : edges) {
      for (char32_t at = edge.first; at <= edge.last;) {
        const char32_t block = at / size, end = std::min<char32_t>(edge.last, (block + 1) * size - 1);
        const bool is_whole = at % size == 0 && end == (block + 1) * size - 1;
        const char32_t whole_end = is_whole ? (edge.last + 1) / size - 1 : block;
        if (is_whole) {
          out.push_back({byte_of(base, block), byte_of(base, whole_end), whole(more, edge.next)});
          at = (whole_end + 1) * size;
        } else {
          partial[block].push_back({at % size, end % size, edge.next});
          at = end + 1;
        }
      }
    }
    for (const auto& [block, inner] : partial) {
      const uint32_t state = builder_.bytes(blocks(inner, more - 1, 0x80));
      out.push_back({byte_of(base, block), byte_of(base, block), state});
    }
    return out;
  }

  static uint8_t byte_of(uint8_t base, char32_t block) { return static_cast<uint8_t>(base + block); }

  uint32_t whole(int more, uint32_t next) {
    if (more == 0) return next;
    const auto [known, is_new] = whole_.try_emplace({more, next}, 0);
    if (!is_new) return known->second;
    const uint32_t state = builder_.bytes({{0x80, 0xBF, whole(more - 1, next)}});
    return whole_[{more, next}] = state;
  }

  ProgramBuilder& builder_;
  std::map<std::pair<int, uint32_t>, uint32_t> whole_;
};

uint32_t next_of(const std::vector<CodePointEdge>& edges, char32_t c) {
  for (const CodePointEdge& edge : edges) {
    if (edge.first <= c && c <= edge.last) return edge.next;
  }
  return ByteGrammar::kNone;
}

// What follows a backslash, as json_spelling() has it.
uint32_t escapes(ProgramBuilder& builder, const std::vector<CodePointEdge>& edges) {
  constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt", kDigits = "0123456789abcdef";
  std::vector<ByteEdge> out;
  std::array<std::vector<ByteEdge>, 2> last;
  for (char32_t c = 0; c < 0x60; ++c) {
    const uint32_t next = next_of(edges, c);
    const size_t letter = kShort.find(static_cast<char>(c));
    if (next == ByteGrammar::kNone) continue;
    if (letter != std::string_view::npos) {
      const auto byte = static_cast<uint8_t>(kLetters[letter]);
      out.push_back({byte, byte, next});
    } else if (c < 0x20) {
      const auto byte = static_cast<uint8_t>(kDigits[c % 16]);
      last[c / 16].push_back({byte, byte, next});
    }
  }
  std::vector<ByteEdge> first;
  for (size_t i = 0; i < last.size(); ++i) {
    const auto byte = static_cast<uint8_t>('0' + i);
    if (!last[i].empty()) first.push_back({byte, byte, builder.bytes(std::move(last[i]))});
  }
  if (!first.empty())
    out.push_back({'u', 'u', builder.byte('0', builder.byte('0', builder.bytes(std::move(first))))});
  return out.empty() ? ByteGrammar::kNone : builder.bytes(std::move(out));
}

}  // namespace

uint32_t string_of(ProgramBuilder& builder, const PatternAutomaton& automaton, uint32_t next) {
  std::vector<uint32_t> state(automaton.states.size());
  for (uint32_t& number : state) number = builder.reserve();
  Utf8Ranges utf8(builder);
  for (size_t i = 0; i < state.size(); ++i) {
    std::vector<CodePointEdge> edges = automaton.states[i].edges;
    for (CodePointEdge& edge : edges) edge.next = state[edge.next];
    std::vector<ByteEdge> bytes;
    utf8.add_leads(edges, 0, 0x20, 0x21, 0, bytes);
    utf8.add_leads(edges, 0, 0x23, 0x5B, 0, bytes);
    utf8.add_leads(edges, 0, 0x5D, 0x7F, 0, bytes);
    utf8.add_leads(edges, 1, 0x80, 0x7FF, 0xC0, bytes);
    utf8.add_leads(edges, 2, 0x800, 0xFFFF, 0xE0, bytes);
    utf8.add_leads(edges, 3, 0x10000, 0x10FFFF, 0xF0, bytes);
    if (const uint32_t escape = escapes(builder, edges); escape != ByteGrammar::kNone)
      bytes.push_back({'\\', '\\', escape});
    if (automaton.states[i].ends) bytes.push_back({'"', '"', next});
    builder.define_bytes(state[i], std::move(bytes));
  }
  return builder.byte('"', state[0]);
}

}  // namespace trireme
