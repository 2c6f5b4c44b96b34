#include "parallel/pipeline/schedule.h"

#include <algorithm>

#include "parallel/pipeline/schedule_file.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

using enum ActionKind;
using Actions = std::vector<Action>;

/// `warmup` forwards, then a forward and a backward by turns, then the backwards that are left.
Actions alternate(const Actions& forwards, const Actions& backwards, int warmup) {
  const size_t ahead = std::min(forwards.size(), static_cast<size_t>(warmup));
  Actions actions(forwards.begin(), forwards.begin() + static_cast<std::ptrdiff_t>(ahead));
  for (size_t i = 0; i < backwards.size(); ++i) {
    if (ahead + i < forwards.size()) actions.push_back(forwards[ahead + i]);
    actions.push_back(backwards[i]);
  }
  return actions;
}

Actions all_micro_batches(ActionKind kind, int num) {
  Actions actions;
  for (int i = 0; i < num; ++i) actions.push_back({kind, i});
  return actions;
}

Actions one_f_one_b(const Schedule& s, int stage, ActionKind backward_kind = backward) {
  return alternate(all_micro_batches(forward, s.num_micro_batches),
                   all_micro_batches(backward_kind, s.num_micro_batches), s.num_stages - 1 - stage);
}

Actions gpipe(const Schedule& s, int) {
  return alternate(all_micro_batches(forward, s.num_micro_batches),
                   all_micro_batches(backward, s.num_micro_batches), s.num_micro_batches);
}

/// Micro-batches pass the chunks in groups. A group has at least num_stages of them where there are as
/// many, so that a chunk's first output is back at stage 0 when stage 0 turns to the next chunk; sizes differ
/// by one at most.
Actions interleaved(const Schedule& s, int stage) {
  if (s.num_chunks == 1) return one_f_one_b(s, stage);
  const int m = s.num_micro_batches, num_groups = std::max(1, m / s.num_stages);
  Actions forwards, backwards;
  for (int group = 0; group < num_groups; ++group) {
    const auto begin = [&](int g) { return static_cast<int>(int64_t{m} * g / num_groups); };
    for (int chunk = 0; chunk < s.num_chunks; ++chunk) {
      for (int i = begin(group); i < begin(group + 1); ++i) {
        forwards.push_back({forward, i, chunk});
        backwards.push_back({backward, i, s.num_chunks - 1 - chunk});
      }
    }
  }
  const int largest_group = (m + num_groups - 1) / num_groups;
  return alternate(forwards, backwards, 2 * (s.num_stages - 1 - stage) + (s.num_chunks - 1) * largest_group);
}

/// Stage s does the weight gradient of a micro-batch s backwards later than its input gradient: the later
/// stages, with fewer micro-batches in flight, keep as many as stage 0, and have work left when the pipeline
/// drains.
Actions zb_h1(const Schedule& s, int stage) {
  Actions actions;
  int weight = 0;
  for (const Action& action : one_f_one_b(s, stage, backward_input)) {
    actions.push_back(action);
    if (action.kind == backward_input && action.micro_batch >= stage)
      actions.push_back({backward_weight, weight++});
  }
  while (weight < s.num_micro_batches) actions.push_back({backward_weight, weight++});
  return actions;
}

Actions made_actions(const Schedule& s, int stage) {
  switch (s.kind) {
    case ScheduleKind::gpipe:
      return gpipe(s, stage);
    case ScheduleKind::one_f_one_b:
      return one_f_one_b(s, stage);
    case ScheduleKind::interleaved:
      return interleaved(s, stage);
    case ScheduleKind::zb_h1:
      return zb_h1(s, stage);
    case ScheduleKind::file:
      break;
  }
  TRIREME_CHECK(false, "a schedule of kind {} cannot be made", to_string(s.kind));
}

}  // namespace

Schedule make_schedule(ScheduleKind kind, int num_stages, int num_micro_batches, int num_chunks) {
  if (num_stages < 1 || num_micro_batches < 1 || num_chunks < 1) {
    throw_usage(
        "a pipeline schedule needs at least 1 of each: {} stages, {} micro-batches, {} virtual stages",
        num_stages, num_micro_batches, num_chunks);
  }
  if (num_chunks > 1 && !has_virtual_stages(kind))
    throw_usage("{} virtual stages do not fit schedule {}: only interleaved has them", num_chunks,
                to_string(kind));
  Schedule schedule{num_stages, num_micro_batches, num_chunks, kind, {}};
  for (int stage = 0; stage < num_stages; ++stage)
    schedule.actions_of_stage.push_back(made_actions(schedule, stage));
  derive_transfers(schedule);
  return schedule;
}

bool has_split_backward(const Schedule& schedule) {
  return std::ranges::any_of(schedule.actions_of_stage, [](const Actions& actions) {
    return std::ranges::any_of(actions, [](const Action& action) {
      return action.kind == backward_input || action.kind == backward_weight;
    });
  });
}

bool has_split_backward(const ScheduleSpec& spec) {
  if (!spec.is_file()) return has_split_backward(make_schedule(spec.kind, 2, 2));
  TRIREME_CHECK(spec.read, "the schedule {} has not been read", spec.path);
  return has_split_backward(spec.read->schedule);
}

bool is_send(ActionKind kind) { return kind == send_activation || kind == send_gradient; }
bool is_receive(ActionKind kind) { return kind == receive_activation || kind == receive_gradient; }

std::string to_string(const Action& action) {
  const std::string id = action.chunk == 0 ? fmt::to_string(action.micro_batch)
                                           : fmt::format("{}.{}", action.micro_batch, action.chunk);
  switch (action.kind) {
    case forward:
      return "F" + id;
    case backward:
    case backward_input:
      return "B" + id;
    case backward_weight:
      return "W" + id;
    case send_activation:
      return fmt::format("send activation {} to stage {}", id, action.peer);
    case receive_activation:
      return fmt::format("receive activation {} from stage {}", id, action.peer);
    case send_gradient:
      return fmt::format("send gradient {} to stage {}", id, action.peer);
    case receive_gradient:
      return fmt::format("receive gradient {} from stage {}", id, action.peer);
  }
  TRIREME_CHECK(false, "action kind {}", static_cast<int>(action.kind));
}

}  // namespace trireme
