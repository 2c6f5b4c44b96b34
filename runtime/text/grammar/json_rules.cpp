#include "runtime/text/grammar/json_rules.h"

#include <array>
#include <map>

#include <fmt/format.h>

namespace trireme {
namespace {

std::vector<ByteEdge> operator+(std::vector<ByteEdge> a, const std::vector<ByteEdge>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<ByteEdge> digit_edges(uint32_t next) { return {{'0', '9', next}}; }
std::vector<ByteEdge> hex_edges(uint32_t next) {
  return {{'0', '9', next}, {'A', 'F', next}, {'a', 'f', next}};
}

// UTF-8 of one code point from U+0080 (Unicode standard, table 3-7), then `next`.
std::vector<ByteEdge> multibyte_edges(ProgramBuilder& b, uint32_t next) {
  const uint32_t last = b.bytes({{0x80, 0xBF, next}});
  const uint32_t two = b.bytes({{0x80, 0xBF, last}});
  const uint32_t three = b.bytes({{0x80, 0xBF, two}});
  return {{0xC2, 0xDF, last},  {0xE0, 0xE0, b.bytes({{0xA0, 0xBF, last}})},
          {0xE1, 0xEC, two},   {0xED, 0xED, b.bytes({{0x80, 0x9F, last}})},
          {0xEE, 0xEF, two},   {0xF0, 0xF0, b.bytes({{0x90, 0xBF, two}})},
          {0xF1, 0xF3, three}, {0xF4, 0xF4, b.bytes({{0x80, 0x8F, two}})}};
}

uint32_t target_of(const std::vector<ByteEdge>& edges, uint8_t byte) {
  for (const ByteEdge& edge : edges) {
    if (edge.first <= byte && byte <= edge.last) return edge.next;
  }
  return ByteGrammar::kNone;
}

std::vector<ByteEdge> edges_to(const std::array<uint32_t, 256>& to) {
  std::vector<ByteEdge> edges;
  for (size_t b = 0; b < to.size(); ++b) {
    if (to[b] == ByteGrammar::kNone) continue;
    const auto byte = static_cast<uint8_t>(b);
    if (!edges.empty() && edges.back().next == to[b] && edges.back().last + 1 == byte) {
      edges.back().last = byte;
    } else {
      edges.push_back({byte, byte, to[b]});
    }
  }
  return edges;
}

struct KeyNode {
  uint32_t any;  // the state of any key that begins so
  std::map<uint8_t, size_t> children;
  bool ends;
};

// What may follow a backslash: any escape; surrogates in pairs alone.
uint32_t any_escape(ProgramBuilder& b, uint32_t next) {
  const uint32_t hex1 = b.bytes(hex_edges(next));
  const uint32_t hex2 = b.bytes(hex_edges(hex1));
  const uint32_t hex3 = b.bytes(hex_edges(hex2));
  const uint32_t low = b.bytes({{'C', 'F', hex2}, {'c', 'f', hex2}});
  const uint32_t second = b.byte('\\', b.byte('u', b.bytes({{'D', 'D', low}, {'d', 'd', low}})));
  const uint32_t high = b.bytes(hex_edges(b.bytes(hex_edges(second))));
  const uint32_t after_d = b.bytes({{'0', '7', hex2}, {'8', '9', high}, {'A', 'B', high}, {'a', 'b', high}});
  const uint32_t unicode = b.bytes({{'0', '9', hex3},
                                    {'A', 'C', hex3},
                                    {'D', 'D', after_d},
                                    {'E', 'F', hex3},
                                    {'a', 'c', hex3},
                                    {'d', 'd', after_d},
                                    {'e', 'f', hex3}});
  std::vector<ByteEdge> edges = {{'u', 'u', unicode}};
  for (const char c : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'})
    edges.push_back({static_cast<uint8_t>(c), static_cast<uint8_t>(c), next});
  return b.bytes(std::move(edges));
}

// The escapes of json_spelling(): of control characters those without a short one.
uint32_t canonical_escape(ProgramBuilder& b, uint32_t next) {
  const uint32_t zero = b.bytes({{'0', '7', next}, {'b', 'b', next}, {'e', 'f', next}});
  const uint32_t one = b.bytes({{'0', '9', next}, {'a', 'f', next}});
  const uint32_t unicode = b.byte('0', b.byte('0', b.bytes({{'0', '0', zero}, {'1', '1', one}})));
  std::vector<ByteEdge> edges = {{'u', 'u', unicode}};
  for (const char c : {'"', '\\', 'b', 'f', 'n', 'r', 't'})
    edges.push_back({static_cast<uint8_t>(c), static_cast<uint8_t>(c), next});
  return b.bytes(std::move(edges));
}

// The bytes of one character of a string and then `next`; `escape`: what follows a backslash.
std::vector<ByteEdge> character_edges(ProgramBuilder& b, uint32_t escape, uint32_t next) {
  return std::vector<ByteEdge>{
             {0x20, 0x21, next}, {0x23, 0x5B, next}, {'\\', '\\', escape}, {0x5D, 0x7F, next}} +
         multibyte_edges(b, next);
}

uint32_t string_rule(ProgramBuilder& b) {
  const uint32_t content = b.reserve();
  b.define_bytes(content, character_edges(b, any_escape(b, content), content) +
                              std::vector<ByteEdge>{{'"', '"', b.ret()}});
  return b.byte('"', content);
}

// Each character is counted at its first byte: one that has no room is refused there.
uint32_t counted_string_rule(ProgramBuilder& b) {
  const uint32_t content = b.reserve();
  std::map<uint32_t, uint32_t> counted;
  std::vector<ByteEdge> edges = character_edges(b, any_escape(b, content), content);
  for (ByteEdge& edge : edges) {
    const auto [known, is_new] = counted.emplace(edge.next, 0);
    if (is_new) known->second = b.take(edge.next);
    edge.next = known->second;
  }
  b.define_bytes(content, edges + std::vector<ByteEdge>{{'"', '"', b.enough(b.ret())}});
  return b.byte('"', content);
}

uint32_t canonical_key_content(ProgramBuilder& b) {
  const uint32_t content = b.reserve();
  b.define_bytes(content, character_edges(b, canonical_escape(b, content), content) +
                              std::vector<ByteEdge>{{'"', '"', b.ret()}});
  return content;
}

uint32_t space_rule(ProgramBuilder& b) {
  const uint32_t end = b.ret();
  uint32_t indentation = end;
  for (int i = 0; i < JsonBounds::kIndentation; ++i)
    indentation = b.split({b.bytes({{'\t', '\t', indentation}, {' ', ' ', indentation}}), end});
  uint32_t lines = indentation;
  for (int i = 1; i < JsonBounds::kLineEnds; ++i)
    lines = b.split({b.bytes({{'\n', '\n', lines}, {'\r', '\r', b.byte('\n', lines)}}), lines});
  uint32_t spaces = end;
  for (int i = 1; i < JsonBounds::kSpaces; ++i) spaces = b.split({b.byte(' ', spaces), end});
  return b.split(
      {b.bytes({{'\n', '\n', lines}, {'\r', '\r', b.byte('\n', lines)}, {' ', ' ', spaces}}), end});
}

// At most `count` digits, or what `others` and `end` say.
uint32_t digits(ProgramBuilder& b, int count, const std::vector<ByteEdge>& others, uint32_t end) {
  const auto with = [&](std::vector<ByteEdge> edges) {
    return edges.empty() ? end : b.split({b.bytes(std::move(edges)), end});
  };
  uint32_t state = with(others);
  for (int i = 0; i < count; ++i) state = with(digit_edges(state) + others);
  return state;
}

void number_rules(ProgramBuilder& b, JsonRules& rules) {
  const uint32_t end = b.ret();
  const uint32_t power = b.bytes(digit_edges(digits(b, JsonBounds::kExponentDigits - 1, {}, end)));
  const uint32_t exponent =
      b.bytes(std::vector<ByteEdge>{{'+', '+', power}, {'-', '-', power}} + b.edges_of(power));
  const std::vector<ByteEdge> to_exponent = {{'E', 'E', exponent}, {'e', 'e', exponent}};
  const uint32_t fraction = b.bytes(digit_edges(digits(b, JsonBounds::kDigits - 1, to_exponent, end)));
  const std::vector<ByteEdge> rest = std::vector<ByteEdge>{{'.', '.', fraction}} + to_exponent;
  const auto whole = [&](const std::vector<ByteEdge>& after) {
    const uint32_t zero = digits(b, 0, after, end);
    return b.bytes({{'0', '0', zero}, {'1', '9', digits(b, JsonBounds::kDigits - 1, after, end)}});
  };
  rules.natural_number = whole(rest);
  rules.natural_integer = whole({});
  rules.number =
      b.bytes(std::vector<ByteEdge>{{'-', '-', rules.natural_number}} + b.edges_of(rules.natural_number));
  rules.integer =
      b.bytes(std::vector<ByteEdge>{{'-', '-', rules.natural_integer}} + b.edges_of(rules.natural_integer));
}

// Any value, object and array, which call each other.
void value_rules(ProgramBuilder& b, JsonRules& rules) {
  const uint32_t end = b.ret();
  rules.value = b.reserve();
  const auto spaced = [&](uint32_t next) { return b.call(rules.space, next); };
  const auto inner = [&](uint32_t next) { return b.call_with(rules.value, next, ByteGrammar::kSameCounter); };

  const uint32_t item = b.reserve();
  b.define(item, {ByteOp::call, rules.value, spaced(b.bytes({{',', ',', spaced(item)}, {']', ']', end}})),
                  ByteGrammar::kSameCounter});
  rules.array = b.byte('[', spaced(b.split({item, b.byte(']', end)})));

  const uint32_t member = b.reserve();
  const uint32_t after = spaced(b.bytes({{',', ',', spaced(member)}, {'}', '}', end}}));
  b.define(member, {ByteOp::call, rules.string, spaced(b.byte(':', spaced(inner(after)))), 0});
  rules.object = b.byte('{', spaced(b.split({member, b.byte('}', end)})));

  b.define_split(rules.value, {b.call(rules.string, end), b.call(rules.number, end),
                               b.call_with(rules.object, end, ByteGrammar::kLessRoom),
                               b.call_with(rules.array, end, ByteGrammar::kLessRoom),
                               b.any_literal({"true", "false", "null"}, end)});
}

}  // namespace

JsonRules make_json_rules(ProgramBuilder& builder) {
  JsonRules rules{};
  rules.space = space_rule(builder);
  rules.string = string_rule(builder);
  rules.counted_string = counted_string_rule(builder);
  rules.canonical_begin = canonical_key_content(builder);
  rules.canonical_key = builder.byte('"', rules.canonical_begin);
  number_rules(builder, rules);
  rules.boolean = builder.any_literal({"true", "false"}, builder.ret());
  rules.null = builder.literal("null", builder.ret());
  value_rules(builder, rules);
  builder.end_shared();
  return rules;
}

std::string json_spelling(std::string_view text) {
  constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
  std::string out = "\"";
  for (const char c : text) {
    if (const size_t at = kShort.find(c); at != std::string_view::npos) {
      out += '\\';
      out += kLetters[at];
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

uint32_t key_beside(ProgramBuilder& builder, const JsonRules& rules, const std::vector<std::string>& names,
                    uint32_t next) {
  if (names.empty()) return builder.call(rules.canonical_key, next);
  // A trie of the names' spellings; each of its places knows where a key of any kind would be.
  std::vector<KeyNode> nodes = {{rules.canonical_begin, {}, false}};
  for (const std::string& name : names) {
    const std::string spelling = json_spelling(name);
    size_t at = 0;
    for (size_t i = 1; i + 1 < spelling.size(); ++i) {
      const auto byte = static_cast<uint8_t>(spelling[i]);
      const auto [child, is_new] = nodes[at].children.emplace(byte, nodes.size());
      const size_t to = child->second;
      if (is_new) nodes.push_back({target_of(builder.edges_of(nodes[at].any), byte), {}, false});
      at = to;
    }
    nodes[at].ends = true;
  }
  std::vector<uint32_t> state(nodes.size());
  for (size_t i = nodes.size(); i-- > 0;) {  // children come after their parents
    std::array<uint32_t, 256> to{};
    to.fill(ByteGrammar::kNone);
    for (const ByteEdge& edge : builder.edges_of(nodes[i].any)) {
      for (size_t b = edge.first; b <= edge.last; ++b) to[b] = edge.next;
    }
    for (const auto& child : nodes[i].children) to[child.first] = state[child.second];
    if (nodes[i].ends) to['"'] = ByteGrammar::kNone;
    state[i] = builder.bytes(edges_to(to));
  }
  return builder.call(builder.byte('"', state[0]), next);
}

}  // namespace trireme
