// "enum" and "const" of JSON schemas.
#include <algorithm>
#include <cmath>

#include "runtime/io/json/utf8.h"
#include "runtime/text/grammar/schema_compiler.h"

namespace trireme {
unsigned literal_kind(const SchemaJson& value) {
  switch (value.type()) {
    case SchemaJson::value_t::null:
      return kNullKind;
    case SchemaJson::value_t::boolean:
      return kBooleanKind;
    case SchemaJson::value_t::string:
      return kStringKind;
    case SchemaJson::value_t::array:
      return kArrayKind;
    case SchemaJson::value_t::object:
      return kObjectKind;
    case SchemaJson::value_t::number_float:
      return value.get<double>() == std::floor(value.get<double>()) ? kIntegerKind : kFractionKind;
    default:
      return kIntegerKind;
  }
}

std::vector<SchemaJson> literals_of(const SchemaView& view) {
  std::vector<SchemaJson> values;
  if (const auto constant = view.find("const")) values = {*constant->value};
  if (const auto list = view.find("enum")) {
    const SchemaPlace place = list->place->at("enum");
    if (!list->value->is_array() || list->value->empty())
      refuse_schema(place, "it is no list of values, of which there must be one");
    if (!values.empty()) {
      if (std::ranges::find(*list->value, values[0]) == list->value->end())
        refuse_schema(place, "\"const\" is none of its values: it allows no value");
    } else {
      values.assign(list->value->begin(), list->value->end());
    }
  }
  if (values.empty() || view.all("type").empty()) return values;
  const unsigned kinds = view.kinds();
  std::erase_if(values, [&](const SchemaJson& value) { return (literal_kind(value) & kinds) == 0; });
  if (values.empty())
    refuse_schema(*view.place, "no value of \"enum\" or \"const\" is of its type: it allows no value");
  return values;
}

std::optional<std::string> scalar_spelling(const SchemaJson& value) {
  if (value.is_structured()) return std::nullopt;
  return value.is_string() ? json_spelling(value.get_ref<const std::string&>()) : value.dump();
}

void SchemaCompiler::add_literals(const SchemaView& view, std::vector<uint32_t>& to) {
  view.refuse_beside({"enum", "const", "type"},
                     "beside \"enum\" and \"const\": leave out the values it excludes");
  std::vector<std::string> scalars;
  for (const SchemaJson& value : literals_of(view)) {
    if (value.is_string() && find_utf8_error(value.get_ref<const std::string&>()))
      refuse_schema(*view.place, "a string is not UTF-8");
    if (auto spelling = scalar_spelling(value)) {
      scalars.push_back(std::move(*spelling));
    } else {
      to.push_back(literal_value(value, *view.place, end_, 0));
    }
  }
  constexpr size_t kMostStructured = 256;
  if (to.size() > kMostStructured)
    refuse_schema(*view.place, "it lists {} objects and arrays; {} are supported", to.size(),
                  kMostStructured);
  if (!scalars.empty()) to.push_back(builder_.any_literal(std::move(scalars), end_));
}

// Lists and objects with white space where it may stand.
uint32_t SchemaCompiler::literal_value(const SchemaJson& value, const SchemaPlace& place, uint32_t next,
                                       int depth) {
  constexpr int kMostDepth = 64;
  if (depth > kMostDepth) refuse_schema(place, "a value is nested more than {} deep", kMostDepth);
  if (value.is_string() && find_utf8_error(value.get_ref<const std::string&>()))
    refuse_schema(place, "a string is not UTF-8");
  if (const auto spelling = scalar_spelling(value)) return builder_.literal(*spelling, next);
  if (value.is_array()) {
    uint32_t state = builder_.byte(']', next);
    for (size_t i = value.size(); i-- > 0;) {
      state = literal_value(value[i], place, spaced(state), depth + 1);
      if (i > 0) state = builder_.byte(',', spaced(state));
    }
    return builder_.byte('[', spaced(state));
  }
  uint32_t state = builder_.byte('}', next);
  const auto& members = value.get_ref<const SchemaJson::object_t&>();
  for (size_t i = members.size(); i-- > 0;) {
    const auto& [name, inner] = *(members.begin() + static_cast<std::ptrdiff_t>(i));
    if (find_utf8_error(name)) refuse_schema(place, "a name is not UTF-8");
    state = spaced(builder_.byte(':', spaced(literal_value(inner, place, spaced(state), depth + 1))));
    state = builder_.literal(json_spelling(name), state);
    if (i > 0) state = builder_.byte(',', spaced(state));
  }
  return builder_.byte('{', spaced(state));
}

}  // namespace trireme
