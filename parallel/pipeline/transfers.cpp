// How tensors go from stage to stage; declared in schedule.h.
#include <algorithm>
#include <map>
#include <set>

#include "parallel/pipeline/schedule.h"

namespace trireme {

namespace {

using enum ActionKind;

bool is_backward(ActionKind kind) { return kind == backward || kind == backward_input; }

/// A transfer between `stage`'s chunk and virtual stage `other`; none with itself or with what is not there.
std::optional<Action> transfer(const Schedule& s, const Action& compute, ActionKind kind, int other) {
  if (other < 0 || other >= s.num_virtual_stages() || s.num_stages == 1) return std::nullopt;
  return Action{kind, compute.micro_batch, compute.chunk, other % s.num_stages};
}

/// What one stage receives from one other: the messages in the order of their sends, and how many are taken.
struct Inbox {
  std::vector<Action> receives;
  size_t taken = 0;
};

/// Takes `needed`, and before it all that was sent before it.
void take(const Action& needed, Inbox& inbox, std::vector<Action>& actions) {
  const auto begin = inbox.receives.begin() + static_cast<std::ptrdiff_t>(inbox.taken);
  const auto it = std::find(begin, inbox.receives.end(), needed);
  if (it == inbox.receives.end()) {  // nobody sends it: the proof will say so
    actions.push_back(needed);
    return;
  }
  actions.insert(actions.end(), begin, it + 1);
  inbox.taken += static_cast<size_t>(it + 1 - begin);
}

}  // namespace

std::optional<Action> receive_before(const Schedule& s, int stage, const Action& compute) {
  const int here = s.virtual_stage(stage, compute.chunk);
  if (compute.kind == forward) return transfer(s, compute, receive_activation, here - 1);
  if (is_backward(compute.kind)) return transfer(s, compute, receive_gradient, here + 1);
  return std::nullopt;
}

std::optional<Action> send_after(const Schedule& s, int stage, const Action& compute) {
  const int here = s.virtual_stage(stage, compute.chunk);
  if (compute.kind == forward) return transfer(s, compute, send_activation, here + 1);
  if (is_backward(compute.kind)) return transfer(s, compute, send_gradient, here - 1);
  return std::nullopt;
}

Action receive_of(const Schedule& s, int stage, const Action& send) {
  const bool is_activation = send.kind == send_activation;
  const int there = s.virtual_stage(stage, send.chunk) + (is_activation ? 1 : -1);
  return {is_activation ? receive_activation : receive_gradient, send.micro_batch, there / s.num_stages,
          stage};
}

void derive_transfers(Schedule& s) {
  std::map<std::pair<int, int>, Inbox> inboxes;  // by (to, from)
  for (int stage = 0; stage < s.num_stages; ++stage) {
    auto& actions = s.actions_of_stage[static_cast<size_t>(stage)];
    std::erase_if(actions, [](const Action& action) { return !is_compute(action.kind); });
    for (const Action& compute : actions) {
      if (const auto send = send_after(s, stage, compute))
        inboxes[{send->peer, stage}].receives.push_back(receive_of(s, stage, *send));
    }
  }
  for (int stage = 0; stage < s.num_stages; ++stage) {
    std::vector<Action> actions;
    std::set<Action> received;
    for (const Action& compute : s.actions_of_stage[static_cast<size_t>(stage)]) {
      const auto needed = receive_before(s, stage, compute);
      const size_t before = actions.size();
      if (needed && !received.contains(*needed)) take(*needed, inboxes[{stage, needed->peer}], actions);
      for (size_t i = before; i < actions.size(); ++i) received.insert(actions[i]);
      actions.push_back(compute);
      if (const auto send = send_after(s, stage, compute)) actions.push_back(*send);
    }
    s.actions_of_stage[static_cast<size_t>(stage)] = std::move(actions);
  }
}

}  // namespace trireme
