#include "parallel/pipeline/check_schedule.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "parallel/pipeline/run_actions.h"

namespace trireme {

namespace {

using enum ActionKind;
using Errors = std::vector<std::string>;

std::string at(int stage, size_t position, const Action& action) {
  return fmt::format("stage {}, action {} ({})", stage, position, to_string(action));
}

const std::vector<Action>& actions_of(const Schedule& s, int stage) {
  return s.actions_of_stage[static_cast<size_t>(stage)];
}

void check_numbers(const Schedule& s, Errors& errors) {
  if (s.num_stages < 1 || s.num_micro_batches < 1 || s.num_chunks < 1 ||
      s.actions_of_stage.size() != static_cast<size_t>(s.num_stages)) {
    errors.push_back(
        fmt::format("{} stages, {} micro-batches, {} chunks and {} action lists do not make a schedule",
                    s.num_stages, s.num_micro_batches, s.num_chunks, s.actions_of_stage.size()));
    return;
  }
  for (int stage = 0; stage < s.num_stages; ++stage) {
    const auto& actions = actions_of(s, stage);
    for (size_t i = 0; i < actions.size(); ++i) {
      const Action& a = actions[i];
      const bool has_peer = a.peer >= 0 && a.peer < s.num_stages && a.peer != stage;
      if (a.micro_batch < 0 || a.micro_batch >= s.num_micro_batches || a.chunk < 0 ||
          a.chunk >= s.num_chunks || has_peer == is_compute(a.kind)) {
        errors.push_back(fmt::format("{}: micro-batch {}, chunk {} or peer {} is out of range",
                                     at(stage, i, a), a.micro_batch, a.chunk, a.peer));
      }
    }
  }
}

/// Walks one stage's list and keeps what is done. A whole backward counts as its two parts.
class StageCheck {
 public:
  StageCheck(const Schedule& schedule, int stage, Errors& errors)
      : s_(schedule), stage_(stage), errors_(errors) {}

  void run() {
    const auto& actions = actions_of(s_, stage_);
    for (position_ = 0; position_ < actions.size(); ++position_) check(actions[position_]);
    for (int i = 0; i < s_.num_micro_batches; ++i) {
      for (int chunk = 0; chunk < s_.num_chunks; ++chunk) check_complete(i, chunk);
    }
  }

 private:
  void error(const Action& action, const std::string& what) {
    errors_.push_back(at(stage_, position_, action) + " " + what);
  }
  bool is_done(ActionKind kind, int micro_batch, int chunk) const {
    return done_.contains({kind, micro_batch, chunk});
  }
  void mark(const Action& action, ActionKind kind) {
    if (!done_.insert({kind, action.micro_batch, action.chunk}).second) error(action, "is scheduled twice");
  }

  void check(const Action& a) {
    const auto need = [&](ActionKind kind, int chunk, const char* what) {
      if (!is_done(kind, a.micro_batch, chunk)) error(a, fmt::format("comes before {}", what));
    };
    const ActionKind kind = a.kind == backward ? backward_input : a.kind;
    const bool is_input = kind == backward_input;
    if (is_input) need(forward, a.chunk, "its forward");
    if (kind == backward_weight) need(backward_input, a.chunk, "the input gradient of its backward");
    if (kind == forward || is_input) {
      const int from = a.chunk + (is_input ? 1 : -1);  // with one stage, the neighbour is the next chunk
      if (const auto receive = receive_before(s_, stage_, a)) {
        need(receive->kind, a.chunk, is_input ? "its gradient is received" : "its input is received");
      } else if (s_.num_stages == 1 && from >= 0 && from < s_.num_chunks) {
        need(kind, from, is_input ? "the backward of the next chunk" : "the forward of the previous chunk");
      }
    }
    if (!is_compute(kind)) check_transfer(a);
    mark(a, kind);
    if (a.kind == backward) mark(a, backward_weight);
  }

  void check_transfer(const Action& a) {
    const bool is_gradient = a.kind == send_gradient || a.kind == receive_gradient;
    const ActionKind user = is_gradient ? backward_input : forward;
    const Action compute{user, a.micro_batch, a.chunk};
    const auto expected =
        is_send(a.kind) ? send_after(s_, stage_, compute) : receive_before(s_, stage_, compute);
    if (!expected) {
      error(a, "is a transfer nobody needs");
    } else if (*expected != a) {
      error(a, fmt::format("has the wrong peer: expected stage {}", expected->peer));
    }
    if (is_send(a.kind) && !is_done(user, a.micro_batch, a.chunk))
      error(a, fmt::format("comes before {}, which produces it", to_string(compute)));
  }

  void check_complete(int micro_batch, int chunk) {
    const auto missing = [&](ActionKind kind, const char* what) {
      if (is_done(kind, micro_batch, chunk)) return false;
      errors_.push_back(fmt::format("stage {} lacks {}: no {} of micro-batch {}, chunk {}", stage_,
                                    to_string({kind, micro_batch, chunk}), what, micro_batch, chunk));
      return true;
    };
    missing(forward, "forward");
    if (!missing(backward_input, "backward")) missing(backward_weight, "weight gradient of the backward");
  }

  const Schedule& s_;
  int stage_;
  Errors& errors_;
  size_t position_ = 0;
  std::set<std::tuple<ActionKind, int, int>> done_;
};

/// What goes from one stage to one other, in order.
struct Link {
  std::vector<size_t> sends, receives;  ///< positions on the sender and on the receiver
};

/// The first message from stage `from` to stage `to` that is not taken for what it is. A later one says no
/// more.
void check_link(const Schedule& s, int from, int to, const Link& link, Errors& errors) {
  const auto& [sends, receives] = link;
  for (size_t i = 0; i < std::max(sends.size(), receives.size()); ++i) {
    const Action* send = i < sends.size() ? &actions_of(s, from)[sends[i]] : nullptr;
    const Action* receive = i < receives.size() ? &actions_of(s, to)[receives[i]] : nullptr;
    if (!send) {
      errors.push_back(at(to, receives[i], *receive) + " receives what is never sent");
    } else if (!receive) {
      errors.push_back(at(from, sends[i], *send) + " is never received");
    } else if (receive_of(s, from, *send) != *receive) {
      errors.push_back(at(to, receives[i], *receive) +
                       " meets another message: " + at(from, sends[i], *send));
    } else {
      continue;
    }
    return;
  }
}

void check_links(const Schedule& s, Errors& errors) {
  std::map<std::pair<int, int>, Link> links;  // by (from, to)
  for (int stage = 0; stage < s.num_stages; ++stage) {
    const auto& actions = actions_of(s, stage);
    for (size_t i = 0; i < actions.size(); ++i) {
      if (is_send(actions[i].kind)) links[{stage, actions[i].peer}].sends.push_back(i);
      if (is_receive(actions[i].kind)) links[{actions[i].peer, stage}].receives.push_back(i);
    }
  }
  for (const auto& [ends, link] : links) check_link(s, ends.first, ends.second, link, errors);
}

void check_deadlock(const Schedule& s, Errors& errors) {
  const auto ends = run_actions(s, SendMode::buffered, [](int, size_t) {});
  for (int stage = 0; stage < s.num_stages; ++stage) {
    const auto& actions = actions_of(s, stage);
    const size_t end = ends[static_cast<size_t>(stage)];
    if (end == actions.size()) continue;
    const int peer = actions[end].peer;
    const size_t peer_end = ends[static_cast<size_t>(peer)];
    const auto& peer_actions = actions_of(s, peer);
    errors.push_back(fmt::format("{} waits forever: {}", at(stage, end, actions[end]),
                                 peer_end == peer_actions.size()
                                     ? fmt::format("stage {} is done", peer)
                                     : at(peer, peer_end, peer_actions[peer_end]) + " waits too"));
  }
}

}  // namespace

std::vector<std::string> check_schedule(const Schedule& schedule) {
  Errors errors;
  check_numbers(schedule, errors);
  if (!errors.empty()) return errors;
  for (int stage = 0; stage < schedule.num_stages; ++stage) StageCheck(schedule, stage, errors).run();
  check_links(schedule, errors);
  check_deadlock(schedule, errors);
  return errors;
}

bool holds_with_rendezvous(const Schedule& schedule) {
  const auto ends = run_actions(schedule, SendMode::rendezvous, [](int, size_t) {});
  for (size_t stage = 0; stage < ends.size(); ++stage) {
    if (ends[stage] != schedule.actions_of_stage[stage].size()) return false;
  }
  return true;
}

}  // namespace trireme
