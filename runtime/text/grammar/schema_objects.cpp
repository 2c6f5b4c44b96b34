// Objects and arrays of JSON schemas.
#include <algorithm>

#include "runtime/io/json/utf8.h"
#include "runtime/text/grammar/schema_compiler.h"

namespace trireme {
namespace {

constexpr size_t kMostOptional = 500;  // members that may all come next

std::string checked_name(const std::string& name, const SchemaPlace& place) {
  if (find_utf8_error(name)) refuse_schema(place, "a name is not UTF-8");
  return name;
}

}  // namespace

// Members that no "properties" names. Without "additionalProperties" there are none where there are
// "properties", and any otherwise.
std::optional<SchemaPart> SchemaCompiler::additional_of(const SchemaView& view) {
  const auto found = view.find("additionalProperties");
  if (!found)
    return view.all("properties").empty() ? std::optional(SchemaPart{&any_, view.place}) : std::nullopt;
  // Of each part it speaks of the names that this part does not know.
  for (const SchemaPart& part : view.parts) {
    const auto properties = part.value->find("properties");
    if (part.place == found->place || properties == part.value->end() || properties->empty()) continue;
    refuse_schema(found->place->at("additionalProperties"),
                  "it is not supported where \"allOf\" or \"$ref\" names other properties ({})",
                  part.place->pointer());
  }
  const SchemaPart additional = reader_.inside(*found, "additionalProperties", *found->value);
  if (additional.value->is_boolean() && !additional.value->get<bool>()) return std::nullopt;
  return additional;
}

std::vector<SchemaCompiler::Member> SchemaCompiler::members_of(const SchemaView& view,
                                                               const std::optional<SchemaPart>& additional) {
  std::vector<Member> list;
  std::map<std::string, size_t> number;
  for (const SchemaPart& part : view.all("properties")) {
    const SchemaPart properties = reader_.inside(part, "properties", *part.value);
    if (!properties.value->is_object()) refuse_schema(*properties.place, "it is no object");
    for (const auto& member : properties.value->items()) {
      const SchemaPart schema = reader_.inside(properties, member.key(), member.value());
      if (!number.emplace(checked_name(member.key(), *schema.place), list.size()).second)
        refuse_schema(*schema.place,
                      "\"allOf\" or \"$ref\" has a property of this name as well; put them together by hand");
      list.push_back({member.key(), rule_of(schema), false});
    }
  }
  for (const SchemaPart& part : view.all("required")) {
    const SchemaPlace place = part.place->at("required");
    if (!part.value->is_array()) refuse_schema(place, "it is no list of names");
    for (const SchemaJson& name : *part.value) {
      if (!name.is_string()) refuse_schema(place, "{} is no name", shortened(name.dump()));
      const auto [found, is_new] = number.emplace(checked_name(name.get<std::string>(), place), list.size());
      if (is_new) {
        const auto given = view.find("additionalProperties");
        if (given && !additional)
          refuse_schema(place, "\"{}\" is required, and additionalProperties forbids it: it allows no value",
                        shortened(name.get<std::string>()));
        list.push_back({found->first, rule_of(given ? *additional : SchemaPart{&any_, view.place}), true});
      }
      list[found->second].is_required = true;
    }
  }
  return list;
}

uint32_t SchemaCompiler::objects(const SchemaView& view) {
  const auto additional = additional_of(view);
  const auto list = members_of(view, additional);
  size_t in_a_row = 0;
  for (const Member& member : list) {
    in_a_row = member.is_required ? 0 : in_a_row + 1;
    if (in_a_row > kMostOptional) {
      refuse_schema(*view.place,
                    "more than {} properties in succession are optional; of {} none after those is supported",
                    kMostOptional, list.size());
    }
  }
  return members(list, additional ? std::optional(rule_of(*additional)) : std::nullopt);
}

// key[i]: the name of a member from i on; after[i]: what may stand behind a member before i.
uint32_t SchemaCompiler::members(const std::vector<Member>& list, std::optional<uint32_t> more) {
  const uint32_t close = builder_.byte('}', end_);
  const auto value_then = [&](uint32_t rule, uint32_t next) {
    return spaced(builder_.byte(':', spaced(builder_.call(rule, spaced(next)))));
  };
  std::optional<uint32_t> key;
  uint32_t after = close;
  if (more) {
    std::vector<std::string> names;
    for (const Member& member : list) names.push_back(member.name);
    after = builder_.reserve();
    key = builder_.reserve();
    builder_.define_split(*key, {key_beside(builder_, rules_, names, value_then(*more, after))});
    builder_.define_bytes(after, {{',', ',', spaced(*key)}, {'}', '}', end_}});
  }
  bool may_close = true;
  for (size_t i = list.size(); i-- > 0;) {
    const uint32_t here = builder_.literal(json_spelling(list[i].name), value_then(list[i].value, after));
    const bool may_skip = !list[i].is_required && key;
    key = may_skip ? builder_.split({here, *key}) : here;
    may_close = may_close && !list[i].is_required;
    std::vector<ByteEdge> edges = {{',', ',', spaced(*key)}};
    if (may_close) edges.push_back({'}', '}', end_});
    after = builder_.bytes(std::move(edges));
  }
  std::vector<uint32_t> first;
  if (key) first.push_back(*key);
  if (may_close) first.push_back(close);
  return builder_.byte('{', spaced(builder_.split(first)));
}

uint32_t SchemaCompiler::arrays(const SchemaView& view) {
  if (const auto unique = view.find("uniqueItems"); unique && *unique->value != SchemaJson(false))
    refuse_schema(unique->place->at("uniqueItems"), "it is not supported: an automaton cannot compare items");
  const Count count = count_of(view, "minItems", "maxItems");
  std::vector<uint32_t> prefix;
  if (const auto found = view.find("prefixItems")) {
    const SchemaPart list = reader_.inside(*found, "prefixItems", *found->value);
    if (!list.value->is_array()) refuse_schema(*list.place, "it is no list of schemas");
    for (size_t i = 0; i < list.value->size(); ++i)
      prefix.push_back(rule_of(reader_.inside(list, std::to_string(i), (*list.value)[i])));
  }
  std::optional<uint32_t> rest;
  if (const auto found = view.find("items")) {
    const SchemaPart items = reader_.inside(*found, "items", *found->value);
    if (items.value->is_array()) refuse_schema(*items.place, "a list is not supported: say \"prefixItems\"");
    if (!items.value->is_boolean() || items.value->get<bool>()) rest = rule_of(items);
  } else if (prefix.empty()) {
    rest = rule_of({&any_, view.place});
  }
  if (!rest && count.least > prefix.size()) {
    refuse_schema(view.find("minItems")->place->at("minItems"),
                  "{} items, and {} are allowed: it allows no value", count.least, prefix.size());
  }
  return builder_.call(array_rule(prefix, rest), end_, {count.least, count.most});
}

// The counter of the rule is of its items; a prefix may be left short.
uint32_t SchemaCompiler::array_rule(const std::vector<uint32_t>& prefix, std::optional<uint32_t> rest) {
  const uint32_t close = builder_.enough(builder_.byte(']', end_));
  const auto comma_then = [&](uint32_t item, uint32_t after) {
    return builder_.take(builder_.byte(',', spaced(builder_.call(item, spaced(after)))));
  };
  uint32_t after = close;
  if (rest) {
    after = builder_.reserve();
    builder_.define_split(after, {close, comma_then(*rest, after)});
  }
  for (size_t i = prefix.size(); i-- > 1;) after = builder_.split({close, comma_then(prefix[i], after)});
  std::vector<uint32_t> first = {close};
  if (rest || !prefix.empty())
    first.push_back(builder_.take(builder_.call(prefix.empty() ? *rest : prefix[0], spaced(after))));
  return builder_.byte('[', spaced(builder_.split(first)));
}

}  // namespace trireme
