// Runs of the program over several layouts, in which delays are planted, window by window: each has to raise
// its own share of the time of a step by that much, and no other by more than a fifth of it. And the shares
// have to be the whole. A layout that fails is measured longer, and that counts.
//
// usage: breakdown_delays [--rounds N] [LAYOUT...]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/cli/config_file.h"
#include "launch/cli/options/option_table.h"
#include "launch/cli/run_arguments.h"
#include "launch/run/stepped_run.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/breakdown/planted_delays.h"
#include "tests/support/temporary_folder.h"

namespace trireme::test {
namespace {

using namespace launch;
using std::chrono::milliseconds;

constexpr int kStepsOfWindow = 2;
constexpr milliseconds kDelay{50};

struct Layout {
  std::string name;
  int ranks;
  int batch;  // micro-batches of all ranks
  std::vector<std::string> options;
  SlowTransfers::Where transfers;
  std::string axis;  // that they go along
};

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all = {
      {"dp2", 2, 2, {}, {"data+context", CommKind::all_reduce}, "data"},
      {"tp2", 2, 1, {"--tp=2"}, {"tensor", CommKind::all_reduce}, "tensor"},
      {"pp2", 2, 2, {"--pp=2"}, {"pipeline", CommKind::all_reduce}, "pipeline"},
      {"cp2", 2, 1, {"--cp=2"}, {"context", CommKind::all_to_all_v}, "context"},
      {"dp2xtp2", 4, 2, {"--tp=2"}, {"data+context", CommKind::all_reduce}, "data"},
      {"pp2xdp2", 4, 4, {"--pp=2"}, {"data+context", CommKind::all_reduce}, "data"},
      {"ep2", 2, 2, {"--moe.experts=4", "--ep=2"}, {"experts", CommKind::all_to_all_v}, "expert"},
  };
  return all;
}

/// A place for a delay, and the share that it belongs to.
struct Plant {
  std::string name, share;
};

bool has(const Layout& layout, const std::string& option) {
  return std::ranges::find(layout.options, option) != layout.options.end();
}

std::vector<Plant> plants_of(const Layout& layout) {
  std::vector<Plant> plants = {{"none", ""}, {"data", "data"}, {"transfers", "exposed " + layout.axis}};
  const bool has_stages = has(layout, "--pp=2");
  if (!has_stages || layout.ranks > 2) plants.push_back({"rank", "imbalance"});
  if (has_stages) plants.push_back({"stage", "bubble"});
  plants.push_back({"optimizer", "optimizer"});
  return plants;
}

std::string write_tokens(const TemporaryFolder& folder, int rank) {
  std::string ids;
  for (int i = 0; i < 20'000; ++i) {
    ids += static_cast<char>((i * 7 + i / 13) % 251);
    ids += '\0';
  }
  return folder.write(fmt::format("tokens-{}.bin", rank), ids);
}

RunArguments arguments_of(const Layout& layout, const std::string& tokens, const std::string& directory,
                          size_t num_steps) {
  std::vector<std::string> args = {"--data.tokens=" + tokens,
                                   "--data.format=nanogpt",
                                   "--data.prefetch=0",
                                   "--data.valid-fraction=0",
                                   "--model.vocab=256",
                                   "--model.layers=4",
                                   "--model.hidden=128",
                                   "--model.heads=4",
                                   "--train.seq-len=128",
                                   "--train.micro-batch=1",
                                   fmt::format("--train.global-batch={}", layout.batch),
                                   "--train.sample-tokens=0",
                                   "--run.threads=1",
                                   "--run.device=cpu",
                                   "--run.dir=" + directory,
                                   "--checkpoint.keep=0",
                                   fmt::format("--train.steps={}", num_steps),
                                   fmt::format("--train.log-every={}", kStepsOfWindow)};
  args.insert(args.end(), layout.options.begin(), layout.options.end());
  return parse_run_arguments({"train", all_options(), {}, true}, args, layout.ranks);
}

/// Plants into the steps of one rank.
void train_rank(Communicator& ranks, const Layout& layout, const TemporaryFolder& folder,
                size_t num_windows) {
  StepDelays delays;
  SlowTransfers world(ranks, delays, layout.transfers);
  const std::string tokens = write_tokens(folder, world.rank());
  const RunArguments arguments =
      arguments_of(layout, tokens, folder.path("run"), num_windows * kStepsOfWindow);
  Job job;
  job.world = &world;
  job.local_size = world.size();
  const std::vector<Plant> plants = plants_of(layout);
  std::FILE* out = std::fopen("/dev/null", "w");
  {
    SteppedRun run(arguments.config, write_config(arguments.config), job, out);
    SlowOps ops(delays);
    SlowPages pages(tokens);
    run.trainer().context().observe_ops(&ops);
    const bool is_last_stage = world.rank() >= world.size() / 2, is_last = world.rank() == world.size() - 1;
    for (size_t step = 0; !run.is_done(); ++step) {
      const std::string& plant = plants[step / kStepsOfWindow % plants.size()].name;
      delays = {};
      if (plant == "data") pages.forget(kDelay);
      if (plant == "transfers") delays.in_transfers = kDelay;
      if ((plant == "rank" && is_last) || (plant == "stage" && is_last_stage)) delays.in_passes = kDelay;
      if (plant == "optimizer") delays.in_update = kDelay;
      run.forward_backward();
      run.update();
    }
    run.trainer().context().observe_ops(nullptr);
  }
  std::fclose(out);
}

using Shares = std::map<std::string, double>;  // milliseconds

Shares shares_of(const nlohmann::json& breakdown) {
  Shares shares;
  for (const char* part : {"compute", "bubble", "data", "imbalance", "optimizer", "checkpoint", "rest"})
    shares[part] = breakdown.at(std::string(part) + "_ms");
  for (const auto& [axis, ms] : breakdown.at("exposed_ms").items()) shares["exposed " + axis] = ms;
  return shares;
}

struct Window {
  Shares shares;
  double step_ms = 0;
  double clock_ms = 0;  // between the times of the records, a step
};

std::vector<Window> read_windows(const std::string& path) {
  std::vector<Window> windows;
  std::ifstream file(path);
  double before = 0;
  for (std::string line; std::getline(file, line);) {
    const auto record = nlohmann::json::parse(line);
    if (!record.contains("breakdown")) continue;
    const auto& breakdown = record.at("breakdown");
    TRIREME_CHECK(breakdown.at("steps") == kStepsOfWindow, "{}", line);
    const double time = record.at("time");
    windows.push_back(
        {shares_of(breakdown), breakdown.at("step_ms"), 1e3 * (time - before) / kStepsOfWindow});
    before = time;
  }
  return windows;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

class Judge {
 public:
  explicit Judge(std::string layout) : layout_(std::move(layout)) {}
  void expect(bool holds, const std::string& what) {
    if (holds) return;
    ++num_failures_;
    fmt::print("FAILED: {}: {}\n", layout_, what);
  }
  int num_failures() const { return num_failures_; }

 private:
  std::string layout_;
  int num_failures_ = 0;
};

/// Of the windows of a round each is compared with the one of the same round without a delay.
double median_rise(const std::vector<Window>& windows, size_t plant, size_t num_plants,
                   const std::string& share) {
  std::vector<double> rises;
  for (size_t round = num_plants; round + num_plants <= windows.size(); round += num_plants)
    rises.push_back(windows[round + plant].shares.at(share) - windows[round].shares.at(share));
  return median(std::move(rises));
}

void judge_rises(const std::vector<Window>& windows, const std::vector<Plant>& plants, Judge& judge) {
  const double delay = static_cast<double>(kDelay.count());
  for (size_t p = 1; p < plants.size(); ++p) {
    std::string line;
    for (const auto& [share, ms] : windows.front().shares) {
      const double rise = median_rise(windows, p, plants.size(), share);
      line += fmt::format("  {} {:+.1f}", share, rise);
      const bool is_own = share == plants[p].share;
      judge.expect(
          is_own ? std::abs(rise - delay) <= 0.2 * delay : rise <= 0.2 * delay,
          fmt::format("{:.0f} ms more in {} are {:.1f} ms more of {}", delay, plants[p].name, rise, share));
    }
    fmt::print("    {:<10}{}\n", plants[p].name, line);
  }
}

void judge_sums(const std::vector<Window>& windows, Judge& judge) {
  std::vector<double> sums, rests, clocks;
  for (size_t w = 1; w < windows.size(); ++w) {  // of the first the time before is not known
    double sum = 0;
    for (const auto& [share, ms] : windows[w].shares) sum += ms;
    sums.push_back(sum / windows[w].step_ms);
    rests.push_back(windows[w].shares.at("rest") / windows[w].step_ms);
    clocks.push_back(windows[w].step_ms / windows[w].clock_ms);
  }
  const double sum = 100 * median(sums), rest = 100 * median(rests), clock = 100 * median(clocks);
  fmt::print("    parts are {:.2f} % of the step, the rest {:.2f} %; the steps are {:.1f} % of the time\n",
             sum, rest, clock);
  judge.expect(std::abs(sum - 100) <= 2, fmt::format("the parts are {:.2f} % of the step", sum));
  judge.expect(rest <= 3, fmt::format("{:.2f} % of the step are not explained", rest));
  judge.expect(clock >= 90 && clock <= 102, fmt::format("the steps are {:.1f} % of the time", clock));
}

int run_layout(const Layout& layout, size_t rounds) {
  const TemporaryFolder folder;
  const std::vector<Plant> plants = plants_of(layout);
  const size_t num_windows = plants.size() * (rounds + 1);  // the first round warms up
  run_thread_ranks(layout.ranks,
                   [&](Communicator& ranks) { train_rank(ranks, layout, folder, num_windows); });
  const std::vector<Window> windows = read_windows(folder.path("run/metrics.jsonl"));
  Judge judge(layout.name);
  judge.expect(windows.size() == num_windows, fmt::format("{} windows of {}", windows.size(), num_windows));
  if (judge.num_failures() > 0) return judge.num_failures();
  fmt::print("{}:\n", layout.name);
  std::string line;
  for (const auto& [share, ms] : windows[plants.size()].shares) line += fmt::format("  {} {:.1f}", share, ms);
  fmt::print("    {:<10}{}\n", "none", line);
  judge_rises(windows, plants, judge);
  judge_sums(windows, judge);
  return judge.num_failures();
}

int run_all(std::vector<std::string> args) {
  size_t rounds = 9;
  if (args.size() >= 2 && args[0] == "--rounds") {
    rounds = static_cast<size_t>(std::atoi(args[1].c_str()));
    args.erase(args.begin(), args.begin() + 2);
  }
  int num_failures = 0;
  size_t num_run = 0;
  for (const Layout& layout : layouts()) {
    if (!args.empty() && std::ranges::find(args, layout.name) == args.end()) continue;
    ++num_run;
    int failures = run_layout(layout, rounds);
    // Other work on the machine is noise, which more rounds take out; what they say counts.
    constexpr size_t kManyRounds = 25;
    if (failures > 0 && rounds < kManyRounds) failures = run_layout(layout, kManyRounds);
    num_failures += failures;
  }
  if (rounds < 1 || num_run < std::max<size_t>(1, args.size())) {
    fmt::print(stderr, "usage: breakdown_delays [--rounds N] [LAYOUT...]\n");
    return 2;
  }
  return num_failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace trireme::test

int main(int argc, char** argv) { return trireme::test::run_all({argv + 1, argv + argc}); }
