// How fast runs are, and whether sides differ. docs/compare.md says why it is done so.
#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "launch/compare/comparison.h"

namespace trireme::launch {

namespace {

using Runs = std::vector<ComparedRun>;
constexpr double kSpreadDf = 19;  // CompareOptions::spread is of 20 repeats
// Who shares cores shares caches and memory too: of repeats that waited for cores for a share of their time,
// what is left without the waits spreads by this much more times the share.
constexpr double kSpreadByLoad = 0.1;

/// Which time of a step counts.
enum class Timing {
  net,   ///< without what the rank waited for cores
  sure,  ///< of steps that nothing held up
  all,
};

/// Time of one rank alone: waiting for a core is no more than that. With others, that they wait for cores is
/// in this rank's waits for them.
bool has_net(const ComparedRun& run) {
  return std::ranges::all_of(run.steps, [](const ComparedStep& s) {
    return !std::isnan(s.core_wait_ms) && !(s.comm_wait_ms > 0.01 * s.step_ms);
  });
}

bool is_usable(const ComparedStep& step) {
  return step.step_ms > 0 && step.tok_s > 0 && !step.is_skipped && !(step.checkpoint_wait_ms > 0);
}

/// Without the first tenth, 3 steps at least and 50 at most, and those right behind an evaluation.
std::vector<ComparedStep> settled(const ComparedRun& run) {
  const size_t num = run.steps.size(), warm_up = std::clamp<size_t>(num / 10, 3, 50);
  std::vector<ComparedStep> kept;
  for (size_t i = warm_up; i < num; ++i) {
    if (is_usable(run.steps[i]) && !run.steps[i - 1].val_loss) kept.push_back(run.steps[i]);
  }
  return kept;
}

bool has_sure(const ComparedRun& run) {
  const auto steps = settled(run);
  return 2 * std::ranges::count_if(steps, &ComparedStep::is_sure) >= std::ssize(steps);
}

Timing timing_of(const Runs& a, const Runs& b) {
  const auto all = [&](bool (*holds)(const ComparedRun&)) {
    return std::ranges::all_of(a, holds) && std::ranges::all_of(b, holds);
  };
  if (all(has_net)) return Timing::net;
  return all(has_sure) ? Timing::sure : Timing::all;
}

/// Of one run: ms a token (the logarithm of it), and a step.
struct RunSpeed {
  Estimate log_ms;  // a token
  double step_ms = 0;
  double core_wait_share = 0;
  double begin = 0;  // seconds since 1970
  size_t num_steps = 0;
};

std::optional<RunSpeed> speed_of(const ComparedRun& run, Timing timing) {
  std::vector<double> ms, ms_a_token;
  double waited = 0, total = 0;
  for (const ComparedStep& step : settled(run)) {
    if (timing == Timing::sure && !step.is_sure) continue;
    const double net = step.step_ms - (timing == Timing::net ? step.core_wait_ms : 0);
    if (!(net > 0)) continue;
    waited += std::isnan(step.core_wait_ms) ? 0 : step.core_wait_ms;
    total += step.step_ms;
    ms.push_back(net);
    ms_a_token.push_back(net / (step.tok_s * step.step_ms * 1e-3));
  }
  const auto mean = robust_mean(ms_a_token);
  if (!mean) return std::nullopt;
  return RunSpeed{{std::log(mean->value), mean->error / mean->value, mean->df},
                  robust_mean(ms)->value,
                  waited / total,
                  run.steps.front().time,
                  ms.size()};
}

using Speeds = std::vector<RunSpeed>;

std::vector<double> logs_of(const Speeds& speeds) {
  std::vector<double> values;
  for (const RunSpeed& speed : speeds) values.push_back(speed.log_ms.value);
  return values;
}

/// Of a side with fewer runs than show a spread: that of a run is `spread`, known by `df`.
Estimate side_by(const Speeds& speeds, double spread, double df) {
  Estimate side{0, 0, df};
  const auto size = static_cast<double>(speeds.size());
  double square = 0;
  for (const RunSpeed& speed : speeds) {
    side.value += speed.log_ms.value / size;
    const double by_load = kSpreadByLoad * speed.core_wait_share, own = speed.log_ms.error;
    square += (spread * spread + by_load * by_load + own * own) / (size * size);
  }
  side.error = std::sqrt(square);
  return side;
}

/// Where runs were done in turns, A B A B or A B B A, the pairs: what changes the machine slowly is in both
/// of a pair.
std::optional<Estimate> paired(const Speeds& a, const Speeds& b) {
  if (a.size() != b.size() || a.size() < kFewestRepeats) return std::nullopt;
  std::vector<std::tuple<double, bool, double>> all;
  for (const RunSpeed& speed : a) all.emplace_back(speed.begin, false, speed.log_ms.value);
  for (const RunSpeed& speed : b) all.emplace_back(speed.begin, true, speed.log_ms.value);
  std::ranges::sort(all);
  std::vector<double> differences;
  for (size_t i = 0; i < all.size(); i += 2) {
    const auto& [begin, is_b, value] = all[i];
    const auto& [next_begin, is_next_b, next] = all[i + 1];
    if (is_b == is_next_b) return std::nullopt;
    differences.push_back(is_b ? value - next : next - value);
  }
  return mean_of(differences);
}

std::pair<Estimate, std::string> tested(const Speeds& a, const Speeds& b, const CompareOptions& options) {
  if (const auto pairs = paired(a, b))
    return {*pairs, fmt::format("{} pairs of runs that were done in turns", a.size())};
  const bool a_spreads = a.size() >= kFewestRepeats, b_spreads = b.size() >= kFewestRepeats;
  if (!a_spreads && !b_spreads) {
    const auto is_busy = [](const RunSpeed& speed) { return speed.core_wait_share > 0.05; };
    const bool is_loaded = std::ranges::any_of(a, is_busy) || std::ranges::any_of(b, is_busy);
    return {
        difference(side_by(a, options.spread, kSpreadDf), side_by(b, options.spread, kSpreadDf)),
        fmt::format("repeats are taken to spread by {:.1f} %{}, as fewer than {} a side do not show it",
                    100 * options.spread, is_loaded ? ", and more on a busy machine" : "", kFewestRepeats)};
  }
  const auto side = [](const Speeds& speeds, const Speeds& other) {
    if (speeds.size() >= kFewestRepeats) return mean_of(logs_of(speeds));
    const Estimate known = mean_of(logs_of(other));
    const double spread = known.error * std::sqrt(static_cast<double>(other.size()));
    return side_by(speeds, spread, known.df);
  };
  return {difference(side(a, b), side(b, a)), "the spread of the repeats"};
}

double mean_step_ms(const Speeds& speeds) {
  double sum = 0;
  for (const RunSpeed& speed : speeds) sum += speed.step_ms;
  return sum / static_cast<double>(speeds.size());
}

const char* words(Timing timing) {
  if (timing == Timing::net) return "time without waiting for cores";
  return timing == Timing::sure ? "time of steps that nothing held up" : "time of all steps";
}

std::string speed_text(const NoiseVerdict& verdict, double level) {
  const Interval& d = verdict.difference;
  const std::string steps = fmt::format("{:.4g} and {:.4g} ms a step", verdict.a, verdict.b);
  if (verdict.is_noise) {
    return fmt::format("noise: {}, B {:+.1f} % ({:.3g} %: {:+.1f} to {:+.1f} %)", steps, 100 * d.value,
                       100 * level, 100 * d.low, 100 * d.high);
  }
  const bool is_slower = d.value > 0;
  const double low = is_slower ? d.low : -d.high, high = is_slower ? d.high : -d.low;
  return fmt::format("B is {:.1f} % {} ({:.3g} %: {:.1f} to {:.1f} %): {}", 100 * std::abs(d.value),
                     is_slower ? "slower" : "faster", 100 * level, 100 * low, 100 * high, steps);
}

}  // namespace

NoiseVerdict compare_speed(const Runs& a, const Runs& b, const CompareOptions& options) {
  const Timing timing = timing_of(a, b);
  Speeds of_a, of_b;
  size_t fewest = SIZE_MAX;
  for (const auto& [runs, speeds] : {std::pair(&a, &of_a), std::pair(&b, &of_b)}) {
    for (const ComparedRun& run : *runs) {
      const auto speed = speed_of(run, timing);
      if (!speed) {
        NoiseVerdict unknown;
        unknown.text = fmt::format("not compared: {} has too few steps behind the first ones", run.path);
        return unknown;
      }
      speeds->push_back(*speed);
      fewest = std::min(fewest, speed->num_steps);
    }
  }
  const auto [estimate, spread] = tested(of_a, of_b, options);
  const Interval logs = interval_of(estimate, options.level);
  NoiseVerdict verdict;
  verdict.is_known = true;
  verdict.difference = {std::expm1(logs.value), std::expm1(logs.low), std::expm1(logs.high), logs.p};
  verdict.is_noise = logs.low <= 0 && logs.high >= 0;
  verdict.a = mean_step_ms(of_a);
  verdict.b = mean_step_ms(of_b);
  verdict.method = fmt::format("{}, at least {} steps a run; {}", words(timing), fewest, spread);
  verdict.text = speed_text(verdict, options.level);
  return verdict;
}

}  // namespace trireme::launch
