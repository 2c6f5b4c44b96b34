#include "runtime/watch/watch_runner.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/watch/process/thread_stacks.h"
#include "runtime/watch/report_file.h"

namespace trireme::watch {

namespace {

constexpr double kTick = 0.1;          // seconds
constexpr size_t kCallsToSend = 16;    // of each communicator
constexpr int kMostPolledAtOnce = 64;  // connections; beyond, messages are taken some at a time

double interval_of(int num_ranks) { return std::clamp(0.25 * num_ranks / 64, 0.25, 1.0); }

double steady_seconds() { return 1e-9 * static_cast<double>(steady_ns()); }

}  // namespace

WatchRunner::WatchRunner(const WatchOptions& options, WatchPost post,
                         std::shared_ptr<const Recorder> recorder)
    : options_(options),
      roster_(std::move(post.roster)),
      rank_(post.rank),
      recorder_(std::move(recorder)),
      hub_(roster_, rank_, std::move(post.listener)),
      interval_(interval_of(roster_.size())),
      seat_heard_(hub_.seats().size(), 0) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
    throw_environment("the watchdog has no socket: {}", std::strerror(errno));
  wake_read_ = FileDescriptor(ends[0]);
  wake_write_ = FileDescriptor(ends[1]);
  if (options_.is_launched) launcher_ = find_launcher();
  prepare_stacks();
  if (options_.handles_crashes) crashes_.emplace(wake_write_.get());
  if (hub_.is_seat()) {
    desk_.emplace(roster_, rank_, interval_,
                  DeskLinks{[this](int rank, std::string_view message) { hub_.send_to_rank(rank, message); },
                            [this](int rank) { return hub_.is_connected(rank); },
                            [this](Ending ending) { end_job(std::move(ending)); }},
                  0.0);
  }
  // Signals are for others to take.
  sigset_t all, before;
  ::sigfillset(&all);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, stack_signal()}) ::sigdelset(&all, fault);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw_environment("the watchdog has no thread: {}", error.what());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

WatchRunner::~WatchRunner() { leave(); }

void WatchRunner::fail(const std::string& message, ExitCode code) noexcept {
  try {
    if (is_ending_) return;
    std::unique_lock lock(mutex_);
    if (is_announced_ || has_left_) return;
    failure_ = Failure{message, code};
    ::send(wake_write_.get(), "f", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    done_.wait_for(lock, std::chrono::milliseconds(300), [this] { return is_announced_; });
  } catch (const std::exception&) {
    // No memory for it: the others will see that this process is gone.
  }
}

void WatchRunner::leave() noexcept {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_leaving_ = true;
  }
  ::send(wake_write_.get(), "l", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  thread_.join();
}

void WatchRunner::run() {
  ::pthread_setname_np(::pthread_self(), "trireme-watch");
  while (true) {
    wait_for_news();
    was_suspended_ |= clock_.look(steady_seconds());
    take_crash();
    take_requests();
    look_at_progress(std::exchange(was_suspended_, false));
    tick();
    const std::lock_guard lock(mutex_);
    if (is_leaving_) break;
  }
  hub_.send_to_seats(encode(nlohmann::json{{"say", "bye"}}));
  flush(500);
  const std::lock_guard lock(mutex_);
  has_left_ = true;
}

void WatchRunner::wait_for_news() {
  std::vector<pollfd> own = {{wake_read_.get(), POLLIN, 0}};
  if (launcher_.handle.get() >= 0 && !is_launcher_gone_) own.push_back({launcher_.handle.get(), POLLIN, 0});
  if (desk_ && roster_.size() > kMostPolledAtOnce) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const std::vector<HubEvent> events = hub_.poll(static_cast<int>(kTick * 1e3), own);
  was_suspended_ |= clock_.look(steady_seconds());
  char bytes[64];
  while (own[0].revents != 0 && ::recv(wake_read_.get(), bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
  }
  if (own.size() > 1 && own[1].revents != 0) is_launcher_gone_ = true;
  for (const HubEvent& event : events) handle(event);
}

void WatchRunner::look_at_progress(bool was_suspended) {
  const int64_t progress = recorder_->progress();
  if (first_step_ < 0) first_step_ = recorder_->site().step;
  if (progress == progress_ && !was_suspended) return;
  progress_ = progress;
  progress_since_ = now();
}

double WatchRunner::limit() const {
  const CallSite site = recorder_->site();
  return options_.limits.of(site.phase, site.step == first_step_);
}

void WatchRunner::tick() {
  if (end_by_ >= 0 && now() >= end_by_) {
    end_by_ = -1;
    if (is_cut_off_ && launcher_.is_of_mpi) kill_process(launcher_.pid, 0);
    options_.end(end_code_, false);
  }
  if (is_ending_) return;
  if (is_launcher_gone_ || (launcher_.pid != 0 && launcher_.handle.get() < 0)) check_launcher();
  if (now() < next_heartbeat_) return;
  next_heartbeat_ = now() + interval_;
  hub_.send_to_seats(encode(Heartbeat{recorder_->site(), progress_, quiet(), limit()}));
  if (desk_) {
    hub_.send_to_all_ranks(encode_ping(desk_->judges(now())));
    desk_->tick(now());
  }
  if (!is_ending_) check_seats();
}

void WatchRunner::handle(const HubEvent& event) {
  switch (event.kind) {
    case HubEvent::Kind::from_rank:
      if (desk_) desk_->hear(event.rank, event.message, now());
      return;
    case HubEvent::Kind::rank_lost:
      if (desk_ && !is_ending_ && !options_.is_stopping()) desk_->lose(event.rank, now());
      return;
    case HubEvent::Kind::from_seat:
      return handle_seat(event.rank, event.message);
    case HubEvent::Kind::seat_lost:
      return;  // other seats see it as well
  }
}

void WatchRunner::handle_seat(int seat, const std::string& message) {
  const auto at = std::ranges::find(hub_.seats(), seat) - hub_.seats().begin();
  if (at < std::ssize(seat_heard_)) seat_heard_[static_cast<size_t>(at)] = now();
  if (decode_ping(message)) return;
  const nlohmann::json object = decode(message);
  if (object.is_null()) return;
  try {
    const std::string say = object.at("say");
    if (say == "report" || say == "inspect") {
      nlohmann::json question = object;
      question["seat"] = seat;
      answer(question);
    } else if (say == "end" && !is_ending_) {
      is_ending_ = true;
      is_cut_off_ = object.at("is_cut_off");
      kill_silent(object.at("kill"));
      end_alone(static_cast<ExitCode>(object.at("code").get<int>()), kLastWord);
    }
  } catch (const nlohmann::json::exception&) {
    // Of another build: it will not have an answer.
  }
}

void WatchRunner::answer(const nlohmann::json& question) {
  const int seat = question.at("seat");
  if (question.at("say") == "inspect") {
    nlohmann::json found = nlohmann::json::array();
    for (const int rank : question.at("ranks").get<std::vector<int>>()) {
      if (rank >= 0 && rank < roster_.size())
        found.push_back(to_json(inspect(roster_.of(rank), question.at("are_lost"))));
    }
    return hub_.send_to_seat(seat, encode(nlohmann::json{{"say", "inspected"}, {"ranks", found}}));
  }
  const bool with_stacks = question.at("stacks");
  const RankReport report = own_report(with_stacks);
  if (with_stacks) write_report(fmt::format("hang/rank{}.json", rank_), report, "");
  RankReport sent = report;
  if (sent.stacks.size() > 1) sent.stacks.resize(1);
  hub_.send_to_seat(seat, encode(nlohmann::json{{"say", "report"},
                                                {"round", question.at("round")},
                                                {"report", to_json(sent, kCallsToSend)}}));
}

RankReport WatchRunner::own_report(bool with_stacks) const {
  RankReport report;
  report.rank = rank_;
  report.host = roster_.of(rank_).host;
  report.pid = roster_.of(rank_).pid;
  report.site = recorder_->site();
  report.quiet = quiet();
  report.limit = limit();
  report.histories = recorder_->history();
  if (!with_stacks) return report;
  constexpr double kSecondsForStacks = 1.5;
  report.stacks = all_stacks(kSecondsForStacks);
  if (!report.stacks.empty() && !report.stacks[0].frames.empty())
    report.waits = is_in_communication(report.stacks[0].frames);
  return report;
}

bool WatchRunner::write_report(const std::string& name, const RankReport& report,
                               const std::string& error) const {
  return write_report_file(options_.directory(), name, report, error);
}

void WatchRunner::flush(int milliseconds) {
  const double until = steady_seconds() + 1e-3 * milliseconds;
  do {
    std::vector<pollfd> none;
    for (const HubEvent& event : hub_.poll(1, none)) {
      if (event.kind == HubEvent::Kind::from_rank && desk_ && !is_ending_)
        desk_->hear(event.rank, event.message, now());
    }
  } while (hub_.has_unsent() && steady_seconds() < until);
}

}  // namespace trireme::watch
