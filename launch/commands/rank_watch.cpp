#include "launch/commands/rank_watch.h"

#include <cstdlib>
#include <string_view>
#include <thread>

#include <unistd.h>

#include "launch/process/host_name.h"
#include "launch/process/stop_request.h"
#include "launch/report/files/run_log.h"
#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/watch/meet.h"
#include "runtime/watch/ras/nccl_ras.h"

namespace trireme::launch {

namespace {

// With one call of the kernel: a thread that is stuck may hold the stream.
void say_at_once(const RunLog* log, const std::string& lines) {
  const std::string text = "\n" + lines;  // another rank may have begun a line
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, rest.data(), rest.size());
    if (written <= 0) break;
    rest.remove_prefix(static_cast<size_t>(written));
  }
  if (log != nullptr) log->append(lines);
}

// MPI may itself be stuck: it is called in a thread that is left behind, and the process ends without it a
// moment later.
void end_process(bool leads, ExitCode code) {
  if (!leads) std::_Exit(static_cast<int>(code));
  std::thread([code] { MpiEnvironment::abort(code); }).detach();
}

}  // namespace

void RankWatch::start(const RunOptions& run, const MpiEnvironment* mpi, Communicator& world,
                      std::shared_ptr<Recorder> recorder) {
  if (watchdog_) return;
  recorder_ = std::move(recorder);
  watch::WatchOptions options;
  options.limits = run.hang_limit;
  options.is_launched = mpi != nullptr;
  options.handles_crashes = true;
  options.is_stopping = [] { return StopRequest::signal() != 0; };
  options.say = [log = log_](const std::string& lines) { say_at_once(log, lines); };
  options.end = [](ExitCode code, bool leads) { end_process(leads, code); };
  options.directory = [log = log_] { return log != nullptr ? log->directory() : std::string(); };
  options.ras = watch::ras_address();
  const std::string host = host_name();
  watch::WatchPost post = mpi == nullptr
                              ? watch::alone(host)
                              : watch::meet(world, host, mpi->hosts().size() == 1, run.watch_interface);
  watchdog_.emplace(std::move(options));
  watchdog_->start(std::move(post), recorder_);
  MpiEnvironment::before_abort([this](ExitCode code) { fail("", code); });
}

void RankWatch::fail(const std::string& message, ExitCode code) noexcept {
  if (watchdog_) watchdog_->fail(message, code);
}

void RankWatch::enter_teardown() noexcept {
  if (recorder_) recorder_->enter(Phase::teardown);
}

void RankWatch::leave() noexcept {
  if (!watchdog_) return;
  MpiEnvironment::before_abort(nullptr);
  watchdog_->leave();
}

}  // namespace trireme::launch
