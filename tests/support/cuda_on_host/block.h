// One block of threads on the host: each thread a fiber that runs until it waits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <type_traits>
#include <vector>

#include "runtime/base/error.h"
#include "tests/support/cuda_on_host/async_copies.h"

namespace trireme::cuda_on_host {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3(unsigned dx = 1, unsigned dy = 1, unsigned dz = 1) : x(dx), y(dy), z(dz) {}
  unsigned count() const { return x * y * z; }
};

// Of the thread that runs.
inline constinit thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

/// What the lanes of a warp put into one exchange.
template <class T>
class Exchanged {
 public:
  Exchanged(const std::byte* values, size_t stride) : values_(values), stride_(stride) {}
  T of(int lane) const {
    T value;
    std::memcpy(&value, values_ + static_cast<size_t>(lane) * stride_, sizeof value);
    return value;
  }

 private:
  const std::byte* values_;
  size_t stride_;
};

/// The threads of one block. They run one at a time, in an order that the caller gives, each until it waits
/// for others or ends, and each warp until all of it does. Throws InternalError where threads wait for what
/// never comes: a barrier that some of them do not reach, or lanes of a warp at different calls or with
/// different masks; and where one ends before its asynchronous copies.
class Block {
 public:
  explicit Block(unsigned num_threads);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Runs `thread` once a thread. `order` is a permutation of the threads' numbers; x of the block's dims is
  /// a multiple of a warp or the only one, as kernels here assume.
  void run(const std::function<void()>& thread, std::span<const unsigned> order);

  /// Called by the running thread.
  void barrier(const std::source_location& site);
  template <class T>
  Exchanged<T> exchange(unsigned mask, const T& value, const std::source_location& site) {
    static_assert(sizeof(T) <= kSlot && std::is_trivially_copyable_v<T>);
    return {exchange_bytes(mask, &value, sizeof value, site), kSlot};
  }
  AsyncCopies& copies();

 private:
  static constexpr size_t kSlot = 32;
  struct Thread;
  struct Warp;

  const std::byte* exchange_bytes(unsigned mask, const void* value, size_t size,
                                  const std::source_location& site);
  void run_turns(Thread& t);
  void suspend();
  void resume(unsigned number);
  void run_warp(unsigned warp);
  bool release_barrier();
  bool release_warp(unsigned warp);
  [[noreturn]] void throw_stuck() const;

  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  const std::function<void()>* body_ = nullptr;
  unsigned running_ = 0;
  bool is_ending_ = false;
  const void* caller_stack_ = nullptr;  // of the scheduler, for the address sanitizer
  size_t caller_stack_size_ = 0;
};

/// The block that this OS thread runs.
Block& current_block();
/// The dynamic shared memory of the running block, a heap block of its own.
std::byte* shared_memory();
size_t shared_memory_bytes();

}  // namespace trireme::cuda_on_host
