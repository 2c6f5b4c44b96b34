#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/cli/plain_arguments.h"
#include "launch/cli/run_arguments.h"
#include "launch/commands/commands.h"
#include "launch/compare/compare_page.h"
#include "launch/compare/compare_text.h"
#include "launch/compare/comparison.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

namespace {

struct CompareArguments {
  CompareOptions options;
  bool is_json = false;
  std::string html;
  double fail_slower = -1, fail_loss = -1;  // less than 0: off
  std::vector<std::string> a, b;
};

/// "3", "3%" or "0.5 %" into a share.
std::function<std::string(const std::string&)> percent_into(double& share) {
  return [&share](std::string text) -> std::string {
    if (text.ends_with('%')) text.pop_back();
    while (text.ends_with(' ')) text.pop_back();
    const auto number = option_values::parse_number<double>(text);
    if (!number || !(*number >= 0) || *number > 1000) return "percent, as 3% (0 to 1000)";
    share = *number / 100;
    return "";
  };
}

std::function<std::string(const std::string&)> loss_into(double& loss) {
  return [&loss](const std::string& text) -> std::string {
    const auto number = option_values::parse_number<double>(text);
    if (!number || !(*number >= 0) || !std::isfinite(*number)) return "a number, 0 or more, as 0.01";
    loss = *number;
    return "";
  };
}

std::vector<PlainOption> compare_options(CompareArguments& a) {
  return {
      {"json", "", "print one JSON object", "",
       [&a](const std::string&) {
         a.is_json = true;
         return std::string();
       }},
      {"html", "FILE", "write a page with the curves, which opens without network", "", text_into(a.html)},
      {"fail-slower", "X%",
       "exit with code 5 where B is slower by more than X percent, and that is not noise", "off",
       percent_into(a.fail_slower)},
      {"fail-loss", "X",
       "exit with code 5 where the loss or the validation loss of B is higher by more than X, and that is "
       "not noise",
       "off", loss_into(a.fail_loss)},
      {"spread", "X%",
       fmt::format("how far repeats of a run spread in speed (standard deviation), where fewer than {} a "
                   "side do not show it",
                   kFewestRepeats),
       fmt::format("{:g}%", 100 * CompareOptions().spread), percent_into(a.options.spread)}};
}

std::string compare_help() {
  CompareArguments defaults;
  return fmt::format(
      "usage: trireme compare RUN RUN [options]\n"
      "       trireme compare RUN RUN... -- RUN RUN... [options]\n\n"
      "  trireme compare runs/before runs/after\n"
      "  trireme compare runs/a-1 runs/a-2 runs/a-3 -- runs/b-1 runs/b-2 runs/b-3 --fail-slower 2%\n\n"
      "Says what differs between two runs, A and B, or between repeats of A and repeats of B:\n"
      "configuration, speed, loss; and whether a difference is noise. RUN is a run directory of trireme\n"
      "train, of any version. docs/compare.md says how it is judged.\n\n{}",
      help_plain(compare_options(defaults)));
}

CompareArguments parse_compare(std::span<const std::string> args) {
  CompareArguments a;
  std::vector<std::string> errors;
  const auto split = std::ranges::find(args, "--");
  const auto before = parse_plain_arguments("compare", compare_options(a), {args.begin(), split}, errors);
  if (split == args.end()) {
    if (before.size() == 2) {
      a.a = {before[0]};
      a.b = {before[1]};
    } else {
      errors.push_back(
          fmt::format("two runs are compared, or repeats of them with -- between the sides; there "
                      "are {} and no --",
                      before.size()));
    }
  } else {
    a.a = before;
    a.b = parse_plain_arguments("compare", compare_options(a), {split + 1, args.end()}, errors);
    if (a.a.empty() || a.b.empty())
      errors.push_back(fmt::format("no run {} --", a.a.empty() ? "before" : "after"));
  }
  if (!errors.empty()) throw_errors(errors, "compare");
  return a;
}

std::vector<ComparedRun> read_side(const std::vector<std::string>& paths) {
  std::vector<ComparedRun> runs;
  for (const std::string& path : paths) runs.push_back(read_compared_run(path));
  return runs;
}

bool is_beyond(const NoiseVerdict& verdict, double limit) {
  return limit >= 0 && verdict.is_known && !verdict.is_noise && verdict.difference.value > limit;
}

}  // namespace

void run_compare(std::span<const std::string> args, const RankPlace& place) {
  if (place.rank != 0) return;
  if (asks_for_help(args)) {
    fmt::print("{}", compare_help());
    return;
  }
  const CompareArguments arguments = parse_compare(args);
  const Comparison comparison =
      compare_runs(read_side(arguments.a), read_side(arguments.b), arguments.options);
  fmt::print("{}",
             arguments.is_json ? comparison_json(comparison).dump(2) + "\n" : comparison_text(comparison));
  std::fflush(stdout);
  if (!arguments.html.empty()) write_file_atomically(arguments.html, comparison_page(comparison));
  if (is_beyond(comparison.speed, arguments.fail_slower)) {
    throw_user(ExitCode::numerics, "--fail-slower {:g}%: {}", 100 * arguments.fail_slower,
               comparison.speed.text);
  }
  for (const auto& [name, verdict] :
       {std::pair("loss", &comparison.loss), std::pair("validation loss", &comparison.val_loss)}) {
    if (is_beyond(*verdict, arguments.fail_loss))
      throw_user(ExitCode::numerics, "--fail-loss {:g}: {}: {}", arguments.fail_loss, name, verdict->text);
  }
}

}  // namespace trireme::launch
