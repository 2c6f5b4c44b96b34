#include "runtime/text/grammar/schema_compiler.h"

#include <algorithm>
#include <cmath>

#include "runtime/text/grammar/byte_grammar.h"

namespace trireme {
namespace {

// JSON of any depth is compared, copied and written by recursion.
void check_depth(const SchemaJson& root) {
  constexpr int kMostDepth = 400;
  std::vector<std::pair<const SchemaJson*, int>> pending = {{&root, 0}};
  while (!pending.empty()) {
    const auto [value, depth] = pending.back();
    pending.pop_back();
    if (depth > kMostDepth) throw_bad_input("the JSON schema is nested more than {} deep", kMostDepth);
    for (const SchemaJson& inner : *value) {
      if (inner.is_structured()) pending.emplace_back(&inner, depth + 1);
    }
  }
}

// Each of those that begin alike is followed until they part.
constexpr size_t kMostAlternatives = 256;

}  // namespace

ByteGrammar SchemaCompiler::compile() && {
  check_depth(*reader_.root().value);
  const uint32_t whole = rule_of(reader_.root());
  for (size_t i = 0; i < rules_made_.size(); ++i) {
    const Rule rule = rules_made_[i];
    compile_rule(rule);
  }
  const uint32_t start = spaced(builder_.call(whole, end_));
  const auto is_ending = builder_.find_ending();
  for (const Rule& rule : rules_made_) {
    if (!is_ending[rule.state])
      refuse_schema(*rule.schema.place, "it allows no value: all that it allows contain themselves");
  }
  return std::move(builder_).finish(start, is_ending);
}

uint32_t SchemaCompiler::rule_of(SchemaPart schema) {
  schema = reader_.follow(schema);
  const auto known = rule_by_schema_.find(schema.value);
  if (known != rule_by_schema_.end()) return known->second;
  const uint32_t state = builder_.reserve();
  rule_by_schema_.emplace(schema.value, state);
  rules_made_.push_back({state, schema});
  return state;
}

void SchemaCompiler::compile_rule(const Rule& rule) {
  const SchemaView view = reader_.view(rule.schema);
  if (view.allows_nothing) refuse_schema(*view.place, "it allows no value: it is false");
  std::vector<uint32_t> ways;
  if (view.find("enum") || view.find("const")) {
    add_literals(view, ways);
  } else if (!view.all("anyOf").empty()) {
    view.refuse_beside({"anyOf"}, "beside \"anyOf\": put it into each alternative");
    add_alternatives(view, "anyOf", ways);
  } else if (!view.all("oneOf").empty()) {
    view.refuse_beside({"oneOf"}, "beside \"oneOf\": put it into each alternative");
    add_alternatives(view, "oneOf", ways);
  } else {
    add_values(view, ways);
  }
  builder_.define_split(rule.state, ways);
}

void SchemaCompiler::add_alternatives(const SchemaView& view, const char* keyword,
                                      std::vector<uint32_t>& to) {
  const SchemaPart of = *view.find(keyword);
  const SchemaPart list = reader_.inside(of, keyword, *of.value);
  if (!list.value->is_array() || list.value->empty()) refuse_schema(*list.place, "it is no list of schemas");
  num_alternatives_ += list.value->size();
  if (num_alternatives_ > kMostAlternatives) {
    refuse_schema(*list.place, "the schema has {} alternatives of \"anyOf\" and \"oneOf\"; {} are supported",
                  num_alternatives_, kMostAlternatives);
  }
  if (keyword == std::string_view("oneOf")) require_exclusive(list);
  for (size_t i = 0; i < list.value->size(); ++i)
    to.push_back(builder_.call(rule_of(reader_.inside(list, std::to_string(i), (*list.value)[i])), end_));
}

void SchemaCompiler::add_values(const SchemaView& view, std::vector<uint32_t>& to) {
  const unsigned kinds = view.kinds();
  if (kinds == kAllKinds && view.parts.empty()) return to.push_back(any_value(end_));
  if (kinds & kNullKind) to.push_back(builder_.call(rules_.null, end_));
  if (kinds & kBooleanKind) to.push_back(builder_.call(rules_.boolean, end_));
  if (kinds & kNumberKinds) to.push_back(numbers(view, (kinds & kFractionKind) == 0));
  if (kinds & kStringKind) to.push_back(strings(view));
  if (kinds & kArrayKind) to.push_back(arrays(view));
  if (kinds & kObjectKind) to.push_back(objects(view));
}

SchemaCompiler::Count SchemaCompiler::count_of(const SchemaView& view, const char* least, const char* most) {
  constexpr uint32_t kMostLeast = 1'000'000;
  const auto read = [&](const char* keyword, uint32_t otherwise) {
    const auto found = view.find(keyword);
    if (!found) return otherwise;
    const SchemaJson& value = *found->value;
    const bool is_whole =
        value.is_number_unsigned() || (value.is_number_float() && value.get<double>() >= 0 &&
                                       value.get<double>() == std::floor(value.get<double>()));
    if (!is_whole)
      refuse_schema(found->place->at(keyword), "it is a number of 0 or more without a fraction, not {}",
                    shortened(value.dump()));
    // More than any text can hold is no bound.
    const double count = value.get<double>();
    return count > 1e9 ? ByteCounter::kUnlimited : static_cast<uint32_t>(count);
  };
  const Count count{read(least, 0), read(most, ByteCounter::kUnlimited)};
  if (count.least > kMostLeast) {
    const SchemaPart found = *view.find(least);
    refuse_schema(found.place->at(least),
                  "{} are more than any text here will hold; at most {} can be asked for",
                  found.value->dump(), kMostLeast);
  }
  if (count.least > count.most) {
    refuse_schema(view.find(most)->place->at(most), "at least {} and at most {}: it allows no value",
                  count.least, count.most);
  }
  return count;
}

std::shared_ptr<const ByteGrammar> json_schema_grammar(const nlohmann::ordered_json& schema) {
  return std::make_shared<const ByteGrammar>(SchemaCompiler(schema).compile());
}

}  // namespace trireme
