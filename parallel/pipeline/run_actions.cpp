#include "parallel/pipeline/run_actions.h"

#include <map>

namespace trireme {

namespace {

class Runner {
 public:
  Runner(const Schedule& schedule, SendMode mode, const std::function<void(int, size_t)>& done)
      : schedule_(schedule), mode_(mode), done_(done), positions_(schedule.actions_of_stage.size()) {}

  std::vector<size_t> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int stage = 0; stage < schedule_.num_stages; ++stage) {
        while (step(stage)) moved = true;
      }
    }
    return positions_;
  }

 private:
  size_t& position(int stage) { return positions_[static_cast<size_t>(stage)]; }

  const Action* next(int stage) {
    const auto& actions = schedule_.actions_of_stage[static_cast<size_t>(stage)];
    return position(stage) < actions.size() ? &actions[position(stage)] : nullptr;
  }

  void advance(int stage) {
    done_(stage, position(stage));
    ++position(stage);
  }

  /// In rendezvous mode the sender moves its receiver along with itself.
  bool step(int stage) {
    const Action* action = next(stage);
    if (!action) return false;
    if (is_receive(action->kind)) {
      int& waiting = in_flight_[{action->peer, stage}];
      if (waiting == 0) return false;
      --waiting;
    } else if (is_send(action->kind) && mode_ == SendMode::buffered) {
      ++in_flight_[{stage, action->peer}];
    } else if (is_send(action->kind)) {
      const int peer = action->peer;
      const Action* other = next(peer);
      if (!other || !is_receive(other->kind) || other->peer != stage) return false;
      advance(stage);
      advance(peer);
      return true;
    }
    advance(stage);
    return true;
  }

  const Schedule& schedule_;
  SendMode mode_;
  const std::function<void(int, size_t)>& done_;
  std::vector<size_t> positions_;
  std::map<std::pair<int, int>, int> in_flight_;  ///< messages sent and not received, by (from, to)
};

}  // namespace

std::vector<size_t> run_actions(const Schedule& schedule, SendMode mode,
                                const std::function<void(int, size_t)>& done) {
  return Runner(schedule, mode, done).run();
}

}  // namespace trireme
