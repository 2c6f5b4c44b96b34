#include "launch/doctor/check_timer.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

constexpr auto kPause = std::chrono::microseconds(200);  // between two looks at what has arrived

auto duration_of(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

/// Memory of its own: works keep it, also one that is never over.
Tensor host_number(int64_t value = 0) {
  const auto number = std::make_shared<int64_t>(value);
  return Tensor::share({number, reinterpret_cast<std::byte*>(number.get())}, {1}, DType::i64);
}

void say(Communicator& comm, Stream& stream, int to) { comm.send(stream, host_number(), to); }

/// Awaits a message of each other rank. None on a rank that is not 0.
std::vector<WorkPtr> await_others(Communicator& comm, Stream& stream) {
  std::vector<WorkPtr> works(static_cast<size_t>(comm.size()));
  for (int rank = 1; rank < comm.size() && comm.rank() == 0; ++rank)
    works[static_cast<size_t>(rank)] = comm.receive_async(stream, host_number(), rank);
  return works;
}

/// Throws what the operation threw.
bool has_come(const WorkPtr& work) {
  if (!work->is_done()) return false;
  work->wait();
  return true;
}

}  // namespace

CheckTimer::CheckTimer(Communicator& world, const Limits& limits)
    : world_(world),
      limits_(limits),
      stream_(cpu::make_compute_stream()),
      watch_stream_(cpu::make_compute_stream()) {
  roll_ = world.split(0, world.rank(), "doctor's roll");
  answers_ = world.split(0, world.rank(), "doctor's answers");
  thread_ = std::thread([this] { watch(); });
}

CheckTimer::~CheckTimer() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void CheckTimer::name_hosts(std::vector<std::string> hosts) {
  const std::lock_guard lock(mutex_);
  hosts_ = std::move(hosts);
}

CheckTimer::Clock::time_point CheckTimer::latest_arrival() {
  const std::lock_guard lock(mutex_);
  const bool is_first = deadline_ == Clock::time_point();
  return (is_first ? Clock::now() + duration_of(limits_.check) : deadline_) + duration_of(limits_.answer);
}

void CheckTimer::begin(const std::string& name) {
  const Clock::time_point end = latest_arrival();
  if (world_.rank() == 0) {
    const std::vector<WorkPtr> arrivals = await_others(*roll_, *stream_);
    std::vector<int> absent;
    for (size_t rank = 1; rank < arrivals.size(); ++rank) {
      while (!arrivals[rank]->is_done() && Clock::now() < end) std::this_thread::sleep_for(kPause);
      if (!has_come(arrivals[rank])) absent.push_back(static_cast<int>(rank));
    }
    if (!absent.empty())
      give_up(fmt::format("check '{}': {} did not come to it in time", name, names_of(absent)));
    for (int rank = 1; rank < world_.size(); ++rank) say(*roll_, *stream_, rank);
  } else {
    say(*roll_, *stream_, 0);
    const WorkPtr go = roll_->receive_async(*stream_, host_number(), 0);
    while (!go->is_done() && Clock::now() < end + duration_of(limits_.rank_0))
      std::this_thread::sleep_for(kPause);
    if (!has_come(go)) give_up(fmt::format("check '{}': {} did not come to it in time", name, names_of({0})));
  }
  {
    const std::lock_guard lock(mutex_);
    check_ = name;
    ++number_;
    deadline_ = Clock::now() + duration_of(limits_.check);
  }
  changed_.notify_all();
}

void CheckTimer::end() {
  {
    const std::lock_guard lock(mutex_);
    check_.clear();
  }
  changed_.notify_all();
}

void CheckTimer::watch() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    if (check_.empty()) {
      changed_.wait(lock);
    } else if (Clock::now() < deadline_) {
      changed_.wait_until(lock, deadline_);
    } else {
      const std::string name = check_;
      lock.unlock();
      try {
        expire(name);
      } catch (const Error&) {  // the job ends
        return;
      }
      lock.lock();
    }
  }
}

void CheckTimer::expire(const std::string& name) {
  const std::string what = fmt::format("check '{}' took longer than {:.3g} s", name, limits_.check);
  if (world_.rank() == 0) give_up(what + blame());
  const WorkPtr answer = answers_->send_async(*watch_stream_, host_number(number_), 0);
  std::unique_lock lock(mutex_);
  const auto is_over = [this] { return stopped_ || check_.empty(); };
  if (changed_.wait_for(lock, duration_of(limits_.answer + limits_.rank_0), is_over)) return;
  lock.unlock();
  give_up(fmt::format("{}: {} does not answer", what, names_of({0})));
}

// The caller's thread is in the check, and leaves the roll to this one: ranks that are done have come to the
// next check.
std::string CheckTimer::blame() {
  if (world_.size() == 1) return "";
  // Of MPI's works the end waits for the message: these are kept until the job is over.
  auto& [arrivals, answers] = last_works_;
  arrivals = await_others(*roll_, *watch_stream_);
  answers.resize(arrivals.size());
  std::vector<Tensor> numbers(arrivals.size());
  const auto has_answered = [&](size_t rank) {
    // A rank that was late for an earlier check may have said so.
    if (answers[rank] && (!has_come(answers[rank]) || *numbers[rank].data<int64_t>() == number_))
      return answers[rank]->is_done();
    numbers[rank] = host_number();
    answers[rank] = answers_->receive_async(*watch_stream_, numbers[rank], static_cast<int>(rank));
    return false;
  };
  const auto end = Clock::now() + duration_of(limits_.answer);
  std::vector<int> silent, done;
  for (size_t rank = 1; rank < arrivals.size(); ++rank) {
    const auto is_heard = [&] { return has_answered(rank) || arrivals[rank]->is_done(); };
    bool heard = is_heard();
    for (; !heard && Clock::now() < end; heard = is_heard()) std::this_thread::sleep_for(kPause);
    if (!heard) silent.push_back(static_cast<int>(rank));
    if (arrivals[rank]->is_done()) done.push_back(static_cast<int>(rank));
  }
  if (!silent.empty()) return fmt::format(": {} did not answer", names_of(silent));
  if (!done.empty()) return fmt::format(": {} had ended it, the others had not", names_of(done));
  return ": all ranks answer and wait in it, so the network, a device or a library between them holds up "
         "data";
}

std::string CheckTimer::names_of(const std::vector<int>& ranks) const {
  std::vector<std::string> names;
  for (const int rank : ranks) {
    const auto at = static_cast<size_t>(rank);
    names.push_back(at < hosts_.size() ? fmt::format("{} ({})", rank, hosts_[at]) : fmt::to_string(rank));
  }
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(names, ", "));
}

void CheckTimer::give_up(const std::string& message) {
  world_.abort(message, ExitCode::hang);
  throw EnvironmentError(message, ExitCode::hang);
}

}  // namespace trireme::launch
