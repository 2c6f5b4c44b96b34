// The thread of a watchdog.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/watch/active_clock.h"
#include "runtime/watch/channel/hub.h"
#include "runtime/watch/judge/desk.h"
#include "runtime/watch/process/crash_signals.h"
#include "runtime/watch/process/process_facts.h"
#include "runtime/watch/watchdog.h"

namespace trireme::watch {

class WatchRunner {
 public:
  WatchRunner(const WatchOptions& options, WatchPost post, std::shared_ptr<const Recorder> recorder);
  ~WatchRunner();
  WatchRunner(const WatchRunner&) = delete;
  WatchRunner& operator=(const WatchRunner&) = delete;

  void fail(const std::string& message, ExitCode code) noexcept;
  void leave() noexcept;

 private:
  struct Failure {
    std::string message;
    ExitCode code = ExitCode::internal;
  };

  // All of what follows is of the thread alone.
  static constexpr double kLastWord =
      2;  // seconds for the judge to end the job, and for its launcher to do so
  void run();
  void wait_for_news();
  void tick();
  void look_at_progress(bool was_suspended);
  void handle(const HubEvent& event);
  void handle_seat(int seat, const std::string& message);
  void answer(const nlohmann::json& question);
  void take_requests();
  void take_crash();
  void check_launcher();
  void check_seats();
  void end_job(Ending ending);
  void end_alone(ExitCode code, double seconds);
  void kill_silent(const nlohmann::json& ranks);
  void flush(int milliseconds);
  void announce_failure(const Failure& failure);
  RankReport own_report(bool with_stacks) const;
  bool write_report(const std::string& name, const RankReport& report, const std::string& error) const;
  double quiet() const { return clock_.seconds() - progress_since_; }
  double limit() const;
  double now() const { return clock_.seconds(); }

  WatchOptions options_;
  Roster roster_;
  int rank_;
  std::shared_ptr<const Recorder> recorder_;
  Hub hub_;
  FileDescriptor wake_read_, wake_write_;
  double interval_;
  ActiveClock clock_;
  std::optional<Desk> desk_;
  std::optional<CrashSignals> crashes_;
  Launcher launcher_;
  bool is_launcher_gone_ = false, was_suspended_ = false;
  int64_t progress_ = -1, first_step_ = -1;
  double progress_since_ = 0, next_heartbeat_ = 0, began_ = 0;
  std::vector<double> seat_heard_;       // by place
  std::atomic<bool> is_ending_ = false;  // read by fail() too
  bool is_cut_off_ = false;              // from other hosts: the launcher cannot end the job
  double end_by_ = -1;                   // when this process ends itself
  ExitCode end_code_ = ExitCode::hang;

  std::mutex mutex_;
  std::condition_variable done_;
  std::optional<Failure> failure_;
  bool is_announced_ = false, is_leaving_ = false, has_left_ = false;
  std::thread thread_;
};

}  // namespace trireme::watch
