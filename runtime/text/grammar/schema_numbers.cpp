// Numbers of JSON schemas, and bounds as automata over their digits.
#include <array>
#include <cmath>
#include <map>

#include "runtime/text/grammar/schema_compiler.h"

namespace trireme {
namespace {

constexpr int64_t kLargestBound = 1'000'000'000'000'000'000;

// Integers without a sign, digit by digit, from `least` to `most` as they are written.
class DigitRange {
 public:
  DigitRange(ProgramBuilder& builder, std::string least, std::string most, uint32_t next)
      : builder_(builder), least_(std::move(least)), most_(std::move(most)), next_(next) {}

  uint32_t begin() {
    std::vector<ByteEdge> edges;
    for (int digit = 0; digit <= 9; ++digit) add_edge(edges, digit, 0, 0, 0);
    return builder_.bytes(std::move(edges));
  }

 private:
  // Behind `count` digits: how they compare with as many of each bound.
  uint32_t state(size_t count, int to_least, int to_most, bool is_zero) {
    const auto [known, is_new] = known_.try_emplace({count, to_least, to_most, is_zero}, 0);
    if (!is_new) return known->second;
    const bool is_enough = count > least_.size() || (count == least_.size() && to_least >= 0);
    const bool is_little = count < most_.size() || (count == most_.size() && to_most <= 0);
    std::vector<ByteEdge> edges;
    for (int digit = 0; digit <= 9 && count < most_.size() && !is_zero; ++digit)
      add_edge(edges, digit, count, to_least, to_most);
    std::vector<uint32_t> ways;
    if (!edges.empty()) ways.push_back(builder_.bytes(std::move(edges)));
    if (is_enough && is_little) ways.push_back(next_);
    return known_[{count, to_least, to_most, is_zero}] = builder_.split(ways);
  }

  void add_edge(std::vector<ByteEdge>& edges, int digit, size_t count, int to_least, int to_most) {
    const auto compare = [&](int so_far, const std::string& bound) {
      if (so_far != 0 || count >= bound.size()) return so_far;
      const int of_bound = bound[count] - '0';
      return digit < of_bound ? -1 : digit > of_bound ? 1 : 0;
    };
    const uint32_t to =
        state(count + 1, compare(to_least, least_), compare(to_most, most_), count == 0 && digit == 0);
    const auto byte = static_cast<uint8_t>('0' + digit);
    edges.push_back({byte, byte, to});
  }

  ProgramBuilder& builder_;
  std::string least_, most_;
  uint32_t next_;
  std::map<std::tuple<size_t, int, int, bool>, uint32_t> known_;
};

// Absent: as many digits as numbers have.
std::string digits_of(std::optional<int64_t> bound) {
  return bound ? std::to_string(*bound) : std::string(JsonBounds::kDigits, '9');
}

uint32_t naturals_between(ProgramBuilder& builder, int64_t least, std::optional<int64_t> most,
                          uint32_t next) {
  return DigitRange(builder, std::to_string(least), digits_of(most), next).begin();
}

// Behind a number's whole part: nothing, or a point and digits.
uint32_t fraction(ProgramBuilder& builder, char most_digit, uint32_t next) {
  const auto last = static_cast<uint8_t>(most_digit);
  uint32_t digits = next;
  for (int i = 1; i < JsonBounds::kDigits; ++i)
    digits = builder.split({builder.bytes({{'0', last, digits}}), next});
  return builder.split({builder.byte('.', builder.bytes({{'0', last, digits}})), next});
}

// A point and digits that are not all zero.
uint32_t positive_fraction(ProgramBuilder& builder, uint32_t next) {
  uint32_t any = next, positive = builder.bytes({{'1', '9', next}});
  for (int i = 1; i < JsonBounds::kDigits; ++i) {
    any = builder.split({builder.bytes({{'0', '9', any}}), next});
    positive = builder.bytes({{'0', '0', positive}, {'1', '9', any}});
  }
  return builder.byte('.', positive);
}

void add_positive(ProgramBuilder& builder, const NumberRange& range, uint32_t next,
                  std::vector<uint32_t>& to) {
  const int64_t least = *range.least;
  if (range.most && *range.most < least) return;
  if (range.most == least) {
    if (!range.excludes_least && !range.excludes_most)
      to.push_back(builder.literal(std::to_string(least), fraction(builder, '0', next)));
    return;
  }
  const int64_t first = least + (range.excludes_least ? 1 : 0);
  if (!range.most || first < *range.most) {
    to.push_back(naturals_between(builder, first, range.most ? std::optional(*range.most - 1) : std::nullopt,
                                  fraction(builder, '9', next)));
  }
  if (range.excludes_least)
    to.push_back(builder.literal(std::to_string(least), positive_fraction(builder, next)));
  if (range.most && !range.excludes_most)
    to.push_back(builder.literal(std::to_string(*range.most), fraction(builder, '0', next)));
}

// The part of the range with a sign of its own: from 0 on, or with all signs turned.
NumberRange natural_part(const NumberRange& range) {
  NumberRange part = range;
  if (!part.least || *part.least < 0) {
    part.least = 0;
    part.excludes_least = false;
  }
  return part;
}

NumberRange turned(const NumberRange& range) {
  NumberRange part;
  part.excludes_least = range.excludes_most;
  part.excludes_most = range.excludes_least;
  if (range.most) part.least = -*range.most;
  if (range.least) part.most = -*range.least;
  return part;
}

std::optional<int64_t> bound_of(const SchemaView& view, const char* keyword, bool is_integer,
                                bool rounds_up) {
  const auto found = view.find(keyword);
  if (!found) return std::nullopt;
  const SchemaJson& value = *found->value;
  const SchemaPlace place = found->place->at(keyword);
  if (!value.is_number()) refuse_schema(place, "it is no number: {}", shortened(value.dump()));
  if (std::abs(value.get<double>()) > static_cast<double>(kLargestBound))
    refuse_schema(place, "bounds beyond {} are not supported: {}", kLargestBound, value.dump());
  if (!value.is_number_float()) return value.get<int64_t>();
  const double bound = value.get<double>();
  if (bound == std::floor(bound)) return static_cast<int64_t>(bound);
  if (!is_integer)
    refuse_schema(place, "{}: bounds of \"number\" are supported without a fraction alone", value.dump());
  return static_cast<int64_t>(rounds_up ? std::ceil(bound) : std::floor(bound));
}

bool has_fraction(const SchemaView& view, const char* keyword) {
  const auto found = view.find(keyword);
  return found && found->value->is_number_float() &&
         found->value->get<double>() != std::floor(found->value->get<double>());
}

// The tighter of an including and an excluding bound.
NumberRange range_of(const SchemaView& view, bool is_integer) {
  NumberRange range;
  range.least = bound_of(view, "minimum", is_integer, true);
  range.most = bound_of(view, "maximum", is_integer, false);
  const auto above = bound_of(view, "exclusiveMinimum", is_integer, true);
  if (above && (!range.least || *above >= *range.least)) {
    range.least = above;
    range.excludes_least = !has_fraction(view, "exclusiveMinimum");  // what is above 0.5 may be 1
  }
  const auto below = bound_of(view, "exclusiveMaximum", is_integer, false);
  if (below && (!range.most || *below <= *range.most)) {
    range.most = below;
    range.excludes_most = !has_fraction(view, "exclusiveMaximum");
  }
  return range;
}

}  // namespace

uint32_t integers_between(ProgramBuilder& builder, const NumberRange& range, uint32_t next) {
  NumberRange closed = range;
  if (closed.least && closed.excludes_least) ++*closed.least;
  if (closed.most && closed.excludes_most) --*closed.most;
  std::vector<uint32_t> ways;
  const auto add = [&](std::optional<int64_t> least, std::optional<int64_t> most, int64_t from,
                       bool is_negative) {
    const int64_t first = std::max(least.value_or(from), from);
    if (most && *most < first) return;
    const uint32_t state = naturals_between(builder, first, most, next);
    ways.push_back(is_negative ? builder.byte('-', state) : state);
  };
  add(closed.least, closed.most, 0, false);
  const NumberRange negative = turned(closed);
  add(negative.least, negative.most, 1, true);
  return ways.empty() ? ByteGrammar::kNone : builder.split(ways);
}

uint32_t numbers_between(ProgramBuilder& builder, const NumberRange& range, uint32_t next) {
  std::vector<uint32_t> ways, negative;
  add_positive(builder, natural_part(range), next, ways);
  add_positive(builder, natural_part(turned(range)), next, negative);
  if (!negative.empty()) ways.push_back(builder.byte('-', builder.split(negative)));
  return ways.empty() ? ByteGrammar::kNone : builder.split(ways);
}

uint32_t SchemaCompiler::numbers(const SchemaView& view, bool is_integer) {
  const NumberRange range = range_of(view, is_integer);
  const bool is_natural = range.least == 0 && !range.excludes_least;
  if (!range.most && (!range.least || is_natural)) {
    if (is_integer) return builder_.call(is_natural ? rules_.natural_integer : rules_.integer, end_);
    return builder_.call(is_natural ? rules_.natural_number : rules_.number, end_);
  }
  const uint32_t state =
      is_integer ? integers_between(builder_, range, end_) : numbers_between(builder_, range, end_);
  if (state == ByteGrammar::kNone) {
    refuse_schema(*view.place, "no {} lies within its bounds: it allows no value",
                  is_integer ? "integer" : "number");
  }
  return state;
}

}  // namespace trireme
