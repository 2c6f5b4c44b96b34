#include "runtime/text/grammar/schema_view.h"

#include <algorithm>
#include <array>

namespace trireme {
namespace {

constexpr std::string_view kAnnotations[] = {
    "title",    "description", "default",   "example",    "examples", "$schema",    "$id",
    "$comment", "readOnly",    "writeOnly", "deprecated", "$defs",    "definitions"};
// What says nothing by itself.
constexpr std::string_view kAssertions[] = {"type",
                                            "enum",
                                            "const",
                                            "anyOf",
                                            "oneOf",
                                            "properties",
                                            "required",
                                            "additionalProperties",
                                            "items",
                                            "prefixItems",
                                            "minItems",
                                            "maxItems",
                                            "minLength",
                                            "maxLength",
                                            "pattern",
                                            "format",
                                            "minimum",
                                            "maximum",
                                            "exclusiveMinimum",
                                            "exclusiveMaximum",
                                            "uniqueItems"};

constexpr int kMostDepth = 128, kMostReferences = 64;
constexpr size_t kMostParts = 64;

struct KeywordKind {
  std::string_view keyword;
  unsigned kind;
};
constexpr KeywordKind kKeywordKinds[] = {{"properties", kObjectKind},
                                         {"required", kObjectKind},
                                         {"additionalProperties", kObjectKind},
                                         {"items", kArrayKind},
                                         {"prefixItems", kArrayKind},
                                         {"minItems", kArrayKind},
                                         {"maxItems", kArrayKind},
                                         {"uniqueItems", kArrayKind},
                                         {"minLength", kStringKind},
                                         {"maxLength", kStringKind},
                                         {"pattern", kStringKind},
                                         {"format", kStringKind},
                                         {"minimum", kNumberKinds},
                                         {"maximum", kNumberKinds},
                                         {"exclusiveMinimum", kNumberKinds},
                                         {"exclusiveMaximum", kNumberKinds}};

constexpr std::pair<std::string_view, unsigned> kTypes[] = {
    {"null", kNullKind},     {"boolean", kBooleanKind}, {"integer", kIntegerKind}, {"number", kNumberKinds},
    {"string", kStringKind}, {"array", kArrayKind},     {"object", kObjectKind}};

template <class List>
bool contains(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != std::end(list);
}

unsigned kind_of_type(const SchemaJson& name, const SchemaPlace& place) {
  if (!name.is_string())
    refuse_schema(place.at("type"), "a type is a string, not {}", shortened(name.dump()));
  for (const auto& [type, kind] : kTypes) {
    if (name.get_ref<const std::string&>() == type) return kind;
  }
  refuse_schema(place.at("type"), "there is no type \"{}\"", shortened(name.get_ref<const std::string&>()));
}

unsigned kinds_of_type(SchemaPart type) {
  if (!type.value->is_array()) return kind_of_type(*type.value, *type.place);
  unsigned kinds = 0;
  for (const SchemaJson& name : *type.value) kinds |= kind_of_type(name, *type.place);
  if (kinds == 0) refuse_schema(type.place->at("type"), "the list of types is empty: no value has one");
  return kinds;
}

// "~1" to "/" and so on, and percent signs of a fragment; empty: none such.
std::optional<std::string> unescaped(std::string_view token) {
  std::string out;
  for (size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '~') {
      if (i + 1 == token.size() || (token[i + 1] != '0' && token[i + 1] != '1')) return std::nullopt;
      out += token[++i] == '0' ? '~' : '/';
    } else {
      out += token[i];
    }
  }
  return out;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) return std::nullopt;
    out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
    i += 2;
  }
  return out;
}

const SchemaJson* child_of(const SchemaJson& value, const std::string& key) {
  if (value.is_object()) {
    const auto found = value.find(key);
    return found == value.end() ? nullptr : &*found;
  }
  constexpr size_t kLongestIndex = 9;
  if (!value.is_array() || key.empty() || key.size() > kLongestIndex) return nullptr;
  if (!std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; })) return nullptr;
  const size_t index = std::stoul(key);
  return index < value.size() ? &value[index] : nullptr;
}

bool is_pure_reference(const SchemaJson& schema) {
  if (!schema.is_object() || !schema.contains("$ref")) return false;
  return std::ranges::all_of(schema.items(), [](const auto& member) {
    return member.key() == "$ref" || contains(kAnnotations, member.key());
  });
}

void check_keyword(SchemaPart keyword) {
  const std::string& name = keyword.place->key;
  if (contains(kAnnotations, name) || contains(kAssertions, name) || name == "$ref" || name == "allOf")
    return;
  refuse_schema(*keyword.place, "the keyword \"{}\" is not supported", shortened(name));
}

}  // namespace

std::optional<SchemaPart> SchemaView::find(const char* keyword) const {
  const auto found = all(keyword);
  if (found.empty()) return std::nullopt;
  for (const SchemaPart& other : found) {
    if (other.value != found.front().value && *other.value != *found.front().value) {
      refuse_schema(other.place->at(keyword),
                    "\"{}\" stands at {} as well, with another value; put them together by hand", keyword,
                    found.front().place->pointer());
    }
  }
  return found.front();
}

std::vector<SchemaPart> SchemaView::all(const char* keyword) const {
  std::vector<SchemaPart> found;
  for (const SchemaPart& part : parts) {
    const auto member = part.value->find(keyword);
    if (member != part.value->end()) found.push_back({&*member, part.place});
  }
  return found;
}

void SchemaView::refuse_beside(std::initializer_list<std::string_view> others,
                               std::string_view reason) const {
  for (const SchemaPart& part : parts) {
    for (const auto& member : part.value->items()) {
      if (!contains(kAssertions, member.key()) || contains(others, member.key())) continue;
      refuse_schema(part.place->at(member.key()), "\"{}\" is not supported {}", member.key(), reason);
    }
  }
}

unsigned SchemaView::kinds() const {
  unsigned kinds = kAllKinds;
  bool is_typed = false;
  for (const SchemaPart& type : all("type")) {
    kinds &= kinds_of_type(type);
    is_typed = true;
  }
  if (kinds == 0) refuse_schema(*place, "the types of \"allOf\" have nothing in common: it allows no value");
  if (is_typed) return kinds;
  unsigned spoken_of = 0;
  for (const auto& [keyword, kind] : kKeywordKinds) {
    if (!all(keyword.data()).empty()) spoken_of |= kind;
  }
  return spoken_of == 0 ? kAllKinds : spoken_of;
}

SchemaReader::SchemaReader(const SchemaJson& root) : root_(&root) {}

SchemaPart SchemaReader::inside(SchemaPart of, const std::string& key, const SchemaJson& value) {
  if (of.place->depth >= kMostDepth) refuse_schema(*of.place, "it is nested more than {} deep", kMostDepth);
  places_.push_back(of.place->at(key));
  return {&value, &places_.back()};
}

SchemaPart SchemaReader::resolve(SchemaPart reference) {
  const auto refuse = [&](std::string_view reason) {
    refuse_schema(*reference.place, "\"$ref\": {} {}", shortened(reference.value->dump()), reason);
  };
  if (!reference.value->is_string()) refuse("is no string");
  const auto text = percent_decoded(reference.value->get_ref<const std::string&>());
  if (!text || !text->starts_with("#") || (text->size() > 1 && (*text)[1] != '/'))
    refuse("is not supported: references are \"#\", or \"#/\" and the way to a part of this schema");
  SchemaPart at = root();
  for (size_t begin = 1; begin < text->size();) {
    const size_t end = std::min(text->find('/', begin + 1), text->size());
    const auto key = unescaped(std::string_view(*text).substr(begin + 1, end - begin - 1));
    const SchemaJson* child = key ? child_of(*at.value, *key) : nullptr;
    if (child == nullptr) refuse("leads nowhere");
    const auto known = targets_.find(child);
    at = known != targets_.end() ? SchemaPart{child, known->second} : inside(at, *key, *child);
    targets_.emplace(child, at.place);
    begin = end;
  }
  return at;
}

SchemaPart SchemaReader::follow(SchemaPart schema) {
  SchemaPart at = schema;
  for (int times = 0; is_pure_reference(*at.value); ++times) {
    if (times == kMostReferences)
      refuse_schema(*schema.place, "\"$ref\" leads through more than {} others, or in a circle",
                    kMostReferences);
    at = resolve({&*at.value->find("$ref"), at.place});
  }
  return at;
}

void SchemaReader::gather(SchemaPart schema, SchemaView& view, int depth) {
  if (depth > kMostReferences || view.parts.size() > kMostParts)
    refuse_schema(*view.place, "\"allOf\" and \"$ref\" lead through more than {} others, or in a circle",
                  kMostReferences);
  schema = follow(schema);
  const SchemaJson& value = *schema.value;
  if (value.is_boolean()) {
    if (!value.get<bool>()) view.allows_nothing = true;
    return;
  }
  if (!value.is_object())
    refuse_schema(*schema.place, "a schema is an object or a boolean, not {}", shortened(value.dump()));
  bool asserts = false;
  for (const auto& member : value.items()) {
    const SchemaPlace place = schema.place->at(member.key());
    check_keyword({&member.value(), &place});
    asserts = asserts || contains(kAssertions, member.key());
  }
  if (asserts) view.parts.push_back(schema);
  if (const auto reference = value.find("$ref"); reference != value.end())
    gather(resolve({&*reference, schema.place}), view, depth + 1);
  const auto all = value.find("allOf");
  if (all == value.end()) return;
  if (!all->is_array() || all->empty()) refuse_schema(schema.place->at("allOf"), "it is no list of schemas");
  const SchemaPart list = inside(schema, "allOf", *all);
  for (size_t i = 0; i < all->size(); ++i)
    gather(inside(list, std::to_string(i), (*all)[i]), view, depth + 1);
}

SchemaView SchemaReader::view(SchemaPart schema) {
  SchemaView view;
  view.place = schema.place;
  gather(schema, view, 0);
  return view;
}

}  // namespace trireme
