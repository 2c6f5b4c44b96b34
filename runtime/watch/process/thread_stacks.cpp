#include "runtime/watch/process/thread_stacks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <thread>

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace trireme::watch {

namespace {

namespace fs = std::filesystem;

constexpr int kMostFrames = 64;

// What a handler writes to, which may come late: never destroyed.
struct Request {
  std::atomic<int64_t> thread = 0;  // that is asked
  std::atomic<int64_t> answered = 0;
  std::array<void*, kMostFrames> frames{};
  int num_frames = 0;
};
Request request;
std::mutex asking;

void note_stack(int) {
  const int error = errno;
  const int64_t self = ::syscall(SYS_gettid);
  int64_t asked = self;
  // Whoever is asked answers once.
  if (request.thread.compare_exchange_strong(asked, -self)) {
    request.num_frames = ::backtrace(request.frames.data(), kMostFrames);
    request.answered.store(self, std::memory_order_release);
  }
  errno = error;
}

std::vector<int64_t> threads_of_process() {
  std::vector<int64_t> threads;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc/self/task", error))
    threads.push_back(std::atoll(entry.path().filename().c_str()));
  std::ranges::sort(threads);
  // The main thread first: its number is the process's.
  std::ranges::stable_partition(threads, [](int64_t thread) { return thread == ::getpid(); });
  return threads;
}

std::string name_of_thread(int64_t thread) {
  std::ifstream file(fmt::format("/proc/self/task/{}/comm", thread));
  std::string name;
  std::getline(file, name);
  return name;
}

/// What the handler itself adds: its own frame and the return from it.
constexpr int kFramesOfHandler = 2;

std::vector<std::string> frames_of(int64_t thread, std::chrono::steady_clock::time_point until) {
  request.answered = 0;
  request.thread = thread;
  if (::syscall(SYS_tgkill, ::getpid(), thread, stack_signal()) != 0) return {};
  while (request.answered.load(std::memory_order_acquire) != thread) {
    if (std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      continue;
    }
    int64_t asked = thread;
    if (request.thread.compare_exchange_strong(asked, 0)) return {};  // it has not begun
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (request.answered.load(std::memory_order_acquire) != thread) return {};
  }
  const int skipped = std::min(kFramesOfHandler, request.num_frames);
  return frame_texts({request.frames.data() + skipped, static_cast<size_t>(request.num_frames - skipped)});
}

}  // namespace

int stack_signal() { return SIGRTMIN + 6; }

void prepare_stacks() {
  std::array<void*, 4> frames{};
  ::backtrace(frames.data(), static_cast<int>(frames.size()));  // loads the unwinder
  struct sigaction action = {};
  action.sa_handler = note_stack;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigaction(stack_signal(), &action, nullptr);
}

std::vector<ThreadStack> all_stacks(double seconds) {
  const std::lock_guard lock(asking);
  constexpr size_t kMostThreads = 64;
  const auto end =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  std::vector<ThreadStack> stacks;
  for (const int64_t thread : threads_of_process()) {
    if (thread == ::syscall(SYS_gettid) || stacks.size() == kMostThreads) continue;
    const auto until = std::min(end, std::chrono::steady_clock::now() + std::chrono::milliseconds(300));
    stacks.push_back({thread, name_of_thread(thread), frames_of(thread, until)});
  }
  return stacks;
}

std::string frame_text(void* address) {
  Dl_info info{};
  if (::dladdr(static_cast<char*>(address) - 1, &info) == 0 || info.dli_fname == nullptr)
    return fmt::format("{}", address);
  const std::string file = fs::path(info.dli_fname).filename().string();
  if (info.dli_sname == nullptr)
    return fmt::format("{}+{:#x}", file, static_cast<char*>(address) - static_cast<char*>(info.dli_fbase));
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> plain(
      abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status), &std::free);
  std::string name = status == 0 ? plain.get() : info.dli_sname;
  // Without parameters; "(anonymous namespace)" is a name.
  constexpr std::string_view kAnonymous = "(anonymous namespace)";
  for (size_t at = name.find('('); at != std::string::npos; at = name.find('(', at + 1)) {
    if (name.compare(at, kAnonymous.size(), kAnonymous) == 0 || at == 0) continue;
    if (name.compare(0, at, "operator") == 0) continue;
    name.resize(at);
    break;
  }
  return fmt::format("{} ({})", name, file);
}

std::vector<std::string> frame_texts(std::span<void* const> addresses) {
  std::vector<std::string> texts;
  for (void* address : addresses) texts.push_back(frame_text(address));
  return texts;
}

bool is_in_communication(const std::vector<std::string>& frames) {
  constexpr std::string_view kSigns[] = {"MPI_", "nccl", "trireme::Communicator::", "trireme::WorkQueue::"};
  return std::ranges::any_of(frames, [&](const std::string& frame) {
    return std::ranges::any_of(kSigns,
                               [&](std::string_view sign) { return frame.find(sign) != std::string::npos; });
  });
}

}  // namespace trireme::watch
