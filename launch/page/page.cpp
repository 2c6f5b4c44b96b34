#include "launch/page/page.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/page/assets.h"
#include "launch/page/escape.h"
#include "launch/page/table_html.h"
#include "runtime/base/error.h"
#include "runtime/io/digest/xxh3.h"

namespace trireme::launch {

namespace {

std::string paragraph_of(const char* name, std::string_view text) {
  return fmt::format("<p{}>{}</p>\n", name, html_text(text));
}

std::string table_cell(const char* tag, const Column& column, const std::string& text) {
  return fmt::format("<{0}{1}>{2}</{0}>", tag,
                     column.is_number  ? " class=\"number\""
                     : column.is_short ? " class=\"short\""
                                       : "",
                     html_text(text));
}

}  // namespace

std::string table_html(const Table& table) {
  std::string out = fmt::format("<div class=\"scroll{}\"><table>", table.is_long ? " long" : "");
  if (!table.caption.empty() && !table.is_folded)
    out += fmt::format("<caption>{}</caption>", html_text(table.caption));
  out += "<thead><tr>";
  for (const Column& column : table.columns) out += table_cell("th", column, column.name);
  out += "</tr></thead>\n<tbody>";
  for (const auto& row : table.rows) {
    TRIREME_CHECK(row.size() == table.columns.size(), "a row of {} cells in a table of {} columns",
                  row.size(), table.columns.size());
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) out += table_cell("td", table.columns[i], row[i]);
    out += "</tr>\n";
  }
  out += "</tbody></table></div>\n";
  if (!table.is_folded) return out;
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n",
                     html_text(table.caption.empty() ? "Numbers" : table.caption), out);
}

Page::Page(std::string title, std::string subtitle)
    : title_(std::move(title)), subtitle_(std::move(subtitle)) {}

void Page::open_charts(bool are) {
  if (are == are_charts_open_) return;
  body_ += are ? "<div class=\"charts\">\n" : "</div>\n";
  are_charts_open_ = are;
}

void Page::heading(std::string_view text) {
  open_charts(false);
  const std::string id = fmt::format("section-{}", ++num_sections_);
  body_ += fmt::format("<h2 id=\"{}\">{}</h2>\n", id, html_text(text));
  links_ += fmt::format("<a href=\"#{}\">{}</a>\n", id, html_text(text));
}

void Page::subheading(std::string_view text) {
  open_charts(false);
  body_ += fmt::format("<h3>{}</h3>\n", html_text(text));
}

void Page::paragraph(std::string_view text) {
  open_charts(false);
  body_ += paragraph_of("", text);
}

void Page::note(std::string_view text) {
  open_charts(false);
  body_ += paragraph_of(" class=\"note\"", text);
}

void Page::facts(const std::vector<Figure>& facts) {
  open_charts(false);
  body_ += "<dl class=\"facts\">\n";
  for (const Figure& fact : facts) {
    const std::string note = fact.note.empty() ? "" : fmt::format("<small>{}</small>", html_text(fact.note));
    body_ += fmt::format("<div class=\"fact\"><dt>{}</dt><dd>{}{}</dd></div>\n", html_text(fact.label),
                         html_text(fact.value), note);
  }
  body_ += "</dl>\n";
}

void Page::table(const Table& table) {
  open_charts(false);
  body_ += table_html(table);
}

void Page::text_block(std::string_view title, std::string_view text) {
  open_charts(false);
  if (!title.empty()) body_ += fmt::format("<h3>{}</h3>\n", html_text(title));
  body_ += fmt::format("<pre>\n{}</pre>\n", html_text(text));
}

std::string Page::html() const {
  const std::string data =
      fmt::format("{{\"smoothing\":{:g},\"axes\":[{}],\"charts\":[{}]}}", smoothing_,
                  axes_.empty() ? "" : axes_.substr(1), charts_.empty() ? "" : charts_.substr(1));
  const std::string title = html_text(title_);
  // Scripts run by this word alone, which follows from all that the page holds: none of its texts can know
  // it.
  const std::string nonce = to_string(xxh3_128(title_ + subtitle_ + body_ + data));
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'; script-src 'nonce-{}'; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"generator\" content=\"trireme\">\n<link rel=\"icon\" href=\"data:,\">\n"
      "<title>{}</title>\n<style>\n{}\n{}</style>\n</head>\n<body>\n<header>\n<h1>{}</h1>\n",
      nonce, title, dygraphs_style(), page_style(), title);
  if (!subtitle_.empty()) out += paragraph_of(" class=\"subtitle\"", subtitle_);
  if (num_sections_ > 1) out += "<nav>\n" + links_ + "</nav>\n";
  out += "</header>\n<div class=\"controls\" hidden></div>\n<main>\n" + body_;
  if (are_charts_open_) out += "</div>\n";
  if (num_charts_ > 0)
    out += "<noscript><p class=\"note\">Charts need JavaScript; tables do not.</p></noscript>\n";
  out += "</main>\n<footer>\nMade by Trireme.\n";
  if (charts_.empty()) return out + "</footer>\n</body>\n</html>\n";
  out += fmt::format(
      "Drag across a chart to zoom in, double-click to see all of it; a name in its legend hides the curve.\n"
      "<details><summary>Charts are drawn by dygraphs (MIT licence)</summary>\n<pre>{}</pre></details>\n"
      "</footer>\n<script type=\"application/json\" id=\"page-data\">{}</script>\n"
      "<script nonce=\"{}\">{}</script>\n<script nonce=\"{}\">\n{}</script>\n</body>\n</html>\n",
      html_text(dygraphs_licence()), data, nonce, dygraphs_script(), nonce, page_script());
  return out;
}

}  // namespace trireme::launch
