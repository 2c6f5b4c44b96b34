#include "runtime/watch/process/crash_signals.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>
#include <iterator>

#include <execinfo.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/watch/process/thread_stacks.h"

namespace trireme::watch {

namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// A handler has nothing else to write to.
enum State : int { none, noting, noted, taken, released };
std::atomic<int> state{none};
std::atomic<int> wake_socket{-1};
struct {
  int signal;
  void* address;
  int64_t thread;
  void* frames[64];
  int num_frames;
  char uncaught[512];
} noted_crash;

alignas(16) std::array<char, 256 << 10> alternate_stack;
struct sigaction actions_before[std::size(kSignals)];
std::terminate_handler terminate_before = nullptr;

void nap() {
  const timespec ten_milliseconds{0, 10'000'000};
  ::nanosleep(&ten_milliseconds, nullptr);
}

void note_crash(int signal, siginfo_t* info, void*) {
  int expected = none;
  if (state.compare_exchange_strong(expected, noting)) {
    noted_crash.signal = signal;
    noted_crash.address = info->si_addr;
    noted_crash.thread = ::syscall(SYS_gettid);
    noted_crash.num_frames = ::backtrace(noted_crash.frames, static_cast<int>(std::size(noted_crash.frames)));
    state = noted;
    const char byte = 'c';
    ::send(wake_socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  // Of a second thread that crashes too, or of the first.
  constexpr int kMostNaps = 300;
  for (int i = 0; i < kMostNaps && state != released; ++i) nap();
  std::signal(signal, SIG_DFL);
  // A fault happens again when this returns, and abort() raises its signal again. What others have sent does
  // not.
  if (info->si_code <= 0) ::raise(signal);
}

[[noreturn]] void note_uncaught() {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::exception& error) {
    std::strncpy(noted_crash.uncaught, error.what(), sizeof noted_crash.uncaught - 1);
  } catch (...) {
    std::strncpy(noted_crash.uncaught, "what is thrown is no std::exception",
                 sizeof noted_crash.uncaught - 1);
  }
  std::abort();
}

std::string_view name_of(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "segmentation fault (SIGSEGV)";
    case SIGBUS:
      return "bus error (SIGBUS)";
    case SIGFPE:
      return "arithmetic error (SIGFPE)";
    case SIGILL:
      return "illegal instruction (SIGILL)";
    default:
      return "abort (SIGABRT)";
  }
}

}  // namespace

CrashSignals::CrashSignals(int wake) {
  wake_socket = wake;
  state = none;
  stack_t stack{};
  stack.ss_sp = alternate_stack.data();
  stack.ss_size = alternate_stack.size();
  ::sigaltstack(&stack, nullptr);
  struct sigaction action = {};
  action.sa_sigaction = note_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &action, &actions_before[i]);
  terminate_before = std::set_terminate(note_uncaught);
}

CrashSignals::~CrashSignals() {
  for (size_t i = 0; i < std::size(kSignals); ++i) ::sigaction(kSignals[i], &actions_before[i], nullptr);
  std::set_terminate(terminate_before);
  wake_socket = -1;
}

bool CrashSignals::take(Crash& crash) {
  int expected = noted;
  if (!state.compare_exchange_strong(expected, taken)) return false;
  crash.signal = noted_crash.signal;
  crash.thread = noted_crash.thread;
  if (noted_crash.uncaught[0] != 0) {
    crash.error = fmt::format("uncaught exception: {}", noted_crash.uncaught);
  } else {
    crash.error = name_of(crash.signal);
    if (crash.signal == SIGSEGV || crash.signal == SIGBUS)
      crash.error += fmt::format(" at address {}", noted_crash.address);
  }
  constexpr int kOfHandler = 2;  // its own frame, and the return from it
  const int skipped = std::min(kOfHandler, noted_crash.num_frames);
  crash.frames =
      frame_texts({noted_crash.frames + skipped, static_cast<size_t>(noted_crash.num_frames - skipped)});
  return true;
}

void CrashSignals::release() { state = released; }

}  // namespace trireme::watch
