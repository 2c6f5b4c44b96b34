#include <gtest/gtest.h>

#include "runtime/text/grammar/byte_grammar.h"
#include "tests/runtime/text/grammar/json_bounds.h"
#include "tests/runtime/text/grammar/schema_judge.h"
#include "tests/support/expect_error.h"

namespace trireme {
namespace {

using test::accepts;
using test::expect_error;
using test::Json;

std::shared_ptr<const ByteGrammar> grammar_of(std::string_view schema) {
  return json_schema_grammar(Json::parse(schema));
}

struct SchemaCase {
  std::string_view name, schema;
  std::vector<std::string_view> good, bad;  ///< texts; good ones stand in the order of "properties"
};

void PrintTo(const SchemaCase& one, std::ostream* out) { *out << one.name; }

const std::vector<SchemaCase>& schema_cases() {
  static const std::vector<SchemaCase> kCases = {
      {"Anything", "{}", {"1", "null", R"({"a":[1,"x"]})", "[]"}, {"", "[1", "nul"}},
      {"True", "true", {"1", "{}"}, {"x"}},
      {"Null",
       R"({"type":"null","title":"t","description":"d","default":1,"examples":[],"$schema":"s"})",
       {"null"},
       {"0"}},
      {"Boolean", R"({"type":"boolean"})", {"true", " false"}, {"\"true\"", "true "}},
      {"Integer", R"({"type":"integer"})", {"0", "-12", "-0"}, {"1.0", "01", "1e2", "--1"}},
      {"Number", R"({"type":"number"})", {"0", "-1.5", "2E-3"}, {"1.", "\"1\""}},
      {"Types", R"({"type":["string","null","integer"]})", {"\"x\"", "null", "7"}, {"1.5", "[]"}},
      {"Members",
       R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},)"
       R"("required":["b"],"additionalProperties":false})",
       {R"({"b":"x"})", R"({ "a": 1, "b": "x", "c": null })", R"({"a":1,"b":""})", R"({"b":"","c":null})"},
       {"{}", R"({"a":1})", R"({"b":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"b":"x",})",
        R"({,"b":"x"})", R"({"a":1,"c":null,"b":"x"})", R"({"b":"x","b":"x"})"}},
      {"NoMembers",
       R"({"type":"object","properties":{},"additionalProperties":false})",
       {"{}", "{ }"},
       {R"({"a":1})"}},
      {"OptionalMembers",
       R"({"properties":{"a":{},"ab":{},"b":{}}})",
       {"{}", R"({"a":1})", R"({"ab":[]})", R"({"a":1,"b":2})", R"({"ab":1,"b":2})",
        R"({"a":1,"ab":1,"b":2})"},
       {R"({"b":1,"a":1})", R"({"c":1})", "[]"}},
      {"OtherMembers",
       R"({"type":"object","properties":{"a":{"type":"integer"},"ab\"":{"type":"integer"}},)"
       R"("additionalProperties":{"type":"string"}})",
       {R"({"a":1,"x":"y"})", R"({"x":"y","":"z"})", R"({"ab":"y"})", R"({"ab\"c":"y"})",
        R"({"ab\"":1,"b":""})", R"({"aa":"y"})", R"({"\u001f":"y","\n":""})", "{\"\u4e16\":\"\"}"},
       {R"({"a":"x"})", R"({"ab\"":"x"})", R"({"\u0061":"x"})", R"({"x":"y","a":1})", R"({"x":1})",
        R"({"\u000a":"y"})", R"({"\/":"y"})"}},
      {"AnyMembers", R"({"type":"object"})", {"{}", R"({"a":{"b":[]}})"}, {"[]"}},
      {"RequiredUndeclared",
       R"({"type":"object","properties":{"a":{"type":"null"}},"required":["z"]})",
       {R"({"z":[1]})", R"({"a":null,"z":1})"},
       {"{}", R"({"a":null})"}},
      {"OddNames",
       "{\"properties\":{\"\":{\"type\":\"null\"},\"a\\\"\\n\\u0001\u00e9\":{\"type\":\"null\"}}}",
       {R"({"":null})", "{\"a\\\"\\n\\u0001\u00e9\":null}"},
       {R"({" ":null})"}},
      {"Enum",
       R"({"enum":["a","ab",1,12,1.5,null,true,{"x":[1,2]},[]]})",
       {"\"a\"", "\"ab\"", "1", "12", "1.5", "null", "true", R"({ "x" : [1, 2] })", "[]"},
       {"\"b\"", "2", "\"abc\"", "false", "{}", "[1]", "121"}},
      {"TypedEnum", R"({"type":"string","enum":["a",1,null]})", {"\"a\""}, {"1", "null"}},
      {"Const", R"({"const":"\u00e9\n"})", {"\"\u00e9\\n\""}, {"\"\u00e9\"", "\"e\""}},
      {"Items",
       R"({"type":"array","items":{"type":"integer"}})",
       {"[]", "[1]", "[ 1, 2 ]"},
       {"[\"a\"]", "[1,]", "[,1]"}},
      {"Bounded",
       R"({"type":"array","items":{"type":"null"},"minItems":2,"maxItems":3})",
       {"[null,null]", "[null,null,null]"},
       {"[]", "[null]", "[null,null,null,null]"}},
      {"Empty", R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
      {"Prefix",
       R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"minItems":1})",
       {"[1]", "[1,\"a\"]"},
       {"[]", "[\"a\"]", "[1,2]", "[1,\"a\",2]"}},
      {"PrefixAndRest",
       R"({"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"null"},"maxItems":3})",
       {"[]", "[1]", "[1,null,null]"},
       {"[null]", "[1,1]", "[1,null,null,null]"}},
      {"Lengths",
       R"({"type":"string","minLength":2,"maxLength":3})",
       {"\"ab\"", "\"\u4e16\U0001F6A2\u00e9\"", R"("\ud83d\ude00\n")"},
       {"\"a\"", "\"abcd\"", R"("\ud83d\ude00")"}},
      {"LeastLength", R"({"type":"string","minLength":1})", {"\"a\"", "\"abcdefgh\""}, {"\"\""}},
      {"Pattern",
       R"({"type":"string","pattern":"^[a-c]{2}(-|\\d+)?$"})",
       {"\"ab\"", "\"cc-\"", "\"aa123\""},
       {"\"a\"", "\"abx\"", "\"ab-1\"", "\"xab\""}},
      {"OpenPattern",
       R"({"type":"string","pattern":"b+c"})",
       {"\"bc\"", "\"abbcd\"", "\"bbdbc\""},
       {"\"b\"", "\"cb\""}},
      {"LongPattern",
       R"({"type":"string","pattern":"^a*b*$","minLength":2,"maxLength":4})",
       {"\"ab\"", "\"aaaa\"", "\"abbb\""},
       {"\"a\"", "\"\"", "\"aaaab\"", "\"ba\""}},
      {"Date",
       R"({"type":"string","format":"date"})",
       {"\"2024-02-29\"", "\"1999-12-31\"", "\"2000-02-29\""},
       {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"2023-4-1\"", "\"2023-13-01\""}},
      {"Uuid",
       R"({"type":"string","format":"uuid"})",
       {"\"01234567-89ab-CDEF-0123-456789abcdef\""},
       {"\"0123\""}},
      {"DateTime",
       R"({"type":"string","format":"date-time"})",
       {"\"2024-02-29T23:59:59Z\"", "\"2024-01-01T00:00:00.5+01:30\""},
       {"\"2024-02-29\"", "\"2024-01-01T24:00:00Z\""}},
      {"Range",
       R"({"type":"integer","minimum":-5,"maximum":120})",
       {"-5", "0", "99", "100", "120"},
       {"-6", "121", "1000", "05", "-0"}},
      {"OpenRange",
       R"({"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":11.5})",
       {"10", "11"},
       {"9", "12", "1"}},
      {"Least", R"({"type":"integer","minimum":10})", {"10", "99", "12345"}, {"9", "-1"}},
      {"Natural", R"({"type":"number","minimum":0})", {"0", "1.5e3"}, {"-1"}},
      {"Share",
       R"({"type":"number","minimum":0,"maximum":1})",
       {"0", "0.25", "1", "1.00"},
       {"1.01", "-0.5", "2", "10"}},
      {"Between",
       R"({"type":"number","exclusiveMinimum":-2,"exclusiveMaximum":3})",
       {"-1.99", "-0.5", "0", "2.999"},
       {"-2", "-2.0", "3", "3.0"}},
      {"AnyOf",
       R"({"anyOf":[{"type":"integer"},{"type":"object","properties":{"a":{"const":1}},"required":["a"]},)"
       R"({"type":"object","properties":{"a":{"const":2},"b":{"type":"null"}},"required":["a","b"]}]})",
       {"1", R"({"a":1})", R"({"a":2,"b":null})"},
       {R"({"a":2})", R"({"a":1,"b":null})", "\"x\""}},
      {"OneOf",
       R"({"oneOf":[{"type":"string"},{"type":"object","properties":{"t":{"const":"a"},"v":{"type":"integer"}},"required":["t","v"]},)"
       R"({"type":"object","properties":{"t":{"enum":["b","c"]}},"required":["t"]}]})",
       {"\"x\"", R"({"t":"a","v":1})", R"({"t":"c"})"},
       {"1", R"({"t":"a"})", R"({"t":"d"})"}},
      {"AllOf",
       R"({"allOf":[{"$ref":"#/$defs/base"},{"properties":{"b":{"type":"integer"}},"required":["b"]}],)"
       R"("$defs":{"base":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}}})",
       {R"({"a":"x","b":1})"},
       {R"({"a":"x"})", R"({"b":1})", R"({"b":1,"a":"x"})"}},
      {"Tree",
       R"({"$ref":"#/definitions/node","definitions":{"node":{"type":"object","properties":{"v":{"type":"integer"},)"
       R"("left":{"anyOf":[{"$ref":"#/definitions/node"},{"type":"null"}]},"rest":{"type":"array","items":{"$ref":"#/definitions/node"}}},)"
       R"("required":["v"],"additionalProperties":false}}})",
       {R"({"v":1})", R"({"v":1,"left":{"v":2,"left":null},"rest":[{"v":3},{"v":4,"rest":[]}]})"},
       {R"({"v":1,"left":{}})", R"({"v":1,"rest":[1]})"}},
      {"Itself", R"({"type":["array","null"],"items":{"$ref":"#"}})", {"null", "[[],[null,[[]]]]"}, {"[1]"}},
  };
  return kCases;
}

class JsonSchemaGrammar : public testing::TestWithParam<SchemaCase> {};

TEST_P(JsonSchemaGrammar, AcceptsGoodTextsAlone) {
  const Json schema = Json::parse(GetParam().schema);
  const auto grammar = json_schema_grammar(schema);
  const test::SchemaJudge judge(schema);
  for (const std::string_view text : GetParam().good) {
    EXPECT_TRUE(accepts(grammar, text)) << text;
    EXPECT_TRUE(judge.is_valid(Json::parse(text))) << text;
  }
  for (const std::string_view text : GetParam().bad) EXPECT_FALSE(accepts(grammar, text)) << text;
}

TEST_P(JsonSchemaGrammar, LeadsToValuesOfTheSchema) {
  const Json schema = Json::parse(GetParam().schema);
  const ByteMatcher matcher(json_schema_grammar(schema));
  const test::SchemaJudge judge(schema);
  std::mt19937_64 random(11);
  int complete = 0;
  for (int i = 0; i < 8; ++i) {
    const auto text = test::draw_text(matcher, random, 400);
    if (!text) continue;
    ++complete;
    const Json value = Json::parse(*text, nullptr, false);
    EXPECT_FALSE(value.is_discarded()) << *text;
    EXPECT_TRUE(judge.is_valid(value)) << *text;
  }
  EXPECT_GT(complete, 3);
}

// Good texts with changes: what is accepted is valid.
TEST_P(JsonSchemaGrammar, AcceptsNoChangedTextThatIsInvalid) {
  const Json schema = Json::parse(GetParam().schema);
  const auto grammar = json_schema_grammar(schema);
  const test::SchemaJudge judge(schema);
  std::mt19937_64 random(13);
  const auto draw = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  const std::string_view alphabet = "{}[]\",:\\012abx-. \ntn";
  for (int i = 0; i < 400; ++i) {
    std::string text(GetParam().good[draw(GetParam().good.size())]);
    for (size_t change = 0, changes = 1 + draw(2); change < changes && !text.empty(); ++change) {
      const size_t at = draw(text.size());
      if (draw(3) == 0) {
        text.erase(at, 1);
      } else if (draw(2) == 0) {
        text.insert(at, 1, alphabet[draw(alphabet.size())]);
      } else {
        text[at] = alphabet[draw(alphabet.size())];
      }
    }
    if (!accepts(grammar, text)) continue;
    const Json value = Json::parse(text, nullptr, false);
    EXPECT_TRUE(!value.is_discarded() && judge.is_valid(value)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Schemas, JsonSchemaGrammar, testing::ValuesIn(schema_cases()),
                         [](const auto& one) { return std::string(one.param.name); });

/// The members in the order of "properties", and no others where there are any.
TEST(JsonSchemaGrammars, AcceptDrawnValuesIfTheyAreValid) {
  const Json schema = Json::parse(
      R"({"type":"object","properties":{"a":{"type":["integer","null"]},"b":{"type":"array","items":{"$ref":"#/$defs/x"},"maxItems":2},)"
      R"("c":{"anyOf":[{"$ref":"#"},{"type":"string","minLength":2},{"type":"boolean"}]}},"additionalProperties":false,)"
      R"("$defs":{"x":{"anyOf":[{"type":"number","minimum":-3,"maximum":12},{"enum":["a","abc",true]},{"$ref":"#"}]}}})");
  const auto grammar = json_schema_grammar(schema);
  const test::SchemaJudge judge(schema);
  std::mt19937_64 random(17);
  const std::vector<std::string> words = {"a", "b", "c", "abc"};
  int valid = 0;
  for (int i = 0; i < 12'000; ++i) {
    // Sorted names are in the order of the schema.
    const nlohmann::json value = nlohmann::json(test::draw_value(random, 3, words));
    if (!value.is_object()) continue;
    const bool is_valid = judge.is_valid(Json(value));
    valid += is_valid ? 1 : 0;
    EXPECT_EQ(accepts(grammar, value.dump()), is_valid) << value;
    EXPECT_EQ(accepts(grammar, value.dump(1, '\t')), is_valid) << value;
  }
  EXPECT_GT(valid, 30);
}

TEST(JsonSchemaGrammars, NameWhatTheyRefuse) {
  const std::tuple<std::string_view, std::vector<std::string>> cases[] = {
      {R"(1)", {"at #:", "an object or a boolean"}},
      {R"(false)", {"at #:", "allows no value"}},
      {R"({"properties":{"a/b~":{"not":{}}}})", {"#/properties/a~1b~0/not", "not supported"}},
      {R"({"properties":{"a":{"items":{"minContains":1}}}})", {"#/properties/a/items/minContains"}},
      {R"({"anyOf":[{},{"if":{}}]})", {"#/anyOf/1/if"}},
      {R"({"$defs":{"x":{"patternProperties":{}}},"items":{"$ref":"#/$defs/x"}})",
       {"#/$defs/x/patternProperties"}},
      {R"({"multipleOf":2})", {"#/multipleOf"}},
      {R"({"minProperties":2})", {"#/minProperties"}},
      {R"({"propertyNames":{}})", {"#/propertyNames"}},
      {R"({"dependentRequired":{}})", {"#/dependentRequired"}},
      {R"({"contains":{}})", {"#/contains"}},
      {R"({"nullable":true})", {"#/nullable"}},
      {R"({"type":"array","uniqueItems":true})", {"#/uniqueItems", "compare"}},
      {R"({"type":"array","items":[{}]})", {"#/items", "prefixItems"}},
      {R"({"type":"strin"})", {"#/type", "strin"}},
      {R"({"type":[]})", {"#/type", "no value"}},
      {R"({"type":3})", {"#/type"}},
      {R"({"enum":[]})", {"#/enum"}},
      {R"({"enum":["a"],"type":"integer"})", {"at #:", "no value"}},
      {R"({"enum":["a"],"minLength":2})", {"#/minLength", "enum"}},
      {R"({"const":1,"enum":[2]})", {"#/enum", "no value"}},
      {R"({"anyOf":[]})", {"#/anyOf"}},
      {R"({"anyOf":[{}],"type":"object"})", {"#/type", "anyOf"}},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", {"#/oneOf", "0 and 1", "anyOf"}},
      {R"({"oneOf":[{"properties":{"a":{}}},{"properties":{"b":{}}}]})", {"#/oneOf"}},
      {R"({"oneOf":[{"enum":[1]},{"enum":[1.0]}]})", {"#/oneOf"}},
      {R"({"allOf":[{"type":"string"},{"type":"null"}]})", {"at #:", "in common"}},
      {R"({"allOf":[{"properties":{"a":{}}},{"properties":{"a":{}}}]})", {"#/allOf/1/properties/a"}},
      {R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})",
       {"#/allOf/0/additionalProperties", "#/allOf/1"}},
      {R"({"allOf":[{"maxLength":2},{"maxLength":3}]})", {"#/allOf/1/maxLength", "#/allOf/0"}},
      {R"({"$ref":"#/$defs/none"})", {"at #:", "leads nowhere"}},
      {R"({"$ref":"other.json"})", {"at #:", "not supported"}},
      {R"({"items":{"$ref":"#/items"}})", {"#/items", "circle"}},
      {R"({"allOf":[{"$ref":"#"}],"type":"null"})", {"circle"}},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})",
       {"at #:", "contain themselves"}},
      {R"({"type":"object","required":["b"],"additionalProperties":false})",
       {"#/required", "\"b\"", "no value"}},
      {R"({"properties":{"a":false}})", {"#/properties/a", "no value"}},
      {R"({"minLength":1000000000})", {"#/minLength", "1000000000", "1000000"}},
      {R"({"minLength":-1})", {"#/minLength", "-1"}},
      {R"({"maxItems":1.5})", {"#/maxItems", "1.5"}},
      {R"({"minItems":3,"maxItems":2})", {"#/maxItems", "no value"}},
      {R"({"type":"array","prefixItems":[{}],"minItems":2})", {"#/minItems", "no value"}},
      {R"({"pattern":"(?=a)b"})", {"#/pattern", "looking ahead"}},
      {R"({"pattern":"(a)\\1"})", {"#/pattern", "references"}},
      {R"({"pattern":"a{3,1}"})", {"#/pattern"}},
      {R"({"pattern":"^ab$","minLength":3})", {"at #:", "no value"}},
      {R"({"pattern":"[ab]*a[ab]{20}c"})", {"#/pattern", "4000 states"}},
      {R"({"pattern":"((a{1000}){1000}){1000}"})", {"#/pattern", "20000 parts"}},
      {R"({"pattern":"a","maxLength":100000})", {"#/pattern", "100001"}},
      {R"({"format":"email"})", {"#/format", "email", "uuid"}},
      {R"({"type":"number","minimum":0.5})", {"#/minimum", "0.5"}},
      {R"({"type":"integer","minimum":3,"maximum":2})", {"at #:", "no value"}},
      {R"({"type":"integer","minimum":1e30})", {"#/minimum", "1e+30"}},
      {R"({"exclusiveMinimum":true})", {"#/exclusiveMinimum"}},
  };
  for (const auto& [schema, words] : cases) {
    SCOPED_TRACE(schema);
    const Json json = Json::parse(schema);
    std::vector<std::string> all = words;
    all.push_back("JSON schema");
    try {
      json_schema_grammar(json);
      ADD_FAILURE() << "was accepted";
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_input);
      for (const auto& word : all)
        EXPECT_NE(std::string_view(error.what()).find(word), std::string_view::npos) << error.what();
    }
  }
}

TEST(JsonSchemaGrammars, BoundWhatAHostileSchemaCosts) {
  Json deep = {{"type", "null"}};
  for (int i = 0; i < 300; ++i) deep = {{"items", deep}};
  Json deeper = Json::array();
  for (int i = 0; i < 5000; ++i) deeper = Json::array({std::move(deeper)});
  expect_error(ExitCode::bad_input, {"400 deep"}, [&] { json_schema_grammar(Json({{"enum", deeper}})); });
  expect_error(ExitCode::bad_input, {"128 deep"}, [&] { json_schema_grammar(deep); });

  Json wide = Json::object();
  for (int i = 0; i < 600; ++i) wide["properties"][std::to_string(i)] = Json::object();
  expect_error(ExitCode::bad_input, {"500"}, [&] { json_schema_grammar(wide); });

  Json many = {{"anyOf", Json::array()}};
  for (int i = 0; i < 300; ++i) many["anyOf"].push_back({{"type", "null"}});
  expect_error(ExitCode::bad_input, {"#/anyOf", "300", "256"}, [&] { json_schema_grammar(many); });

  Json large = {{"const", std::string(300'000, 'x')}};
  expect_error(ExitCode::bad_input, {"200000 states"}, [&] { json_schema_grammar(large); });

  // Each level twice: 2^40 paths, and 40 rules.
  Json doubled = {{"$ref", "#/$defs/0"}};
  for (int i = 0; i < 40; ++i) {
    const Json next = {{"$ref", "#/$defs/" + std::to_string(i + 1)}};
    doubled["$defs"][std::to_string(i)] = {{"type", "object"}, {"properties", {{"a", next}, {"b", next}}}};
  }
  doubled["$defs"]["40"] = {{"type", "null"}};
  EXPECT_LT(json_schema_grammar(doubled)->states.size(), 5000);

  // Alternatives that never part: every level could be either.
  const auto twins = grammar_of(
      R"({"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}],"$defs":{"a":{"properties":{"x":{"$ref":"#"}}},"b":{"properties":{"x":{"$ref":"#"}}}}})");
  ByteMatcher matcher(twins);
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(matcher.accept("{\"x\":"));
  EXPECT_TRUE(matcher.accept("{" + std::string(501, '}')));
  EXPECT_TRUE(matcher.is_at_end());

  EXPECT_TRUE(accepts(grammar_of(R"({"type":"array","maxItems":1e18})"), "[1,2]"));
}

TEST(JsonSchemaGrammars, ManyStates) {
  Json schema = {{"enum", Json::array()}};
  for (int i = 0; i < 10'000; ++i) schema["enum"].push_back("name-" + std::to_string(i * 7919));
  const auto grammar = json_schema_grammar(schema);
  EXPECT_GT(grammar->states.size(), 10'000);
  for (const Json& value : schema["enum"]) EXPECT_TRUE(accepts(grammar, value.dump()));
  EXPECT_FALSE(accepts(grammar, "\"name-1\""));
}

}  // namespace
}  // namespace trireme
