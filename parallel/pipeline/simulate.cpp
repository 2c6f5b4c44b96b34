#include "parallel/pipeline/simulate.h"

#include <algorithm>
#include <map>
#include <queue>

#include "parallel/pipeline/run_actions.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using enum ActionKind;

double duration(ActionKind kind, const ActionCosts& costs) {
  switch (kind) {
    case forward:
      return costs.forward;
    case backward:
      return costs.backward_input + costs.backward_weight;
    case backward_input:
      return costs.backward_input;
    case backward_weight:
      return costs.backward_weight;
    default:
      return 0;
  }
}

int peak_activations(const std::vector<Timeline::Span>& spans) {
  int held = 0, peak = 0;
  for (const auto& span : spans) {
    if (span.action.kind == forward) peak = std::max(peak, ++held);
    if (span.action.kind == backward || span.action.kind == backward_weight) --held;
  }
  return peak;
}

}  // namespace

Timeline simulate(const Schedule& schedule, const ActionCosts& costs) {
  Timeline timeline;
  timeline.spans_of_stage.resize(schedule.actions_of_stage.size());
  std::vector<double> clocks(schedule.actions_of_stage.size()), busy(clocks);
  std::map<std::pair<int, int>, std::queue<double>> arrivals;  // by (from, to)
  const auto ends = run_actions(schedule, SendMode::buffered, [&](int stage, size_t position) {
    const auto s = static_cast<size_t>(stage);
    const Action& action = schedule.actions_of_stage[s][position];
    double& clock = clocks[s];
    if (is_send(action.kind)) {
      arrivals[{stage, action.peer}].push(clock + costs.send_latency);
    } else if (is_receive(action.kind)) {
      auto& queue = arrivals[{action.peer, stage}];
      clock = std::max(clock, queue.front());
      queue.pop();
    } else {
      const double time = duration(action.kind, costs) / schedule.num_chunks;
      timeline.spans_of_stage[s].push_back({action, clock, clock + time});
      clock += time;
      busy[s] += time;
    }
  });
  for (size_t s = 0; s < ends.size(); ++s) {
    TRIREME_CHECK(ends[s] == schedule.actions_of_stage[s].size(), "stage {} waits forever", s);
    timeline.makespan = std::max(timeline.makespan, clocks[s]);
    timeline.peak_activations_of_stage.push_back(peak_activations(timeline.spans_of_stage[s]));
  }
  for (const double time : busy) {
    timeline.bubble_of_stage.push_back(timeline.makespan > 0 ? 1 - time / timeline.makespan : 0);
    timeline.bubble += timeline.bubble_of_stage.back() / static_cast<double>(busy.size());
  }
  return timeline;
}

}  // namespace trireme
