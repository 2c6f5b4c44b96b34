#include "launch/bench/serving/server_child.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/bench/serving/wall_clock.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

/// Between fork and exec: only what a child of a process with threads may call.
[[noreturn]] void become_server(char* const* words, pid_t parent, int output) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  ::setpgid(0, 0);  // a terminal's Ctrl-C ends this process, and that ends the server in good order
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(output, STDERR_FILENO);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE})
    ::sigaction(signal, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execv(words[0], words);
  ::_exit(127);
}

int code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace

ServerChild::ServerChild(std::vector<std::string> command, double seconds) {
  start(command);
  const WallClock watch;
  bool prints = true;
  while (url_.empty() && prints && watch.seconds() < seconds) prints = pass_on();
  if (url_.empty()) {
    const bool has_ended = !prints;
    const int code = has_ended ? wait_for_end(5) : stop(5);
    if (has_ended && code != 0)
      throw UserError(static_cast<ExitCode>(code),
                      fmt::format("{} ended with exit code {} before it listened", command[0], code));
    throw_environment("{} did not listen within {} s", command[0], seconds);
  }
  passes_on_ = std::jthread([this](const std::stop_token& stop) {
    while (!stop.stop_requested() && pass_on()) {
    }
  });
}

ServerChild::~ServerChild() {
  if (child_ > 0) {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
}

void ServerChild::start(std::vector<std::string>& command) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_environment("cannot make a pipe: {}", std::strerror(errno));
  printed_ = FileDescriptor(ends[0]);
  const FileDescriptor output(ends[1]);
  std::vector<char*> words;
  for (std::string& word : command) words.push_back(word.data());
  words.push_back(nullptr);
  const pid_t parent = ::getpid();
  child_ = ::fork();
  if (child_ < 0) throw_environment("cannot start {}: {}", command[0], std::strerror(errno));
  if (child_ == 0) become_server(words.data(), parent, output.get());
}

bool ServerChild::pass_on() {
  pollfd wanted{printed_.get(), POLLIN, 0};
  if (::poll(&wanted, 1, 50) <= 0) return true;
  std::array<char, 4096> bytes;
  const ssize_t size = ::read(printed_.get(), bytes.data(), bytes.size());
  if (size < 0 && errno == EINTR) return true;
  if (size <= 0) return false;
  std::fwrite(bytes.data(), 1, static_cast<size_t>(size), stderr);
  if (!url_.empty()) return true;
  line_.append(bytes.data(), static_cast<size_t>(size));
  constexpr std::string_view kListens = "listening on ";
  const size_t at = line_.find(kListens), end = line_.find('\n', at == std::string::npos ? 0 : at);
  if (at != std::string::npos && end != std::string::npos)
    url_ = line_.substr(at + kListens.size(), end - at - kListens.size());
  return true;
}

int ServerChild::wait_for_end(double seconds) {
  const WallClock watch;
  while (true) {
    int status = 0;
    if (::waitpid(child_, &status, WNOHANG) == child_) {
      child_ = -1;
      return code_of(status);
    }
    if (watch.seconds() > seconds) ::kill(child_, SIGKILL);
    ::poll(nullptr, 0, 20);
  }
}

int ServerChild::stop(double seconds) {
  if (child_ > 0) ::kill(child_, SIGTERM);
  const int code = child_ > 0 ? wait_for_end(seconds) : 0;
  passes_on_ = std::jthread();
  return code;
}

}  // namespace trireme::launch
