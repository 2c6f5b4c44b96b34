#include "tests/fuzz/grammar_case.h"

#include <cstdlib>

#include "runtime/base/error.h"
#include "runtime/text/grammar/byte_grammar.h"
#include "tests/runtime/text/grammar/json_bounds.h"

namespace trireme::test {
namespace {

void must(bool condition) {
  if (!condition) std::abort();
}

bool compare_with_parser(std::string_view input) {
  // To the parser a zero byte is the end.
  const bool is_object =
      input.find('\0') == input.npos && nlohmann::json::parse(input, nullptr, false).is_object();
  const bool has_mark = input.starts_with("\xEF\xBB\xBF");  // of byte order, which the parser passes over
  static const auto kObjects = json_object_grammar();
  must(accepts(kObjects, input) == (is_object && !has_mark && is_bounded_json(input)));
  return is_object;
}

bool draw_from_schema(std::string_view input) {
  const auto schema = nlohmann::ordered_json::parse(input, nullptr, false);
  if (schema.is_discarded()) return false;
  std::shared_ptr<const ByteGrammar> grammar;
  try {
    grammar = json_schema_grammar(schema);
  } catch (const UserError& error) {
    must(error.code() == ExitCode::bad_input);
    must(std::string_view(error.what()).find("JSON schema") != std::string_view::npos);
    return false;
  }
  std::mt19937_64 random(input.size());
  constexpr size_t kMostBytes = 80;
  const ByteMatcher matcher(grammar);
  must(!matcher.is_at_end());
  if (const auto text = draw_text(matcher, random, kMostBytes)) must(nlohmann::json::accept(*text));
  return true;
}

}  // namespace

bool run_grammar(std::string_view input) {
  return input.starts_with('S') ? draw_from_schema(input.substr(1)) : compare_with_parser(input);
}

std::vector<std::string> grammar_seeds() {
  return {
      R"({"a": [1.5e-3, -0, {}, "\u00e9\ud83d\ude00 é"], "b": {"c": null, "": true}})",
      "{\n  \"a\" : [ ] ,\r\n\t\"b\":\"\\\\\\\"\\/\\b\"\n}",
      R"({"n":[12345678901234567890,0.12345678901234567890,1E+9]})",
      "{\"a\":" + std::string(70, '[') + std::string(70, ']') + "}",
      R"(S{"type":"object","properties":{"a":{"type":"integer","minimum":-5,"maximum":120},"b":{"type":"string","minLength":1,"maxLength":3}},)"
      R"("required":["a"],"additionalProperties":{"type":"number","exclusiveMinimum":0,"maximum":12}})",
      R"(S{"anyOf":[{"$ref":"#/$defs/x"},{"type":["null","boolean"]},{"enum":["a",1,1.5,{"x":[]}]}],)"
      R"("$defs":{"x":{"type":"array","items":{"$ref":"#"},"prefixItems":[{"const":"y"}],"minItems":1,"maxItems":3}}})",
      R"(S{"type":"string","pattern":"^[a-c\\d]{2,3}(x|[^é-\\u{1F600}]+?)*$","maxLength":9})",
      R"(S{"type":"array","items":{"type":"string","format":"date-time"}})",
      R"(S{"oneOf":[{"properties":{"t":{"const":"a"}},"required":["t"]},{"properties":{"t":{"const":"b"}},"required":["t"]}]})",
      R"(S{"allOf":[{"$ref":"#/$defs/a"},{"required":["x"]}],"$defs":{"a":{"properties":{"x":{"$ref":"#"},"y":{"type":"null"}}}}})",
      R"(S{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})",
      R"(S{"$ref":"#/$defs/a~1b","$defs":{"a/b":{"items":false,"prefixItems":[true,{}]}}})"};
}

}  // namespace trireme::test
