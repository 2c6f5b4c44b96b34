#include "tests/support/cuda_on_host/async_copies.h"

#include <cstdint>
#include <cstring>

#include "tests/support/cuda_on_host/block.h"

namespace trireme::cuda_on_host {

void AsyncCopies::add(void* to, const void* from, size_t bytes, bool is_there) {
  const auto address = reinterpret_cast<uintptr_t>(to), source = reinterpret_cast<uintptr_t>(from);
  TRIREME_CHECK(address % bytes == 0 && source % bytes == 0,
                "an asynchronous copy of {} bytes from {:#x} to {:#x}: addresses have to be multiples of it",
                bytes, source, address);
  const uintptr_t begin = reinterpret_cast<uintptr_t>(shared_memory());
  TRIREME_CHECK(address >= begin && address + bytes <= begin + shared_memory_bytes(),
                "an asynchronous copy of {} bytes leads out of shared memory, to its byte {}", bytes,
                static_cast<int64_t>(address - begin));
  std::memset(to, std::to_integer<int>(unwritten_byte()), bytes);
  open_.push_back({static_cast<std::byte*>(to), static_cast<const std::byte*>(from), bytes, is_there});
}

void AsyncCopies::commit() {
  groups_.push_back(std::move(open_));
  open_.clear();
}

void AsyncCopies::wait(size_t running) {
  for (; groups_.size() > running; groups_.pop_front()) {
    for (const Copy& copy : groups_.front()) {
      if (copy.is_there) {
        std::memcpy(copy.to, copy.from, copy.bytes);
      } else {
        std::memset(copy.to, 0, copy.bytes);
      }
    }
  }
}

void AsyncCopies::finish() {
  size_t waiting = 0;
  for (const auto& group : groups_) waiting += group.size();
  const size_t uncommitted = open_.size();
  *this = {};
  TRIREME_CHECK(waiting + uncommitted == 0,
                "a thread ends without waiting for its asynchronous copies: {} in groups, {} in none",
                waiting, uncommitted);
}

}  // namespace trireme::cuda_on_host
