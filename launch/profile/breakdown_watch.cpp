#include "launch/profile/breakdown_watch.h"

#include <utility>

#include <fmt/format.h>

#include "launch/profile/wait_exchange.h"
#include "runtime/base/error.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

struct PlaceOfRank {
  int64_t stage;
  char host[64];
};

/// Of all ranks what each has, as it lies in memory.
template <class T>
std::vector<T> gather_plain(Communicator& world, T mine) {
  std::vector<T> all(static_cast<size_t>(world.size()));
  constexpr auto kBytes = static_cast<int64_t>(sizeof mine);
  const auto stream = cpu::make_compute_stream();
  world.all_gather(*stream, Tensor::borrow(&mine, {kBytes}, DType::u8),
                   Tensor::borrow(all.data(), {kBytes * world.size()}, DType::u8));
  return all;
}

void add(StepBreakdown& sum, const StepBreakdown& window) {
  const auto steps = static_cast<double>(window.steps);
  sum.steps += window.steps;
  if (sum.exposed_ms.empty()) {
    for (const auto& [axis, ms] : window.exposed_ms) sum.exposed_ms.emplace_back(axis, 0);
  }
  for (size_t i = 0; i < sum.exposed_ms.size(); ++i)
    sum.exposed_ms[i].second += steps * window.exposed_ms[i].second;
  for (const auto part : {&StepBreakdown::step_ms, &StepBreakdown::compute_ms, &StepBreakdown::bubble_ms,
                          &StepBreakdown::data_ms, &StepBreakdown::imbalance_ms, &StepBreakdown::optimizer_ms,
                          &StepBreakdown::checkpoint_ms, &StepBreakdown::rest_ms})
    sum.*part += steps * (window.*part);
}

}  // namespace

BreakdownWatch::BreakdownWatch(Context& ctx, const ParallelContext& parallel, const std::string& host,
                               bool sees_inside)
    : world_(parallel.world()),
      plan_(parallel.plan()),
      sees_waits_(sees_inside || parallel.world().size() == 1),
      stragglers_([&] {
        PlaceOfRank mine{parallel.pipeline().rank(), {}};
        host.copy(mine.host, sizeof mine.host - 1);
        for (const PlaceOfRank& place : gather_plain(world_, mine)) {
          hosts_.emplace_back(place.host);
          stages_.push_back(static_cast<int>(place.stage));
        }
        return stages_;
      }()),
      clock_(ctx, world_, sees_inside) {}

RankTimes BreakdownWatch::own_times(const WindowTimes& window, int64_t mem_bytes) {
  const double share = window.steps > 0 ? 1.0 / static_cast<double>(window.steps) : 0;
  RankTimes mine;
  mine.step = share * window.total_ms();
  mine.compute = sees_waits_ ? share * window.of(Activity::passes) : 0;
  mine.optimizer = share * window.of(Activity::optimizer);
  mine.data = share * window.of(Activity::data);
  mine.checkpoint = share * window.of(Activity::checkpoint);
  mine.mem_bytes = static_cast<double>(mem_bytes);
  static const GroupWaits kNone;
  for (const auto& [number, group] : world_.parts()) {
    const auto found = window.groups.find(number);
    const SplitWaits split =
        split_waits(*group, found == window.groups.end() ? kNone : found->second, hosts_);
    const Axis axis = axis_of(group->name(), plan_);
    mine.exposed[static_cast<size_t>(axis)] += share * split.transfer;
    const bool is_of_stages = axis == Axis::pipeline && group != &world_;
    (is_of_stages ? mine.bubble : mine.late) += share * split.late;
  }
  return mine;
}

void BreakdownWatch::meet() {
  if (world_.size() > 1) world_.barrier(*cpu::make_compute_stream());
}

RankedBreakdown BreakdownWatch::end_window(int64_t mem_bytes) {
  const WindowTimes window = clock_.take();
  const ScopedActivity excluded(&clock_, Activity::excluded);
  const std::vector<RankTimes> all = gather_plain(world_, own_times(window, mem_bytes));
  RankedBreakdown out = break_down(all, stages_, window.steps, plan_);
  if (sees_waits_) {
    std::vector<double> computed;
    for (const RankTimes& rank : all)
      computed.push_back(static_cast<double>(window.steps) * (rank.compute + rank.optimizer));
    slowest_ = stragglers_.add(computed);
  }
  add(total_, out.all);
  return out;
}

std::string BreakdownWatch::name_of(int rank) const {
  return fmt::format("rank {} on {}", rank, hosts_[static_cast<size_t>(rank)]);
}

std::vector<std::string> BreakdownWatch::warnings() const {
  std::vector<std::string> lines;
  for (const SlowRank& slow : stragglers_.new_ones()) {
    lines.push_back(fmt::format(
        "warning: {} is a straggler: in {} log windows in succession it has computed more than {}x as long "
        "as "
        "the median of its pipeline stage, {:.2f}x in the last; all ranks wait for it. Look for other "
        "processes on its cores, their binding, frequency and temperature, or leave that host out",
        name_of(slow.rank), Stragglers::kWindows, Stragglers::kRatio, slow.ratio));
  }
  return lines;
}

std::string BreakdownWatch::summary() const { return total_.steps > 0 ? breakdown_text(total_) : ""; }

std::string BreakdownWatch::slowest_text() const {
  if (world_.size() == 1 || !sees_waits_) return "";
  const SlowRank slow = stragglers_.overall();
  if (slow.ratio <= 1) return "";
  return fmt::format("slowest: {}, which computed {:.2f}x as long as the median of its pipeline stage",
                     name_of(slow.rank), slow.ratio);
}

}  // namespace trireme::launch
