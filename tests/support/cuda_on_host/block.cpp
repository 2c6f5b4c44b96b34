#include "tests/support/cuda_on_host/block.h"

#include <algorithm>
#include <utility>

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace trireme::cuda_on_host {

namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStackBytes = 256 << 10;

thread_local Block* running_block = nullptr;

struct Ending {};

// Tells the address sanitizer that the stack changes.
void leave_stack(void** kept, const void* bottom, size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(kept, bottom, size);
#else
  static_cast<void>(kept), static_cast<void>(bottom), static_cast<void>(size);
#endif
}
void enter_stack(void* kept, const void** old_bottom, size_t* old_size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(kept, old_bottom, old_size);
#else
  static_cast<void>(kept), static_cast<void>(old_bottom), static_cast<void>(old_size);
#endif
}

// What it remembers of an earlier stack at this address.
void forget_stack(void* bottom, size_t size) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(bottom, size);
#else
  static_cast<void>(bottom), static_cast<void>(size);
#endif
}

Dim3 index_of(unsigned number, const Dim3& dims) {
  return {number % dims.x, number / dims.x % dims.y, number / dims.x / dims.y};
}

}  // namespace

struct Block::Thread {
  enum class State { ended, ready, at_barrier, in_warp };

  State state = State::ended;
  std::source_location site;
  unsigned mask = 0;
  AsyncCopies copies;
  boost::context::fiber fiber, caller;
  void* stack_bottom = nullptr;
  size_t stack_size = 0;
  void* kept = nullptr;  // the sanitizer's, of the scheduler while this thread runs and of it while it waits
  void* caller_kept = nullptr;
  std::exception_ptr error;
};

struct Block::Warp {
  std::vector<unsigned> order;
  std::array<std::array<std::byte, kSlot>, kWarp> posted{}, gathered{};
};

Block::Block(unsigned num_threads) : warps_((num_threads + kWarp - 1) / kWarp) {
  for (unsigned i = 0; i < num_threads; ++i) threads_.push_back(std::make_unique<Thread>());
  for (auto& owned : threads_) {
    Thread* t = owned.get();
    boost::context::protected_fixedsize_stack allocator(kStackBytes);
    auto stack = allocator.allocate();
    t->stack_bottom = static_cast<std::byte*>(stack.sp) - stack.size;
    t->stack_size = stack.size;
    forget_stack(t->stack_bottom, t->stack_size);
    t->fiber =
        boost::context::fiber(std::allocator_arg, boost::context::preallocated(stack.sp, stack.size, stack),
                              allocator, [this, t](boost::context::fiber&& caller) {
                                enter_stack(nullptr, &caller_stack_, &caller_stack_size_);
                                t->caller = std::move(caller);
                                run_turns(*t);
                                leave_stack(nullptr, caller_stack_, caller_stack_size_);
                                return std::move(t->caller);
                              });
  }
}

// Fibers wait between two turns, and stuck ones inside a kernel: all of them continue, to end.
Block::~Block() {
  is_ending_ = true;
  for (unsigned number = 0; number < threads_.size(); ++number) {
    resume(number);
    forget_stack(threads_[number]->stack_bottom,
                 threads_[number]->stack_size);  // a file may be mapped there next
  }
}

// One turn a run of the block.
void Block::run_turns(Thread& t) {
  try {
    while (!is_ending_) {
      try {
        (*body_)();
        t.copies.finish();
      } catch (const std::exception&) {
        t.error = std::current_exception();
      }
      t.state = Thread::State::ended;
      suspend();
    }
  } catch (const Ending&) {
  }
}

// Ending is thrown here, not by destroying the fiber: the sanitizer has to know a stack before an exception
// passes through it.
void Block::suspend() {
  Thread& t = *threads_[running_];
  leave_stack(&t.kept, caller_stack_, caller_stack_size_);
  t.caller = std::move(t.caller).resume();
  enter_stack(t.kept, &caller_stack_, &caller_stack_size_);
  if (is_ending_) throw Ending();
}

void Block::resume(unsigned number) {
  Thread& t = *threads_[number];
  running_ = number;
  threadIdx = index_of(number, blockDim);
  leave_stack(&t.caller_kept, t.stack_bottom, t.stack_size);
  t.fiber = std::move(t.fiber).resume();
  enter_stack(t.caller_kept, nullptr, nullptr);
  if (t.error) std::rethrow_exception(std::exchange(t.error, nullptr));
}

void Block::run(const std::function<void()>& thread, std::span<const unsigned> order) {
  body_ = &thread;
  running_block = this;
  for (auto& t : threads_) t->state = Thread::State::ready;
  std::vector<unsigned> warps;  // in the order in which their first threads come
  for (Warp& warp : warps_) warp.order.clear();
  for (const unsigned number : order) {
    Warp& warp = warps_[number / kWarp];
    if (warp.order.empty()) warps.push_back(number / kWarp);
    warp.order.push_back(number);
  }
  for (;;) {
    for (const unsigned warp : warps) run_warp(warp);
    const auto has_ended = [](const auto& t) { return t->state == Thread::State::ended; };
    if (std::all_of(threads_.begin(), threads_.end(), has_ended)) return;
    if (!release_barrier()) throw_stuck();
  }
}

// A warp runs on until all its threads are at a barrier or have ended: as far ahead of the others as it may.
void Block::run_warp(unsigned warp) {
  do {
    for (const unsigned number : warps_[warp].order) {
      if (threads_[number]->state == Thread::State::ready) resume(number);
    }
  } while (release_warp(warp));
}

void Block::barrier(const std::source_location& site) {
  Thread& t = *threads_[running_];
  t.state = Thread::State::at_barrier;
  t.site = site;
  suspend();
}

AsyncCopies& Block::copies() { return threads_[running_]->copies; }

const std::byte* Block::exchange_bytes(unsigned mask, const void* value, size_t size,
                                       const std::source_location& site) {
  const unsigned lane = running_ % kWarp;
  TRIREME_CHECK((mask >> lane & 1u) != 0, "{}:{}: lane {} is not in its own mask {:#x}", site.file_name(),
                site.line(), lane, mask);
  Warp& warp = warps_[running_ / kWarp];
  std::memcpy(warp.posted[lane].data(), value, size);
  Thread& t = *threads_[running_];
  t.state = Thread::State::in_warp;
  t.site = site;
  t.mask = mask;
  suspend();
  return warp.gathered.front().data();
}

namespace {
bool same_place(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}
}  // namespace

// All threads of the block, at one and the same call.
bool Block::release_barrier() {
  for (const auto& t : threads_) {
    if (t->state != Thread::State::at_barrier || !same_place(t->site, threads_[0]->site)) return false;
  }
  for (auto& t : threads_) t->state = Thread::State::ready;
  return true;
}

// All exchanges whose lanes have come: those that the mask names, at one call, with one mask.
bool Block::release_warp(unsigned number) {
  bool released = false;
  Warp& warp = warps_[number];
  const size_t begin = size_t{number} * kWarp, lanes = std::min<size_t>(kWarp, threads_.size() - begin);
  for (size_t first = 0; first < lanes; ++first) {
    const Thread& leader = *threads_[begin + first];
    if (leader.state != Thread::State::in_warp) continue;
    const unsigned mask = leader.mask;
    const auto has_come = [&](size_t lane) {
      if ((mask >> lane & 1u) == 0) return true;
      if (lane >= lanes) return false;
      const Thread& t = *threads_[begin + lane];
      return t.state == Thread::State::in_warp && t.mask == mask && same_place(t.site, leader.site);
    };
    bool complete = true;
    for (size_t lane = 0; lane < kWarp && complete; ++lane) complete = has_come(lane);
    if (!complete) continue;
    for (size_t lane = 0; lane < lanes; ++lane) {
      if ((mask >> lane & 1u) == 0) continue;
      warp.gathered[lane] = warp.posted[lane];
      threads_[begin + lane]->state = Thread::State::ready;
    }
    released = true;
  }
  return released;
}

void Block::throw_stuck() const {
  std::string where;
  for (size_t i = 0; i < threads_.size(); ++i) {
    const Thread& t = *threads_[i];
    const bool as_before = i > 0 && t.state == threads_[i - 1]->state && t.mask == threads_[i - 1]->mask &&
                           same_place(t.site, threads_[i - 1]->site);
    if (as_before) continue;
    where += t.state == Thread::State::ended
                 ? fmt::format("\n  from thread {}: ended", i)
                 : fmt::format("\n  from thread {}: {} {}:{}, mask {:#x}", i,
                               t.state == Thread::State::at_barrier ? "barrier at" : "warp at",
                               t.site.file_name(), t.site.line(), t.mask);
  }
  throw InternalError("threads of a block wait for others that do not come:" + where);
}

Block& current_block() {
  TRIREME_CHECK(running_block != nullptr, "a device function was called outside a kernel");
  return *running_block;
}

}  // namespace trireme::cuda_on_host
