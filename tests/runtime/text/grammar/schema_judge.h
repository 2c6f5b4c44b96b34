// A small validator of JSON Schema for the keywords that grammars support, by recursion over values, and
// values drawn from schemas.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <regex>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/io/json/utf8.h"

namespace trireme::test {

using Json = nlohmann::ordered_json;

class SchemaJudge {
 public:
  explicit SchemaJudge(const Json& root) : root_(root) {}

  bool is_valid(const Json& value) const { return is_valid(value, root_); }

 private:
  static size_t code_points(const std::string& text) {
    return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return !is_utf8_continuation(c); }));
  }

  static bool is_of_type(const Json& value, const std::string& type) {
    if (type == "integer") {
      return value.is_number_integer() ||
             (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()));
    }
    return (type == "null" && value.is_null()) || (type == "boolean" && value.is_boolean()) ||
           (type == "number" && value.is_number()) || (type == "string" && value.is_string()) ||
           (type == "array" && value.is_array()) || (type == "object" && value.is_object());
  }

  bool is_of_types(const Json& value, const Json& types) const {
    if (types.is_string()) return is_of_type(value, types.get<std::string>());
    return std::ranges::any_of(types,
                               [&](const Json& type) { return is_of_type(value, type.get<std::string>()); });
  }

  long matches(const Json& value, const Json& alternatives) const {
    return std::ranges::count_if(alternatives, [&](const Json& one) { return is_valid(value, one); });
  }

  bool is_valid_object(const Json& value, const Json& schema) const {
    static const Json kNone = Json::object();
    const Json& properties = schema.contains("properties") ? schema["properties"] : kNone;
    for (const auto& member : value.items()) {
      if (properties.contains(member.key())) {
        if (!is_valid(member.value(), properties[member.key()])) return false;
      } else if (schema.contains("additionalProperties") &&
                 !is_valid(member.value(), schema["additionalProperties"])) {
        return false;
      }
    }
    if (!schema.contains("required")) return true;
    return std::ranges::all_of(schema["required"],
                               [&](const Json& name) { return value.contains(name.get<std::string>()); });
  }

  bool is_valid_array(const Json& value, const Json& schema) const {
    if (schema.contains("minItems") && value.size() < schema["minItems"].get<size_t>()) return false;
    if (schema.contains("maxItems") && value.size() > schema["maxItems"].get<size_t>()) return false;
    const size_t prefix = schema.contains("prefixItems") ? schema["prefixItems"].size() : 0;
    for (size_t i = 0; i < value.size(); ++i) {
      if (i < prefix && !is_valid(value[i], schema["prefixItems"][i])) return false;
      if (i >= prefix && schema.contains("items") && !is_valid(value[i], schema["items"])) return false;
    }
    return true;
  }

  bool is_valid_string(const Json& value, const Json& schema) const {
    const auto& text = value.get_ref<const std::string&>();
    if (schema.contains("minLength") && code_points(text) < schema["minLength"].get<size_t>()) return false;
    if (schema.contains("maxLength") && code_points(text) > schema["maxLength"].get<size_t>()) return false;
    if (schema.contains("format") && schema["format"] == "date")
      return std::regex_match(text, std::regex("\\d{4}-\\d\\d-\\d\\d"));
    return !schema.contains("pattern") ||
           std::regex_search(text, std::regex(schema["pattern"].get<std::string>()));
  }

  bool is_valid_number(const Json& value, const Json& schema) const {
    const double number = value.get<double>();
    const auto bound = [&](const char* key, double otherwise) {
      return schema.contains(key) ? schema[key].get<double>() : otherwise;
    };
    return number >= bound("minimum", -INFINITY) && number <= bound("maximum", INFINITY) &&
           number > bound("exclusiveMinimum", -INFINITY) && number < bound("exclusiveMaximum", INFINITY);
  }

  bool is_valid(const Json& value, const Json& schema) const {
    if (schema.is_boolean()) return schema.get<bool>();
    if (schema.contains("$ref")) {
      const auto pointer = schema["$ref"].get<std::string>().substr(1);
      if (!is_valid(value, pointer.empty() ? root_ : root_[Json::json_pointer(pointer)])) return false;
    }
    if (schema.contains("allOf") && matches(value, schema["allOf"]) != std::ssize(schema["allOf"]))
      return false;
    if (schema.contains("anyOf") && matches(value, schema["anyOf"]) == 0) return false;
    if (schema.contains("oneOf") && matches(value, schema["oneOf"]) != 1) return false;
    if (schema.contains("type") && !is_of_types(value, schema["type"])) return false;
    if (schema.contains("const") && value != schema["const"]) return false;
    if (schema.contains("enum") && std::ranges::count(schema["enum"], value) == 0) return false;
    if (value.is_object()) return is_valid_object(value, schema);
    if (value.is_array()) return is_valid_array(value, schema);
    if (value.is_string()) return is_valid_string(value, schema);
    return !value.is_number() || is_valid_number(value, schema);
  }

  const Json& root_;
};

/// Values of any kind, small; names and strings are of a few that schemas of the tests speak of.
template <class Random>
Json draw_value(Random& random, int depth, const std::vector<std::string>& words) {
  const auto draw = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  switch (draw(depth > 0 ? 8 : 6)) {
    case 0:
      return nullptr;
    case 1:
      return draw(2) == 0;
    case 2:
      return static_cast<int64_t>(draw(30)) - 10;
    case 3:
      return static_cast<double>(2 * draw(200) + 1) / 16 - 10;
    case 4:
    case 5:
      return words[draw(words.size())];
    case 6: {
      Json list = Json::array();
      for (size_t i = draw(4); i > 0; --i) list.push_back(draw_value(random, depth - 1, words));
      return list;
    }
    default: {
      Json object = Json::object();
      for (size_t i = draw(4); i > 0; --i)
        object[words[draw(words.size())]] = draw_value(random, depth - 1, words);
      return object;
    }
  }
}

}  // namespace trireme::test
