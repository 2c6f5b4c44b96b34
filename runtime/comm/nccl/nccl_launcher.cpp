#include "runtime/comm/nccl/nccl_launcher.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <list>
#include <set>
#include <thread>
#include <utility>

#include "runtime/device/cuda/cuda_device.h"

namespace trireme {

using Clock = std::chrono::steady_clock;
constexpr auto kPause = std::chrono::milliseconds(500);
constexpr auto kPauseOfComparison = std::chrono::microseconds(50);

struct NcclLauncher::Item {
  std::shared_ptr<NcclGroup> group;
  bool is_message;
  std::packaged_task<void()> task;
  std::shared_ptr<CallComparison> comparison;  // that it waits for; null: for none

  bool is_being_compared() const { return comparison != nullptr && !comparison->is_done(); }
};

/// An operation that the device has been given, until it is seen to be done.
struct NcclLauncher::OnDevice {
  std::shared_ptr<Event> done;
  RecordedCall recorded;
};

struct NcclLauncher::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::list<Item> items;
  std::vector<std::weak_ptr<NcclGroup>> groups;
  Communicator* world = nullptr;  // null once the launcher has ended
  bool ends = false;
  std::vector<std::shared_ptr<NcclGroup>> to_abort;
  Clock::time_point next_look = Clock::now() + kPause;
  std::thread thread;
  std::list<OnDevice> on_device;  // of the launcher's thread alone

  void serve();
  /// In the launcher's thread: records what has begun, and what has ended meanwhile.
  void record(NcclGroup& group, const std::shared_ptr<Event>& done, const RecordedCall& recorded);
  void record_ended() noexcept;
  // Under the lock:
  std::list<Item> take_next();
  Clock::time_point next_deadline() const;
  void look_after_groups();
  void abort_all();
};

namespace {

class LaunchedWork final : public Work {
 public:
  struct Operation {
    CommCall call;
    std::shared_ptr<Event> ready, done;
  };

  LaunchedWork(std::shared_ptr<NcclGroup> group, Stream& stream, std::shared_ptr<Operation> operation,
               std::future<void> launched)
      : group_(std::move(group)),
        stream_(stream),
        operation_(std::move(operation)),
        launched_(launched.share()) {}

  // Memory of the tensors goes to new users in the order of the stream: it has to come after the operation.
  ~LaunchedWork() override {
    if (is_ordered_ || std::uncaught_exceptions() > uncaught_) return;
    try {
      wait();
    } catch (const std::exception&) {  // whoever waits for an operation of this group says so
    }
  }

  void wait() override {
    launched_.get();
    group_->check_health();
    if (!std::exchange(is_ordered_, true)) stream_.wait(*operation_->done);
  }

  bool is_done() override {
    if (launched_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
    launched_.get();
    group_->check_health();
    return operation_->done->is_done();
  }

 private:
  int uncaught_ = std::uncaught_exceptions();
  std::shared_ptr<NcclGroup> group_;
  Stream& stream_;
  std::shared_ptr<Operation> operation_;
  std::shared_future<void> launched_;
  bool is_ordered_ = false;
};

// Given back when all groups have ended: that waits for the whole device.
std::shared_ptr<void> make_scratch(Device device) {
  const std::shared_ptr<MemorySource> source = cuda::make_memory_source(device.index);
  void* memory = source->allocate(NcclGroup::kScratchBytes);
  if (memory == nullptr) throw_environment("out of memory on {}", to_string(device));
  return {memory, [source](void* block) { source->release(block, NcclGroup::kScratchBytes); }};
}

}  // namespace

NcclLauncher::NcclLauncher(Device device, const NcclOptions& options, Communicator& world)
    : device_(device), options_(options), scratch_(make_scratch(device)), state_(std::make_shared<State>()) {
  state_->world = &world;
  state_->thread = std::thread([state = state_] { state->serve(); });
}

NcclLauncher::~NcclLauncher() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->ends = true;
    state_->world = nullptr;
  }
  state_->changed.notify_all();
  if (std::uncaught_exceptions() > uncaught_) {
    state_->thread.detach();
  } else {
    state_->thread.join();
  }
}

std::shared_ptr<NcclGroup> NcclLauncher::make_group(NcclGroup::Kind kind, std::string name, int size,
                                                    int rank) {
  auto group = std::make_shared<NcclGroup>(kind, std::move(name), device_, size, rank, options_, scratch_);
  const std::lock_guard lock(state_->mutex);
  std::erase_if(state_->groups, [](const auto& other) { return other.expired(); });
  state_->groups.push_back(group);
  return group;
}

void NcclLauncher::connect(const std::shared_ptr<NcclGroup>& group, WorkPtr id_arrives) {
  std::thread([group, arrival = std::move(id_arrives), state = state_]() mutable {
    try {
      std::exchange(arrival, nullptr)->wait();
      group->make();
    } catch (const std::exception& error) {
      group->fail(error.what());
    }
    const std::lock_guard lock(
        state->mutex);  // or the launcher could fall asleep between looking and waiting
    state->changed.notify_all();
  }).detach();
}

WorkPtr NcclLauncher::start(const std::shared_ptr<NcclGroup>& group, Stream& stream, CommCall call,
                            std::shared_ptr<CallComparison> comparison) {
  const bool is_message = call.is_point_to_point();
  auto operation = std::make_shared<LaunchedWork::Operation>(
      LaunchedWork::Operation{std::move(call), stream.record(), nullptr});
  // Until it lies on its stream, where the allocator sees it, it is announced: it may wait here for its
  // group.
  auto launched = push(
      group, is_message,
      [group, operation, comparison, state = state_,
       announced = cuda::announce_communication(device_.index)]() mutable {
        if (comparison) comparison->check();
        operation->done = group->launch(operation->call, *operation->ready);
        announced.reset();
        state->record(*group, operation->done, operation->call.recorded);
      },
      comparison);
  return std::make_shared<LaunchedWork>(group, stream, std::move(operation), std::move(launched));
}

void NcclLauncher::run(const std::shared_ptr<NcclGroup>& group, std::function<void()> task) {
  push(group, false, std::move(task)).get();
}

void NcclLauncher::close(const std::shared_ptr<NcclGroup>& group) noexcept {
  if (std::uncaught_exceptions() > uncaught_) return;
  try {
    push(group, true, [group] { group->close(); }).get();
  } catch (const std::exception&) {  // it has failed, and whoever waited for it was told
  }
}

void NcclLauncher::abort() noexcept {
  {
    const std::lock_guard lock(state_->mutex);
    state_->abort_all();
  }
  state_->changed.notify_all();
}

std::future<void> NcclLauncher::push(std::shared_ptr<NcclGroup> group, bool is_message,
                                     std::function<void()> task, std::shared_ptr<CallComparison> comparison) {
  std::packaged_task<void()> checked([group, work = std::move(task)] {
    group->check_health();
    work();
  });
  auto future = checked.get_future();
  {
    const std::lock_guard lock(state_->mutex);
    state_->items.push_back({std::move(group), is_message, std::move(checked), std::move(comparison)});
  }
  state_->changed.notify_all();
  return future;
}

/// The first that need not stay behind, or nothing. A group's own items never pass each other.
std::list<NcclLauncher::Item> NcclLauncher::State::take_next() {
  std::set<const NcclGroup*> behind;
  bool collectives_are_behind = false;
  std::list<Item> next;
  for (auto item = items.begin(); item != items.end(); ++item) {
    const bool stays = item->group->is_being_made() || behind.contains(item->group.get()) ||
                       (collectives_are_behind && !item->is_message) || item->is_being_compared();
    if (!stays) {
      next.splice(next.end(), items, item);
      return next;
    }
    behind.insert(item->group.get());
    if (!item->is_message) collectives_are_behind = true;
  }
  return next;
}

// What goes into a graph is done as far as this call is concerned: the graph's launches are others.
void NcclLauncher::State::record(NcclGroup& group, const std::shared_ptr<Event>& done,
                                 const RecordedCall& recorded) {
  if (!recorded) return;
  recorded.start();
  if (group.is_captured()) return recorded.end();
  record_ended();
  on_device.push_back({done, recorded});
}

// Streams are not ordered to one another: each operation is asked, of which few are in flight.
void NcclLauncher::State::record_ended() noexcept {
  try {
    std::erase_if(on_device, [](const OnDevice& operation) {
      if (!operation.done->is_done()) return false;
      operation.recorded.end();
      return true;
    });
  } catch (const std::exception&) {  // the device has failed, and whoever waits for it says so
    on_device.clear();
  }
}

void NcclLauncher::State::serve() {
  std::unique_lock lock(mutex);
  while (true) {
    for (const auto& group : std::exchange(to_abort, {})) group->abort();
    if (auto next = take_next(); !next.empty()) {
      lock.unlock();
      next.front().task();
      next.clear();  // without the lock: it may be the last owner of a tensor
      lock.lock();
    } else if (ends) {
      return;
    } else if (to_abort.empty()) {
      changed.wait_until(lock, next_deadline());
    }
    look_after_groups();
  }
}

Clock::time_point NcclLauncher::State::next_deadline() const {
  auto first = next_look;
  if (std::ranges::any_of(items, [](const Item& item) { return item.comparison != nullptr; }))
    first = Clock::now() + kPauseOfComparison;
  for (const auto& weak : groups) {
    const auto group = weak.lock();
    if (group && group->is_being_made()) first = std::min(first, group->deadline());
  }
  return first;
}

// A rank may wait for its device, and the device for another rank that has failed: so NCCL is asked now and
// then.
void NcclLauncher::State::look_after_groups() {
  const auto now = Clock::now();
  bool must_look = now >= next_look;
  if (must_look) {
    next_look = now + kPause;
    record_ended();
  }
  for (const auto& weak : groups) {
    const auto group = weak.lock();
    if (!group) continue;
    if (group->is_being_made() && now >= group->deadline()) group->give_up();
    if (!must_look) continue;
    if (const auto failure = group->look(); !failure.empty() && world != nullptr) {
      world->abort(failure, ExitCode::resources);
      abort_all();
      must_look = false;
    }
  }
}

// Whoever asks for it may let go of the groups before this thread comes to them.
void NcclLauncher::State::abort_all() {
  for (const auto& weak : groups) {
    if (auto group = weak.lock()) to_abort.push_back(std::move(group));
  }
}

}  // namespace trireme
