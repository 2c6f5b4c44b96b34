// Pages: what is in them is escaped, is JSON, and is the same each time.
#include "launch/page/page.h"

#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/page/escape.h"
#include "runtime/base/error.h"

namespace trireme::launch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kHostile =
    "</script><script>alert('x')</script><img src=x onerror=\"alert(1)\">&\xff\x1b[2J";

nlohmann::json data_of(const std::string& html) {
  const std::string begin = "id=\"page-data\">";
  const size_t at = html.find(begin) + begin.size();
  return nlohmann::json::parse(html.substr(at, html.find("</script>", at) - at));
}

size_t count(const std::string& text, const std::string& what) {
  size_t found = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++found;
  return found;
}

TEST(PageEscape, TextsCannotLeaveTheirPlace) {
  EXPECT_EQ(html_text("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(html_text("\xff\x01 ok"), "\\xff\\x01 ok");
  EXPECT_EQ(json_text("</script>"), "\"\\u003c/script>\"");
  EXPECT_EQ(nlohmann::json::parse(json_text(kHostile)).get<std::string>().substr(0, 9), "</script>");
}

TEST(PageEscape, NumbersThatAreNotFiniteAreNull) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> numbers = {1, 0.1, -inf, inf, std::numeric_limits<double>::quiet_NaN(), 1e300};
  EXPECT_EQ(json_numbers(numbers), "[1,0.1,null,null,null,1e+300]");
  EXPECT_EQ(json_numbers(std::vector<double>{123456789012.0}, 12), "[123456789012]");
  EXPECT_EQ(json_numbers({}), "[]");
}

Page hostile_page() {
  Page page(kHostile, kHostile);
  page.heading(kHostile);
  page.facts({{kHostile, kHostile, kHostile}});
  page.table({{{kHostile}}, {{kHostile}}, kHostile, true});
  page.text_block(kHostile, kHostile);
  const int axis = page.add_axis(kHostile, {1, 2});
  page.lines({.title = kHostile,
              .series = {{kHostile, axis, {1, 2}}},
              .marks = {{kHostile, axis, {kHostile, ""}}},
              .note = kHostile});
  page.bars({.title = kHostile, .parts = {kHostile}, .rows = {kHostile}, .values = {{1}}});
  page.heat_map({.title = kHostile, .axis = axis, .rows = {kHostile}, .values = {1, 2}});
  page.timeline(
      {.title = kHostile, .rows = {kHostile}, .kinds = {kHostile}, .spans = {{0, 0, 0, 1, kHostile}}});
  return page;
}

TEST(Page, HostileTextsAreShown) {
  const std::string html = hostile_page().html();
  EXPECT_EQ(count(html, "<img"), 0u);
  EXPECT_EQ(count(html, "</script>"), 3u) << "data, dygraphs, and the page's own";
  EXPECT_EQ(count(html, "<script"), 3u);
  EXPECT_THAT(html, HasSubstr("&lt;/script&gt;&lt;script&gt;alert(&#39;x&#39;)"));
  const auto data = data_of(html);
  EXPECT_EQ(data["charts"].size(), 3u) << "bars are HTML alone";
  EXPECT_EQ(data["charts"][0]["marks"][0]["texts"][1], "");
}

TEST(Page, LoadsNothing) {
  const std::string html = hostile_page().html();
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  const std::string head = html.substr(0, html.find("<body>"));
  EXPECT_THAT(head, Not(HasSubstr("http://")));
  EXPECT_THAT(head, Not(HasSubstr("url(")));
  EXPECT_THAT(html, HasSubstr("Permission is hereby granted")) << "dygraphs' licence";
}

TEST(Page, EqualCallsMakeEqualBytes) { EXPECT_EQ(hostile_page().html(), hostile_page().html()); }

TEST(Page, ScriptsRunByAWordThatItsTextsCannotKnow) {
  const auto nonce = [](const std::string& html) {
    const size_t at = html.find("'nonce-") + 7;
    return html.substr(at, 32);
  };
  const std::string first = nonce(Page("a").html());
  EXPECT_EQ(first.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(first, nonce(Page("b").html()));
}

TEST(Page, ChartsKeepTheirNumbers) {
  Page page("t");
  const int axis = page.add_axis({{"step", {10, 20}}, {"tokens", {1000, 123456789012.0}}});
  page.lines(
      {.title = "loss",
       .unit = Unit::bytes,
       .series = {{"a", axis, {1.5, std::numeric_limits<double>::quiet_NaN()}, {1, 1}, {2, 2}, {7, 3}}},
       .is_smoothed = true});
  page.set_smoothing(0.5);
  const auto data = data_of(page.html());
  EXPECT_EQ(data["smoothing"], 0.5);
  EXPECT_EQ(data["axes"][0][1], nlohmann::json::parse(R"(["tokens",[1000,123456789012]])"));
  const auto& series = data["charts"][0]["series"][0];
  EXPECT_EQ(series["y"], nlohmann::json::parse("[1.5,null]"));
  EXPECT_EQ(series["count"], nlohmann::json::parse("[7,3]"));
  EXPECT_EQ(data["charts"][0]["unit"], "bytes");
}

TEST(Page, SeriesAndAxesMustAgree) {
  Page page("t");
  const int axis = page.add_axis("x", {1, 2, 3});
  EXPECT_THROW(page.lines({.title = "", .series = {{"a", axis, {1, 2}}}}), InternalError);
  EXPECT_THROW(page.heat_map({.title = "", .axis = axis, .rows = {"r"}, .values = {1}}), InternalError);
  EXPECT_THROW(page.table({{{"a"}, {"b"}}, {{"one"}}}), InternalError);
}

TEST(Page, BarsSayTheirSharesInWordsToo) {
  Page page("t");
  page.bars({.title = "b",
             .unit = Unit::ms,
             .parts = {"compute", "bubble"},
             .rows = {"dp2"},
             .values = {{30, 10}},
             .is_share = true});
  const std::string html = page.html();
  EXPECT_THAT(html, HasSubstr("width:75.000%"));
  EXPECT_THAT(html, HasSubstr("30 ms"));
  EXPECT_THAT(html, Not(HasSubstr("page-data\">"))) << "nothing to draw, no script";
}

}  // namespace
}  // namespace trireme::launch
