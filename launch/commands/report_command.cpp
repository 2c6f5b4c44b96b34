// `trireme report`: a page about runs, from what they have left in their directories.
#include <cmath>
#include <filesystem>
#include <span>

#include <fmt/format.h>

#include "launch/cli/options/option_values.h"
#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/report/number_text.h"
#include "launch/report/visible_text.h"
#include "launch/run_report/read_run.h"
#include "launch/run_report/report_page.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

struct ReportArguments {
  ReportOptions page;
  std::string out;
};

std::vector<PlainOption> report_options(ReportArguments& arguments) {
  const auto smoothing = [&arguments](const std::string& text) -> std::string {
    const auto number = option_values::parse_number<double>(text);
    if (!number || !(*number >= 0) || *number > 0.999) return "a number from 0 to 0.999";
    arguments.page.smoothing = *number;
    return "";
  };
  return {
      {"out", "FILE", "the page to write", "report.html in the run's directory; of several runs, here",
       text_into(arguments.out)},
      {"smooth", "X",
       "where the slider for smoothing stands at first: the weight of earlier steps in an exponential moving "
       "average",
       "0", smoothing},
      {"title", "TEXT", "the title of the page", "the runs' names", text_into(arguments.page.title)}};
}

std::string report_help() {
  ReportArguments arguments;
  return fmt::format(
      "usage: trireme report RUN... [options]    write one HTML page about runs, with curves and tables\n\n"
      "  trireme report runs/gpt2-3m-bible\n"
      "  trireme report runs/a runs/b --out a-and-b.html --smooth 0.9\n\n"
      "RUN is a directory that `trireme train` has written, or still writes. The page needs no "
      "network.\n\n{}",
      help_plain(report_options(arguments)));
}

}  // namespace

void run_report(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  if (asks_for_help(args)) {
    fmt::print("{}", report_help());
    return;
  }
  ReportArguments arguments;
  std::vector<std::string> errors;
  const auto paths = parse_plain_arguments("report", report_options(arguments), args, errors);
  if (paths.empty())
    errors.push_back("which run? The directory that `trireme train` wrote, such as runs/gpt2-3m-bible");
  if (!errors.empty()) throw_errors(errors, "report");
  const std::vector<RunData> runs = read_runs(paths);
  std::string out = arguments.out;
  if (out.empty())
    out = runs.size() == 1 ? (std::filesystem::path(paths[0]) / "report.html").string() : "report.html";
  const std::string html = report_page(runs, arguments.page).html();
  write_file_atomically(out, html);
  fmt::print("written  {} ({})\n", visible(out), short_bytes(static_cast<double>(html.size())));
  for (const RunData& run : runs) {
    for (const std::string& problem : run.problems)
      fmt::print("note     {}: {}\n", visible(run.name), visible(problem));
  }
}

}  // namespace trireme::launch
