#include "launch/process/stop_request.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <iterator>
#include <mutex>
#include <semaphore>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <semaphore.h>
#include <unistd.h>

namespace trireme::launch {

namespace {

// A handler has nothing else to write to.
std::atomic<int> first_signal{0};
std::atomic<bool> is_deferred{false}, speaks{false}, has_end{false};
static_assert(std::atomic<int>::is_always_lock_free);

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
std::mutex installing;  // for what follows
int num_alive = 0;
struct sigaction actions_before[std::size(kSignals)], pipe_action_before;

// Of the thread that ends the job at its start. Of semaphores a handler may post this kind alone. Neither is
// ever destroyed: a handler may be late, and a process that is ended by exit() joins nobody.
sem_t asked;
bool is_made = false;
std::thread* ender = nullptr;
std::mutex ending;     // or deferring
bool is_over = false;  // so that nothing is ended any more

std::binary_semaphore are_taken{0};  // the signals, by their thread
std::atomic<bool> is_released{false};

void take_signals() {
  if (!is_released.exchange(true)) are_taken.release();
}

void note_signal(int signal) {
  int none = 0;
  const bool is_first = first_signal.compare_exchange_strong(none, signal);
  if (is_first && has_end && !is_deferred) {
    ::sem_post(&asked);
    return;
  }
  const bool waits = is_deferred || signal == SIGUSR1 || signal == SIGUSR2;
  if (is_first && waits) return;
  if (speaks && !is_deferred) {
    constexpr std::string_view kMessage =
        "\ntrireme: error: ended by a signal before the first step: nothing is saved\n";
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kMessage.data(), kMessage.size());
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // takes effect when this handler returns
}

void wait_to_end(int rank, const EndAtStart& end) {
  using std::chrono::milliseconds;
  while (::sem_wait(&asked) != 0) {
  }
  // Launchers pass signals on to all ranks, and one message is enough. A launcher that ends the others of a
  // job sends TERM, and kills a second later.
  if (rank != 0 && first_signal != 0)
    std::this_thread::sleep_for(first_signal == SIGTERM ? milliseconds(1500) : milliseconds(300));
  const std::lock_guard lock(ending);
  if (!is_over && !is_deferred && first_signal != 0) end(first_signal);
}

}  // namespace

StopRequest::StopRequest(int rank, EndAtStart end) {
  const std::lock_guard lock(installing);
  if (num_alive++ > 0) return;
  first_signal = 0;
  is_deferred = is_over = false;
  speaks = rank == 0;
  has_end = end != nullptr;
  if (end) {
    if (!std::exchange(is_made, true)) ::sem_init(&asked, 0, 0);
    while (::sem_trywait(&asked) == 0) {
    }
    ender = new std::thread([rank, end = std::move(end)] { wait_to_end(rank, end); });
  }
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
  take_signals();
}

StopRequest::~StopRequest() {
  const std::lock_guard lock(installing);
  if (--num_alive > 0) return;
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &actions_before[i], nullptr);
  ::sigaction(SIGPIPE, &pipe_action_before, nullptr);
  if (ender == nullptr) return;
  {
    const std::lock_guard end(ending);
    is_over = true;
  }
  ::sem_post(&asked);
  ender->join();
  delete std::exchange(ender, nullptr);
}

void StopRequest::defer() {
  const std::lock_guard lock(ending);
  is_deferred = true;
}

int StopRequest::signal() noexcept { return first_signal; }

void StopRequest::forget() noexcept { first_signal = 0; }

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

void ignore_late_requests() {
  for (const int signal : {SIGUSR1, SIGUSR2}) std::signal(signal, SIG_IGN);
}

ExitCode exit_code_of_signal(int signal) { return static_cast<ExitCode>(128 + signal); }

namespace {

/// From here on one thread alone takes the signals. A handler has its frame on the stack of the thread it
/// interrupts, and oneDNN's generated kernels may have their data where that thread's stack pointer points
/// (Debian's 2.6: products in f32 with AVX-512), which the frame would overwrite. Threads inherit what is
/// blocked here.
void take_signals_on_a_thread_of_their_own(bool holds) {
  static constexpr auto kLongest = std::chrono::seconds(10);  // another of the job's processes may never come
  sigset_t signals, before;
  ::sigemptyset(&signals);
  for (const int signal : kSignals) ::sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, &before);
  try {
    std::thread([holds, before] {
      if (holds) (void)are_taken.try_acquire_for(kLongest);
      ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
      while (true) ::pause();
    }).detach();
  } catch (const std::system_error&) {
    // No thread to be had: the run will say so where it needs one.
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
}

}  // namespace

void prepare_process(bool holds) {
  take_signals_on_a_thread_of_their_own(holds);
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (::fcntl(descriptor, F_GETFD) >= 0) continue;
    // The lowest that is free, which is this one.
    [[maybe_unused]] const int opened = ::open("/dev/null", O_RDWR);
  }
  std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace trireme::launch
