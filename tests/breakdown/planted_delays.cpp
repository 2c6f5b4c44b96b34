#include "tests/breakdown/planted_delays.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>

#include <sys/mman.h>
#include <time.h>

#include "runtime/base/error.h"

namespace trireme::test {

namespace {

void spend(std::chrono::nanoseconds& delay) {
  if (delay.count() > 0) std::this_thread::sleep_for(std::exchange(delay, {}));
}

/// What the handler of page faults knows.
struct Pages {
  std::atomic<uintptr_t> begin = 0, end = 0;
  std::atomic<int64_t> delay_ns = 0;
};
constexpr size_t kMostFiles = 16;
Pages pages[kMostFiles];
std::mutex pages_mutex;  // of those that come and go
struct sigaction action_before {};

void read_slowly(int, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Pages& file : pages) {
    const uintptr_t begin = file.begin, end = file.end;
    if (at < begin || at >= end) continue;
    const timespec delay{0, file.delay_ns};
    ::nanosleep(&delay, nullptr);
    ::mprotect(reinterpret_cast<void*>(begin), end - begin, PROT_READ);
    return;
  }
  ::sigaction(SIGSEGV, &action_before, nullptr);  // a fault of another kind: it comes again
}

}  // namespace

void SlowOps::begin(Context&, const OpCall& call) {
  if (call.name == std::string_view("gemm")) spend(delays_.in_passes);
  if (std::string_view(call.name).starts_with("adamw")) spend(delays_.in_update);
}

class SlowTransfers::Transfer final : public Work {
 public:
  Transfer(SlowTransfers& on, WorkPtr work, CommKind kind) : on_(on), work_(std::move(work)), kind_(kind) {}
  void wait() override {
    work_->wait();
    on_.last_longer(kind_);
  }
  bool is_done() override { return work_->is_done(); }

 private:
  SlowTransfers& on_;
  WorkPtr work_;
  CommKind kind_;
};

void SlowTransfers::last_longer(CommKind kind) {
  if (name() == where_.group && kind == where_.kind) spend(delays_.in_transfers);
}

void SlowTransfers::run(Stream& stream, CommCall call) {
  if (call.kind == CommKind::barrier) {
    ranks_.barrier(stream);
    return last_longer(call.kind);
  }
  start(stream, std::move(call))->wait();
}

WorkPtr SlowTransfers::start(Stream& stream, CommCall call) {
  const auto begun = [&]() -> WorkPtr {
    switch (call.kind) {
      case CommKind::all_reduce:
        return ranks_.all_reduce_async(stream, call.in, call.op);
      case CommKind::all_gather:
        return ranks_.all_gather_async(stream, call.in, call.out);
      case CommKind::reduce_scatter:
        return ranks_.reduce_scatter_async(stream, call.in, call.out, call.op);
      case CommKind::broadcast:
        return ranks_.broadcast_async(stream, call.in, call.peer);
      case CommKind::all_to_all:
        return ranks_.all_to_all_async(stream, call.in, call.out);
      case CommKind::all_to_all_v:
        return ranks_.all_to_all_v_async(stream, call.in, call.send_counts, call.out, call.receive_counts);
      case CommKind::send:
        return ranks_.send_async(stream, call.in, call.peer, call.label);
      case CommKind::receive:
        return ranks_.receive_async(stream, call.in, call.peer, call.label);
      case CommKind::barrier:
      case CommKind::split:
        break;
    }
    throw InternalError("a call that is not started");
  };
  return std::make_shared<Transfer>(*this, begun(), call.kind);
}

std::unique_ptr<Communicator> SlowTransfers::split_into(int color, int key, std::string name) {
  auto part = ranks_.split(color, key, std::move(name));
  Communicator& ranks = *part;
  return std::make_unique<SlowTransfers>(ranks, delays_, where_, std::move(part));
}

SlowPages::SlowPages(const std::string& path) {
  const std::lock_guard lock(pages_mutex);
  place_ = static_cast<size_t>(std::ranges::find(pages, 0u, [](const Pages& p) { return p.begin.load(); }) -
                               pages);
  TRIREME_CHECK(place_ < kMostFiles, "more than {} files", kMostFiles);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (!line.ends_with(path)) continue;
    uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    pages[place_].begin = begin;
    pages[place_].end = end;
  }
  TRIREME_CHECK(pages[place_].begin != 0, "{} is not mapped", path);
  struct sigaction action {};  // the same of all
  action.sa_sigaction = read_slowly;
  action.sa_flags = SA_SIGINFO;
  struct sigaction before {};
  TRIREME_CHECK(::sigaction(SIGSEGV, &action, &before) == 0);
  if ((before.sa_flags & SA_SIGINFO) == 0 || before.sa_sigaction != read_slowly) action_before = before;
}

SlowPages::~SlowPages() {
  const uintptr_t begin = pages[place_].begin.exchange(0);
  ::mprotect(reinterpret_cast<void*>(begin), pages[place_].end - begin, PROT_READ);
  pages[place_].end = 0;
}

void SlowPages::forget(std::chrono::nanoseconds delay) {
  Pages& file = pages[place_];
  file.delay_ns = delay.count();
  const uintptr_t begin = file.begin;
  ::mprotect(reinterpret_cast<void*>(begin), file.end - begin, PROT_NONE);
}

}  // namespace trireme::test
