#include "launch/doctor/report.h"

#include <algorithm>

#include <fmt/format.h>

#include "launch/doctor/facts_json.h"
#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"

namespace trireme::launch {

namespace {

constexpr size_t kTextWidth = 96;

/// Lines of at most kTextWidth columns where there are blanks to break at, the following ones behind `indent`
/// blanks.
std::string wrapped(const std::string& text, size_t indent) {
  std::string out;
  size_t column = 0;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(' ', at), text.size());
    const size_t length = end - at;
    if (column > 0 && column + 1 + length > kTextWidth) {
      out += "\n" + std::string(indent, ' ');
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out.append(text, at, length);
    column += length;
    at = end + 1;
  }
  return out;
}

std::string summary(const Examination& found) {
  const auto count = [&](Verdict verdict) {
    return std::ranges::count(found.findings, verdict, &Finding::verdict);
  };
  const auto hosts = std::ranges::count(found.ranks, 0, &RankFacts::local_rank);
  return fmt::format("{} on {}: {} OK, {} WARN, {} FAIL\n",
                     counted(static_cast<int64_t>(found.ranks.size()), "rank"), counted(hosts, "host"),
                     count(Verdict::ok), count(Verdict::warn), count(Verdict::fail));
}

}  // namespace

std::string doctor_table(const Examination& found) {
  constexpr size_t kIndent = 20;
  std::string table;
  for (const Finding& finding : found.findings) {
    table += fmt::format("{:<13}{:<7}{}\n", finding.check, to_string(finding.verdict),
                         wrapped(visible(finding.text), kIndent));
    if (!finding.remedy.empty())
      table +=
          fmt::format("{}-> {}\n", std::string(kIndent, ' '), wrapped(visible(finding.remedy), kIndent + 3));
  }
  return table + summary(found);
}

std::string doctor_json(const Examination& found, const std::string& program) {
  nlohmann::json findings = nlohmann::json::array();
  for (const Finding& finding : found.findings) {
    findings.push_back({{"check", finding.check},
                        {"verdict", to_string(finding.verdict)},
                        {"text", finding.text},
                        {"remedy", finding.remedy}});
  }
  const nlohmann::json report = {
      {"version", 1},           {"program", program},   {"verdict", to_string(found.verdict())},
      {"findings", findings},   {"ranks", found.ranks}, {"shared", found.shared},
      {"clocks", found.clocks}, {"axes", found.axes},   {"links", found.links}};
  return report.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace trireme::launch
