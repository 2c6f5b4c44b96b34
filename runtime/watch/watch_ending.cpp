// How the thread of a watchdog ends a job.
#include <algorithm>
#include <chrono>
#include <thread>

#include <fmt/ranges.h>

#include "runtime/watch/judge/hang_text.h"
#include "runtime/watch/ras/nccl_ras.h"
#include "runtime/watch/report_file.h"
#include "runtime/watch/watch_runner.h"

namespace trireme::watch {

namespace {

constexpr double kSeatsAreGone = 3;  // beyond the limit, without a word of any seat

bool uses_nccl(const RankReport& report) {
  return std::ranges::any_of(report.histories,
                             [](const CommHistory& history) { return history.backend == "nccl"; });
}

}  // namespace

void WatchRunner::take_requests() {
  std::optional<Failure> failure;
  {
    const std::lock_guard lock(mutex_);
    if (is_announced_) return;
    failure = failure_;
  }
  if (!failure) return;
  announce_failure(*failure);
  if (!failure->message.empty())
    write_report(fmt::format("crash.rank{}.json", rank_), own_report(false), failure->message);
  const std::lock_guard lock(mutex_);
  is_announced_ = true;
  done_.notify_all();
}

void WatchRunner::announce_failure(const Failure& failure) {
  hub_.send_to_seats(encode(nlohmann::json{{"say", "failing"}, {"code", static_cast<int>(failure.code)}}));
  flush(100);
}

void WatchRunner::take_crash() {
  Crash crash;
  if (!crashes_ || !CrashSignals::take(crash)) return;
  announce_failure({crash.error, ExitCode::internal});
  RankReport report = own_report(false);
  report.stacks.push_back({crash.thread, "", crash.frames});
  const bool is_written = write_report(fmt::format("crash.rank{}.json", rank_), report, crash.error);
  std::string text;
  for (const StackGroup& group : group_stacks(std::span(&report, 1)))
    text += fmt::format("trireme: rank {}: {}\n", rank_, fmt::join(group.frames, " < "));
  text +=
      fmt::format("trireme: error: rank {} (host {}, process {}): {}; it was in {}{}\n", rank_, report.host,
                  report.pid, crash.error, to_string(report.site),
                  is_written ? fmt::format("; see {}/crash.rank{}.json", options_.directory(), rank_) : "");
  options_.say(text);
  CrashSignals::release();
}

// Without its launcher a job has nobody who would end it.
void WatchRunner::check_launcher() {
  if (!is_launcher_gone_ && process_state(launcher_.pid, 0).is_there) return;
  is_launcher_gone_ = is_ending_ = true;
  int first = rank_;  // of this host: one says it
  std::vector<int> stopped;
  for (const Peer& peer : roster_.peers) {
    if (!roster_.is_same_host(peer.rank, rank_)) continue;
    first = std::min(first, peer.rank);
    if (process_state(peer.pid, peer.start_time).state == 'T') stopped.push_back(peer.rank);
  }
  if (rank_ == first || std::ranges::find(stopped, first) != stopped.end()) {
    options_.say(fmt::format("trireme: error: the launcher is gone ({}, process {}, host {}): the job ends\n",
                             launcher_.name, launcher_.pid, roster_.of(rank_).host));
  }
  kill_silent(nlohmann::json(stopped));
  end_alone(ExitCode::resources, 0.2);
}

// All seats may be frozen, or on the other side of a link.
void WatchRunner::check_seats() {
  if (limit() <= 0 || quiet() < limit() + kSeatsAreGone || desk_) return;
  const double last = *std::ranges::max_element(seat_heard_);
  if (now() - last < kSeatsAreGone) return;
  is_ending_ = true;
  std::vector<std::string> names;
  for (const int seat : hub_.seats())
    names.push_back(fmt::format("rank {} on host {}", seat, roster_.of(seat).host));
  write_report(fmt::format("hang/rank{}.json", rank_), own_report(true), "");
  options_.say(fmt::format(
      "trireme: error: rank {} (host {}): no progress for {:.1f} s, and none of those who watch answers: {}; "
      "they are down, or the link to them is\n",
      rank_, roster_.of(rank_).host, quiet(), fmt::join(names, ", ")));
  is_cut_off_ = true;
  end_alone(ExitCode::hang, 0.2);
}

// mpirun ends them itself when the job is aborted; of one that was killed before it would report the signal
// in place of the job's own exit code.
void WatchRunner::kill_silent(const nlohmann::json& ranks) {
  if (launcher_.is_of_mpi && !is_launcher_gone_ && !is_cut_off_) return;
  for (const int rank : ranks.get<std::vector<int>>()) {
    if (rank < 0 || rank >= roster_.size() || rank == rank_ || !roster_.is_same_host(rank, rank_)) continue;
    kill_process(roster_.of(rank).pid, roster_.of(rank).start_time);
  }
}

void WatchRunner::end_job(Ending ending) {
  is_ending_ = true;
  std::vector<int> silent;
  for (const RankReport& report : ending.reports) {
    if (report.presence == Presence::silent) silent.push_back(report.rank);
  }
  if (!ending.verdict.lines.empty()) {
    const std::string directory = options_.directory();
    for (const RankReport& report : ending.reports) {
      if (report.presence == Presence::gone)
        write_report(fmt::format("crash.rank{}.json", report.rank), report,
                     fmt::format("{}", fmt::join(ending.verdict.lines, "; ")));
    }
    const bool asks = ending.code == ExitCode::hang && !options_.ras.empty() &&
                      std::ranges::any_of(ending.reports, uses_nccl);
    options_.say(
        ending_text(ending, directory, asks ? ask_ras(options_.ras, 1.0) : std::vector<std::string>()));
  }
  is_cut_off_ = ending.verdict.kind == Verdict::Kind::unreachable;
  const nlohmann::json end{
      {"say", "end"}, {"code", static_cast<int>(ending.code)}, {"kill", silent}, {"is_cut_off", is_cut_off_}};
  hub_.send_to_all_ranks(encode(end));
  flush(100);
  kill_silent(nlohmann::json(silent));
  end_code_ = ending.code;
  // A launcher that does not reach all hosts waits for them, and would end this process before it is ended
  // itself.
  constexpr double kAtOnce = 0.3;
  if (is_cut_off_) return end_alone(ending.code, kAtOnce);
  // Whoever has started the job may end it meanwhile, with the code of the process that died.
  constexpr double kForLauncher = 1;
  if (ending.code != ExitCode::hang) std::this_thread::sleep_for(std::chrono::duration<double>(kForLauncher));
  end_alone(ending.code, kLastWord);
  options_.end(ending.code, true);
}

void WatchRunner::end_alone(ExitCode code, double seconds) {
  end_by_ = now() + seconds;
  end_code_ = code;
}

}  // namespace trireme::watch
