#include "launch/profile/step_clock.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace trireme::launch {

namespace {

double ms_between(int64_t begin_ns, int64_t end_ns) { return 1e-6 * static_cast<double>(end_ns - begin_ns); }

/// Waits are their own share of these.
bool has_own_waits(Activity a) {
  return a == Activity::passes || a == Activity::optimizer || a == Activity::other;
}

}  // namespace

double WindowTimes::total_ms() const {
  double sum = waited_ms;
  for (size_t i = 0; i < ms.size(); ++i) {
    if (static_cast<Activity>(i) != Activity::excluded) sum += ms[i];
  }
  return sum;
}

/// Reads steps one after the other. A call may be waited for in a later step than the one that made it.
class StepClock::Reader {
 public:
  template <class NsOf>
  void read(const Step& step, const NsOf& ns_of, WindowTimes& window) {
    Activity activity = Activity::other;
    int64_t before = 0, wait_begin = 0;
    bool is_first = true;
    for (const Entry& entry : step) {
      switch (entry.kind) {
        case Kind::activity: {
          const int64_t now = ns_of(entry.moment);
          if (!is_first) window.ms[static_cast<size_t>(activity)] += ms_between(before, now) - waited_;
          if (!is_first) window.waited_ms += waited_;
          is_first = false;
          waited_ = 0;
          before = now;
          activity = entry.activity;
          break;
        }
        case Kind::post:
          if (has_own_waits(activity)) post(entry, ns_of, window);
          break;
        case Kind::begin_wait:
          wait_begin = ns_of(entry.moment);
          break;
        case Kind::end_wait:
          if (has_own_waits(activity)) add_wait(entry.call, wait_begin, ns_of(entry.moment), window);
          break;
      }
    }
    ++window.steps;
  }
  /// Calls of windows before are none of the next one's.
  void end_window() {
    for (auto& [key, calls] : open_) {
      for (auto& [number, index] : calls) index = -1;
    }
  }

 private:
  using Key = std::tuple<int, int, bool>;  // communicator, peer, whether it is sent

  static Key key_of(const WaitedCall& call) {
    return {call.communicator, call.peer, call.kind == CommKind::send};
  }
  static Messages& messages_of(const WaitedCall& call, WindowTimes& window) {
    GroupWaits& group = window.groups[call.communicator];
    return (call.kind == CommKind::send ? group.sent : group.received)[call.peer];
  }

  template <class NsOf>
  void post(const Entry& entry, const NsOf& ns_of, WindowTimes& window) {
    const WaitedCall& call = entry.call;
    auto& open = open_[key_of(call)];
    constexpr size_t kMostOpen = 1024;  // works that were let go of without a wait
    if (open.size() >= kMostOpen) open.pop_front();
    if (call.peer < 0) {
      open.emplace_back(call.number, window.groups[call.communicator].collectives.add_call());
      return;
    }
    Messages& messages = messages_of(call, window);
    if (messages.first.size() == Messages::kMost) return;
    open.emplace_back(call.number, std::ssize(messages.first));
    const int64_t now = ns_of(entry.moment);
    messages.first.push_back({now, now, now});
  }

  void add_wait(const WaitedCall& call, int64_t begin, int64_t end, WindowTimes& window) {
    waited_ += ms_between(begin, end);
    int64_t index = -1;
    auto& open = open_[key_of(call)];
    const auto found = std::ranges::find(open, call.number, [](const auto& o) { return o.first; });
    if (found != open.end()) {
      index = found->second;
      open.erase(found);
    }
    if (call.peer < 0)
      return window.groups[call.communicator].collectives.add_wait(index, ms_between(begin, end));
    Messages& messages = messages_of(call, window);
    if (index < 0) {
      messages.other_ms += ms_between(begin, end);
    } else {
      Messages::Message& message = messages.first[static_cast<size_t>(index)];
      message.wait_begin_ns = begin;
      message.wait_end_ns = end;
    }
  }

  std::map<Key, std::deque<std::pair<int64_t, int64_t>>> open_;  // number, and index in the window
  double waited_ = 0;                                            // in the activity
};

StepClock::StepClock(Context& ctx, Communicator& world, bool sees_inside)
    : ctx_(ctx),
      world_(world),
      recorder_(ctx.recorder()),
      sees_inside_(sees_inside),
      reader_(std::make_unique<Reader>()) {
  world_.observe_waits(*this);
  if (recorder_ != nullptr) recorder_->observe_sites(*this);
  Moment begin = now();
  if (begin.event) begin.event->synchronize();
  anchor_ = {steady_ns(), begin.event};
  step_.push_back({Kind::activity, activity_, {}, std::move(begin)});
}

StepClock::~StepClock() {
  world_.ignore_waits(*this);
  if (recorder_ != nullptr) recorder_->ignore_sites(*this);
}

bool StepClock::sees(Stream& stream) const {
  return stream.device() == ctx_.device() && activity_ != Activity::excluded &&
         (sees_inside_ || (activity_ != Activity::passes && activity_ != Activity::optimizer));
}

StepClock::Moment StepClock::now() {
  if (is_on_device()) return {0, ctx_.stream().record_time()};
  return {steady_ns(), nullptr};
}

int64_t StepClock::ns_of(const Moment& moment) const {
  if (!moment.event) return moment.ns;
  return anchor_.ns + static_cast<int64_t>(1e6 * moment.event->milliseconds_since(*anchor_.event));
}

void StepClock::enter(Activity activity) {
  follows_ = false;
  if (activity == activity_) return;
  activity_ = activity;
  step_.push_back({Kind::activity, activity, {}, now()});
}

void StepClock::entered(const CallSite& site) {
  const Phase phase = site.phase;
  if (!follows_) return;
  if (phase == Phase::forward || phase == Phase::backward || phase == Phase::teacher) {
    enter(Activity::passes);
  } else if (phase == Phase::update || (phase == Phase::reduction && sees_inside_)) {
    enter(Activity::optimizer);
  }
  follows_ = true;
}

void StepClock::begin_step() {
  if (has_begun_) end_step();
  has_begun_ = true;
  enter(Activity::data);
  follows_ = true;
}

void StepClock::end_step() {
  enter(Activity::other);
  has_begun_ = false;
  const Entry end{Kind::activity, activity_, {}, now()};
  step_.push_back(end);
  ended_.push_back(std::exchange(step_, {end}));
  read_past();
}

// As soon as they are over, so that a window may be long.
void StepClock::read_past() {
  for (; !ended_.empty(); ended_.pop_front()) {
    const Moment& end = ended_.front().back().moment;
    if (end.event && !end.event->is_done()) return;
    reader_->read(
        ended_.front(), [this](const Moment& m) { return ns_of(m); }, window_);
    last_end_ = end;
  }
}

void StepClock::post(Stream& stream, const WaitedCall& call) {
  if (depth_ > 0 || !sees(stream)) return;
  step_.push_back({Kind::post, activity_, call, call.peer < 0 ? Moment() : now()});
}

void StepClock::begin_wait(Stream& stream, const WaitedCall& call) {
  if (depth_++ > 0 || !sees(stream)) return;
  step_.push_back({Kind::begin_wait, activity_, call, now()});
}

void StepClock::end_wait(Stream& stream, const WaitedCall& call) {
  if (--depth_ > 0 || !sees(stream)) return;
  step_.push_back({Kind::end_wait, activity_, call, now()});
}

WindowTimes StepClock::take() {
  TimedEvent* const end = ended_.empty() ? nullptr : ended_.back().back().moment.event.get();
  const bool waits = end != nullptr && !end->is_done();  // on the CPU none is left
  if (waits) end->synchronize();
  const int64_t now = steady_ns();
  read_past();
  reader_->end_window();
  // When the device came to it while the host waited, the host knows when that was; clocks of devices drift.
  if (last_end_.event) anchor_ = {waits ? now : ns_of(last_end_), last_end_.event};
  return std::exchange(window_, {});
}

}  // namespace trireme::launch
