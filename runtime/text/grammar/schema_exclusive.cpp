// "oneOf": as "anyOf" where no value can be of two alternatives.
#include <algorithm>
#include <set>

#include "runtime/text/grammar/schema_compiler.h"

namespace trireme {
namespace {

constexpr size_t kMostNames = 200;  // among which a tag is looked for

bool requires_name(const SchemaView& view, const std::string& name) {
  for (const SchemaPart& list : view.all("required")) {
    if (list.value->is_array() && list.value->size() <= kMostNames &&
        std::ranges::find(*list.value, SchemaJson(name)) != list.value->end())
      return true;
  }
  return false;
}

bool have_none_in_common(const std::vector<SchemaJson>& a, const std::vector<SchemaJson>& b) {
  std::set<std::string> spellings;
  for (const SchemaJson& value : a) {
    const auto spelling = scalar_spelling(value);
    if (!spelling || value.is_number()) return false;  // 1 and 1.0 are one number
    spellings.insert(*spelling);
  }
  return std::ranges::none_of(b, [&](const SchemaJson& value) {
    const auto spelling = scalar_spelling(value);
    return !spelling || value.is_number() || spellings.contains(*spelling);
  });
}

}  // namespace

unsigned SchemaCompiler::kinds_of(const SchemaView& view, int depth) {
  constexpr int kMostDepth = 8;
  if (kinds_steps_left_ == 0) return kAllKinds;
  --kinds_steps_left_;
  unsigned kinds = 0;
  const auto values = literals_of(view);
  for (const SchemaJson& value : values) kinds |= literal_kind(value);
  if (!values.empty()) return kinds;
  for (const char* keyword : {"anyOf", "oneOf"}) {
    const auto found = view.find(keyword);
    if (!found) continue;
    if (depth == kMostDepth || !found->value->is_array()) return kAllKinds;
    const SchemaPart list = reader_.inside(*found, keyword, *found->value);
    for (size_t i = 0; i < list.value->size(); ++i)
      kinds |= kinds_of(reader_.view(reader_.inside(list, std::to_string(i), (*list.value)[i])), depth + 1);
    return kinds;
  }
  return view.kinds();
}

// A property that both require, with values of "const" or "enum" that are not the other's.
bool SchemaCompiler::differ_in_a_tag(const SchemaView& a, const SchemaView& b) {
  for (const SchemaPart& properties : a.all("properties")) {
    for (const SchemaPart& others : b.all("properties")) {
      if (!properties.value->is_object() || !others.value->is_object()) continue;
      if (properties.value->size() > kMostNames) continue;
      for (const auto& member : properties.value->items()) {
        const auto other = others.value->find(member.key());
        if (other == others.value->end() || !requires_name(a, member.key()) ||
            !requires_name(b, member.key()))
          continue;
        const auto left = literals_of(reader_.view(reader_.inside(properties, member.key(), member.value())));
        const auto right = literals_of(reader_.view(reader_.inside(others, member.key(), *other)));
        if (!left.empty() && !right.empty() && have_none_in_common(left, right)) return true;
      }
    }
  }
  return false;
}

void SchemaCompiler::require_exclusive(SchemaPart list) {
  constexpr size_t kMost = 32;  // each is compared with all others
  if (list.value->size() > kMost) {
    refuse_schema(*list.place, "it has {} alternatives; {} are supported: say \"anyOf\"", list.value->size(),
                  kMost);
  }
  std::vector<SchemaView> views;
  for (size_t i = 0; i < list.value->size(); ++i)
    views.push_back(reader_.view(reader_.inside(list, std::to_string(i), (*list.value)[i])));
  for (size_t i = 0; i < views.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const unsigned common = kinds_of(views[i], 0) & kinds_of(views[j], 0);
      if (common == 0) continue;
      const auto left = literals_of(views[i]), right = literals_of(views[j]);
      if (!left.empty() && !right.empty() && have_none_in_common(left, right)) continue;
      if (common == kObjectKind && differ_in_a_tag(views[i], views[j])) continue;
      refuse_schema(
          *list.place,
          "a value could be of alternatives {} and {} both, which an automaton cannot exclude; give them "
          "different types, or a required property with a \"const\" each, or say \"anyOf\"",
          j, i);
    }
  }
}

}  // namespace trireme
