#include "launch/start/supervise.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/start/session_processes.h"
#include "runtime/base/error.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kRequests[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

// A handler has nothing else to write to.
std::atomic<int> first_request{0}, num_requests{0};
static_assert(std::atomic<int>::is_always_lock_free);

void note_request(int signal) {
  int none = 0;
  first_request.compare_exchange_strong(none, signal);
  num_requests.fetch_add(1);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

/// Both ends of a pipe that no program started from here inherits.
std::array<FileDescriptor, 2> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_environment("cannot make a pipe: {}", std::strerror(errno));
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

/// In the child between fork and exec: only what a child of a process with threads may call.
/// `printed` takes standard output, -1: as it is, and `errors` standard error.
[[noreturn]] void become(char* const* words, char* const* variables, pid_t parent, int printed, int errors,
                         int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  ::setsid();
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  if (printed >= 0) ::dup2(printed, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (const int signal : kRequests) ::sigaction(signal, &action, nullptr);
  ::sigaction(SIGPIPE, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execvpe(words[0], words, variables);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = ::write(report, &error, sizeof error);
  ::_exit(127);
}

class Supervision {
 public:
  explicit Supervision(const SupervisedJob& job)
      : job_(job), output_([this](std::string_view text) { say(text); }) {}

  SupervisedEnd run() {
    if (num_requests > 0) {
      SupervisedEnd nothing;
      nothing.code = static_cast<int>(ExitCode::resumable);
      nothing.signal = first_request;
      return nothing;
    }
    open_output();
    start();
    while (!has_ended()) {
      read_output(milliseconds(50));
      answer_requests();
    }
    drain();
    end_session();
    return outcome();
  }

 private:
  void open_output() {
    if (job_.output.empty()) return;
    printed_ = FileDescriptor(::open(job_.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
    if (printed_.get() < 0) throw_environment("cannot open {}: {}", job_.output, std::strerror(errno));
  }

  /// What cannot be written is lost, as with a terminal that is gone.
  void say(std::string_view text) const {
    if (printed_.get() < 0) {
      std::fwrite(text.data(), 1, text.size(), stderr);
      std::fflush(stderr);
      return;
    }
    while (!text.empty()) {
      const ssize_t written = ::write(printed_.get(), text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;
      text.remove_prefix(static_cast<size_t>(written));
    }
  }

  void start() {
    auto [read_end, write_end] = make_pipe();
    auto [reported, report] = make_pipe();
    std::vector<std::string> words = job_.command, settings;
    for (const auto& [name, value] : job_.variables) settings.push_back(name + "=" + value);
    const std::vector<char*> argv = pointers(words), envp = pointers(settings);
    const pid_t parent = ::getpid();
    child_ = ::fork();
    if (child_ < 0) throw_environment("cannot start {}: {}", words[0], std::strerror(errno));
    if (child_ == 0) {
      become(argv.data(), envp.data(), parent, printed_.get(), write_end.get(), report.get());
    }
    errors_ = std::move(read_end);
    write_end = FileDescriptor();
    report = FileDescriptor();
    ::fcntl(errors_.get(), F_SETFL, O_NONBLOCK);
    int error = 0;
    if (::read(reported.get(), &error, sizeof error) == sizeof error) {
      ::waitpid(child_, nullptr, 0);
      throw_environment("{} cannot be started: {}{}", words[0], std::strerror(error),
                        error == ENOENT ? ": is it installed, and its folder in PATH?" : "");
    }
  }

  bool has_ended() {
    const pid_t found = ::waitpid(child_, &status_, WNOHANG);
    return found == child_;
  }

  /// Waits at most so long for output, and takes what there is; false: there will be no more.
  bool read_output(milliseconds longest) {
    pollfd wanted{errors_.get(), POLLIN, 0};
    if (is_closed_) {
      ::poll(nullptr, 0, static_cast<int>(longest.count()));
      return false;
    }
    ::poll(&wanted, 1, static_cast<int>(longest.count()));
    std::array<char, 4096> buffer;
    while (true) {
      const ssize_t length = ::read(errors_.get(), buffer.data(), buffer.size());
      if (length > 0) {
        output_.add({buffer.data(), static_cast<size_t>(length)});
      } else {
        if (length == 0) is_closed_ = true;
        return !is_closed_;
      }
    }
  }

  // Ranks that outlive the command may hold its end of the pipe.
  void drain() {
    const auto end = Clock::now() + milliseconds(500);
    while (read_output(milliseconds(20)) && Clock::now() < end) {
    }
    output_.finish();
  }

  void answer_requests() {
    const int requests = num_requests;
    if (requests == 0) return;
    if (asked_at_ == Clock::time_point()) {
      asked_at_ = Clock::now();
      fmt::print(stderr, "{}: {}: the ranks are told to save and stop; a second signal ends them at once\n",
                 job_.asker, ::strsignal(first_request));
    }
    if (requests > 1) return cut();
    const bool late = Clock::now() - asked_at_ > seconds(10);
    if (is_passed_on_ || !(late || can_stop())) return;
    is_passed_on_ = true;
    ::kill(child_, SIGUSR1);
  }

  /// Whether a USR1 to the command reaches ranks that save, and kills nobody who is about to start.
  bool can_stop() const {
    if (!takes_signal(child_, SIGUSR1)) return false;
    if (job_.num_local_ranks == 0) return true;
    int ready = 0;
    const bool in_session = job_.mark.empty();
    for (const pid_t process : in_session ? processes_of_session(child_) : processes_with(job_.mark)) {
      if (process != child_ && process != ::getpid() && runs_program(process, job_.program) &&
          takes_signal(process, SIGUSR1))
        ++ready;
    }
    return ready >= job_.num_local_ranks;
  }

  void cut() {
    if (!was_cut_) {
      was_cut_ = true;
      cut_at_ = Clock::now();
      ::kill(child_, SIGTERM);
    } else if (Clock::now() - cut_at_ > seconds(5)) {
      for (const pid_t process : processes_of_session(child_)) ::kill(process, SIGKILL);
    }
  }

  void end_session() {
    const auto kill_at = Clock::now() + seconds(2), end = kill_at + seconds(2);
    while (Clock::now() < end) {
      const std::vector<pid_t> left = processes_of_session(child_);
      if (left.empty()) return;
      if (was_cut_ || Clock::now() > kill_at) {
        for (const pid_t process : left) ::kill(process, SIGKILL);
      }
      ::poll(nullptr, 0, 20);
    }
  }

  SupervisedEnd outcome() const {
    constexpr int kSaved = static_cast<int>(ExitCode::resumable);
    SupervisedEnd end;
    end.signal = first_request;
    end.was_cut = was_cut_;
    end.failure = output_.first_failure();
    end.code = WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
    // srun says what the last task ended with: those that it ended when the first did, a moment before them.
    if (end.code > 128 && output_.first_code()) end.code = *output_.first_code();
    if (was_cut_) end.code = 128 + end.signal;
    // It had not begun: there is nothing to save.
    if (!was_cut_ && is_passed_on_ && end.code == 128 + SIGUSR1 && !output_.has_error()) end.code = kSaved;
    if (end.code != 0 && end.code != kSaved && !was_cut_ && !output_.has_error()) {
      say(output_.held());
    }
    end.has_error = output_.has_error();
    return end;
  }

  const SupervisedJob& job_;
  LauncherOutput output_;
  pid_t child_ = 0;
  int status_ = 0;
  FileDescriptor errors_, printed_;
  bool is_closed_ = false, is_passed_on_ = false, was_cut_ = false;
  Clock::time_point asked_at_, cut_at_;
};

}  // namespace

void note_stop_requests() {
  struct sigaction action = {}, before = {};
  action.sa_handler = note_request;
  action.sa_flags = SA_RESTART;
  for (const int signal : kRequests) {
    ::sigaction(signal, nullptr, &before);
    // nohup, and a shell's background job, ignore some: they stay ignored.
    if (before.sa_handler != SIG_IGN) ::sigaction(signal, &action, nullptr);
  }
}

SupervisedEnd supervise(const SupervisedJob& job) { return Supervision(job).run(); }

}  // namespace trireme::launch
