#include "launch/process/stop_request.h"

#include <atomic>
#include <csignal>
#include <iterator>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

namespace trireme::launch {

namespace {

// A handler has nothing else to write to.
std::atomic<int> first_signal{0};
std::atomic<bool> is_deferred{false}, speaks{false};
static_assert(std::atomic<int>::is_always_lock_free);

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
std::mutex installing;  // for what follows
int num_alive = 0;
struct sigaction actions_before[std::size(kSignals)], pipe_action_before;

void note_signal(int signal) {
  int none = 0;
  const bool waits = is_deferred || signal == SIGUSR1 || signal == SIGUSR2;
  if (first_signal.compare_exchange_strong(none, signal) && waits) return;
  if (speaks && !is_deferred) {
    constexpr std::string_view kMessage =
        "\ntrireme: error: ended by a signal before the first step: nothing is saved\n";
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // takes effect when this handler returns
}

}  // namespace

StopRequest::StopRequest(int rank) {
  const std::lock_guard lock(installing);
  if (num_alive++ > 0) return;
  first_signal = 0;
  is_deferred = false;
  speaks = rank == 0;
  struct sigaction action = {};
  action.sa_handler = note_signal;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < std::size(kSignals); ++i) {
    ::sigaction(kSignals[i], nullptr, &actions_before[i]);
    // What was started with a signal ignored (nohup, or a shell's background job) continues ignoring it.
    if (actions_before[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &action, &pipe_action_before);
}

StopRequest::~StopRequest() {
  const std::lock_guard lock(installing);
  if (--num_alive > 0) return;
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &actions_before[i], nullptr);
  ::sigaction(SIGPIPE, &pipe_action_before, nullptr);
}

void StopRequest::defer() noexcept { is_deferred = true; }

int StopRequest::signal() noexcept { return first_signal; }

std::string signal_name(int signal) {
  switch (signal) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "SIGUSR2";
    default:
      return fmt::format("signal {}", signal);
  }
}

ExitCode exit_code_of_signal(int signal) { return static_cast<ExitCode>(128 + signal); }

namespace {

/// From here on one thread alone takes the signals. A handler has its frame on the stack of the thread it
/// interrupts, and oneDNN's generated kernels may have their data where that thread's stack pointer points
/// (Debian's 2.6: products in f32 with AVX-512), which the frame would overwrite. Threads inherit what is
/// blocked here.
void take_signals_on_a_thread_of_their_own() {
  try {
    std::thread([] {
      while (true) ::pause();
    }).detach();
  } catch (const std::system_error&) {
    return;  // no thread to be had: the run will say so where it needs one
  }
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : kSignals) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

}  // namespace

void prepare_process() {
  take_signals_on_a_thread_of_their_own();
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) >= 0) continue;
    // The lowest that is free, which is this one.
    [[maybe_unused]] const int opened = ::open("/dev/null", O_RDWR);
  }
  std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace trireme::launch
