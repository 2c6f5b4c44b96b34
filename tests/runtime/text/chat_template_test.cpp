#include "runtime/text/chat/chat_template.h"

#include <fstream>

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/folders.h"

namespace trireme {
namespace {

using nlohmann::ordered_json;

std::tm golden_time() {
  std::tm time{};
  time.tm_year = 126, time.tm_mon = 6, time.tm_mday = 4, time.tm_hour = 9, time.tm_min = 5, time.tm_sec = 3;
  std::mktime(&time);
  return time;
}

ChatText rendered(const std::string& source, const ordered_json& variables,
                  const jinja::Limits& limits = {}) {
  ChatInput input;
  input.messages = variables.value("messages", ordered_json::array());
  input.tools = variables.value("tools", ordered_json());
  input.add_generation_prompt = variables.value("add_generation_prompt", false);
  input.variables = variables;
  input.now = golden_time();
  return ChatTemplate(source, "chat").render(input, true, limits);
}

/// Within limits that a test reaches soon.
std::string text_of(const std::string& source) {
  return rendered(source, ordered_json::object(),
                  {.steps = 500'000, .bytes = 10'000'000, .output_bytes = 1'000'000})
      .text;
}

void expect_refused(const std::string& source, std::initializer_list<std::string_view> parts) {
  test::expect_error(ExitCode::bad_input, parts, [&] { text_of(source); });
}

TEST(ChatTemplate, TextsAreThoseOfJinja) {
  std::ifstream in(test::source_folder() + "/tests/golden/chat_templates.json");
  const ordered_json cases = ordered_json::parse(in);
  size_t texts = 0;
  for (const ordered_json& one : cases) {
    SCOPED_TRACE(one.at("name").get<std::string>());
    const auto source = one.at("template").get<std::string>();
    if (one.at("text").is_null()) {
      test::expect_error(ExitCode::bad_input, {"chat:1:"}, [&] { rendered(source, one.at("variables")); });
      continue;
    }
    try {
      const ChatText out = rendered(source, one.at("variables"));
      EXPECT_EQ(out.text, one.at("text").get<std::string>());
      ordered_json spans = ordered_json::array();
      for (const auto& range : out.generations) spans.push_back({range.begin, range.end});
      EXPECT_EQ(spans, one.at("generations"));
      ++texts;
    } catch (const UserError& error) {
      ADD_FAILURE() << error.what();
    }
  }
  EXPECT_GT(texts, 12u);
}

TEST(ChatTemplate, WhatIsNotSupportedIsNamedWithItsPlace) {
  expect_refused("a\n {% include 'x' %}", {"chat:2:", "'include'", "not supported"});
  expect_refused("{% for x in [1] recursive %}{% endfor %}", {"chat:1:17", "recursive"});
  expect_refused("{{ f(*a) }}", {"chat:1:6", "*"});
  expect_refused("{{ 1 | urlencode }}", {"chat:1:8", "'urlencode'", "not supported"});
  expect_refused("{{ 1 | nonsense }}", {"no filter 'nonsense'"});
  expect_refused("{{ 1 is nonsense }}", {"no test 'nonsense'"});
  expect_refused("{{ cycler(1) }}", {"'cycler'"});
  expect_refused("{{ [1].append(2) }}", {"'append'", "change"});
  expect_refused("{{ 'a'.__class__ }}", {"__"});
  expect_refused("{{ 'a'.encode() }}", {"'encode'", "not supported"});
  expect_refused("{% set x = namespace(a=1) %}{% set x._b = 2 %}", {"_b"});
  expect_refused("{% set x = {} %}{% set x.a = 2 %}", {"'x'", "namespace"});
  expect_refused("{% for loop in [1] %}{% endfor %}", {"'loop'"});
}

TEST(ChatTemplate, WhatIsWrongIsNamedWithItsPlace) {
  expect_refused("{{ 'open }}", {"chat:1:4", "string"});
  expect_refused("a\n{{ (1] }}", {"chat:2:6", "']'"});
  expect_refused("{% if x %}", {"chat:", "endif"});
  expect_refused("{% endif %}", {"'endif'"});
  expect_refused("{# open", {"chat:1:1", "#}"});
  expect_refused("{% break %}", {"outside a loop"});
  expect_refused("{{ x.y }}", {"chat:1:", "'x' is undefined"});
  expect_refused("{{ 1 // 0 }}", {"chat:1:6", "zero"});
  expect_refused("{{ 9223372036854775807 + 1 }}", {"63 bits"});
  expect_refused("{{ {[1]: 2} }}", {"key"});
  expect_refused("\xff", {"chat"});
  expect_refused("{{ raise_exception('Only ' ~ 'users') }}", {"refuses these messages: Only users"});
}

TEST(ChatTemplate, NoTemplateHangsOrFillsTheMemory) {
  expect_refused("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", {"steps"});
  expect_refused("{{ 'x' * 2000000000 }}", {"bytes"});
  expect_refused(
      "{% set n = namespace(t='xxxxxxxx') %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}",
      {"bytes"});
  expect_refused("{% set n = namespace(t=[]) %}{% for i in range(999) %}{% set n.t = [n.t] %}{% endfor %}",
                 {"nested"});
  expect_refused(
      "{% set n = namespace(t=[1]) %}{% for i in range(90) %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.t == "
      "n.t ~ '' }}{{ n.t }}",
      {"than"});
  expect_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", {"nested"});
  expect_refused("{{ range(999999) }}", {"100000"});
  expect_refused("{{ " + std::string(1000, '(') + "1" + std::string(1000, ')') + " }}", {"nested"});
  expect_refused("{{ 1" + std::string(3000, '+') + "1 }}", {"nested"});
  std::string blocks;
  for (int i = 0; i < 500; ++i) blocks += "{% if 1 %}";
  expect_refused(blocks, {"inside each other"});
  jinja::Limits small;
  small.output_bytes = 100;
  test::expect_error(ExitCode::bad_input, {"100 bytes"},
                     [&] { rendered(std::string(101, 'x'), ordered_json::object(), small); });
}

TEST(ChatTemplate, InputsAreChecked) {
  const ChatTemplate any("{{ messages }}", "chat");
  test::expect_error(ExitCode::bad_input, {"chat", "not a list"}, [&] { any.render({"text"}); });
  test::expect_error(ExitCode::bad_input, {"message 0"}, [&] { any.render({ordered_json::array({1})}); });
  test::expect_error(ExitCode::bad_input, {"UTF-8"}, [&] {
    any.render({ordered_json::array({{{"content", "\xff"}}})});
  });
  ordered_json deep = 1;
  for (int i = 0; i < 300; ++i) deep = ordered_json::array({deep});
  test::expect_error(ExitCode::bad_input, {"nested"}, [&] {
    any.render({ordered_json::array({{{"content", deep}}})});
  });
  test::expect_error(ExitCode::bad_input, {"63 bits"}, [&] {
    any.render({ordered_json::array({{{"content", UINT64_MAX}}})});
  });
  const ChatTemplate hidden("{% macro m() %}{% generation %}x{% endgeneration %}{% endmacro %}{{ m() }}",
                            "chat");
  EXPECT_EQ(hidden.render({ordered_json::array()}).text, "x");
  test::expect_error(ExitCode::bad_input, {"inside macros"},
                     [&] { hidden.render({ordered_json::array()}, true); });
}

}  // namespace
}  // namespace trireme
