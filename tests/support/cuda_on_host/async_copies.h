// Asynchronous copies to shared memory, of one thread of a block on the host.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

namespace trireme::cuda_on_host {

/// Bytes that nobody has written, other ones in each run of a grid.
std::byte unwritten_byte();

/// A copy's place holds unwritten bytes from the moment the copy is asked for; what it brings is read, and
/// arrives, when the thread waits for the copy's group: as late as a device may do it.
class AsyncCopies {
 public:
  /// Throws InternalError for addresses that are no multiples of `bytes`, and places outside the block's
  /// shared memory.
  void add(void* to, const void* from, size_t bytes, bool is_there);
  void commit();
  /// Until at most `running` groups are in flight.
  void wait(size_t running);
  /// Throws InternalError where copies are in flight; drops them.
  void finish();

 private:
  struct Copy {
    std::byte* to;
    const std::byte* from;
    size_t bytes;
    bool is_there;
  };
  std::vector<Copy> open_;
  std::deque<std::vector<Copy>> groups_;
};

}  // namespace trireme::cuda_on_host
