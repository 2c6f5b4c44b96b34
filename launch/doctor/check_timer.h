// Checks that need other ranks do not wait for ever.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"

namespace trireme::launch {

/// Ahead of each check the ranks come together; one that does not come is named. From then on, until they
/// come together for the next, a thread of every rank watches the time. When it is over, those of ranks that
/// are still in the check tell rank 0. It names the ranks of which it hears nothing, or those that hold up
/// the others, and ends the job with ExitCode::hang through Communicator::abort. Where all are in it, what
/// carries their data is to blame.
class CheckTimer {
 public:
  struct Limits {
    double check = 60;   ///< seconds from one check to the next
    double answer = 5;   ///< seconds on top of that in which ranks may say what they do
    double rank_0 = 15;  ///< seconds on top of both in which rank 0 may end the job, before others do
  };

  /// Every rank of `world` makes one, and destroys it. `world` outlives it.
  CheckTimer(Communicator& world, const Limits& limits);
  ~CheckTimer();
  CheckTimer(const CheckTimer&) = delete;
  CheckTimer& operator=(const CheckTimer&) = delete;

  /// What messages call the ranks beside their numbers, one a rank.
  void name_hosts(std::vector<std::string> hosts);

  /// Every rank calls it ahead of the check `name`, and end() behind it. Throws EnvironmentError (hang) where
  /// the job is already to end.
  void begin(const std::string& name);
  void end();

 private:
  using Clock = std::chrono::steady_clock;

  void watch();
  /// Ends the job.
  void expire(const std::string& name);
  /// Rank 0's part of that: what is said of the others.
  std::string blame();
  /// Until when ranks may come to the next check.
  Clock::time_point latest_arrival();
  std::string names_of(const std::vector<int>& ranks) const;
  [[noreturn]] void give_up(const std::string& message);

  Communicator& world_;
  Limits limits_;
  std::unique_ptr<Stream> stream_, watch_stream_;
  std::unique_ptr<Communicator> roll_;                                // of begin(), by the caller's thread
  std::unique_ptr<Communicator> answers_;                             // of the watching thread
  std::pair<std::vector<WorkPtr>, std::vector<WorkPtr>> last_works_;  // of both, once the time is over
  std::vector<std::string> hosts_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string check_;                // that runs; empty: none
  std::atomic<int64_t> number_ = 0;  // of checks that began
  Clock::time_point deadline_ = {};  // of the last that began
  bool stopped_ = false;
  std::thread thread_;
};

/// begin() and end() around a block; where that throws, no end.
class TimedCheck {
 public:
  TimedCheck(CheckTimer& timer, const std::string& name)
      : timer_(timer), uncaught_(std::uncaught_exceptions()) {
    timer_.begin(name);
  }
  ~TimedCheck() {
    if (std::uncaught_exceptions() == uncaught_) timer_.end();
  }
  TimedCheck(const TimedCheck&) = delete;
  TimedCheck& operator=(const TimedCheck&) = delete;

 private:
  CheckTimer& timer_;
  int uncaught_;
};

}  // namespace trireme::launch
