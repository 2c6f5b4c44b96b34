#include "tests/support/cuda_on_host/launch.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <numeric>
#include <random>

#include "tests/support/cuda_on_host/device_memory.h"

namespace trireme::cuda_on_host {

namespace {

constexpr size_t kSharedBytesWithoutAsking = 48 << 10, kMostSharedBytes = 163 << 10;
constexpr unsigned kMostThreads = 1024;
constexpr size_t kLargestImage = 16 << 20;  // tests' tensors are smaller, workspaces of libraries are not

/// What kernels were allowed.
struct SharedLimits {
  std::mutex mutex;
  std::map<const void*, size_t> bytes;
};
SharedLimits& shared_limits() {
  static SharedLimits limits;
  return limits;
}

/// This OS thread's device memory, to be compared with and to go back to.
class MemoryImage {
 public:
  MemoryImage() {
    for (const DeviceBlock& block : device_blocks()) {
      if (block.bytes > kLargestImage) continue;
      Piece& piece = pieces_.emplace_back(block.begin, block.bytes);
      copy_like_device(piece.copy.get(), piece.place, piece.num_words * sizeof(uint64_t));
    }
  }
  void restore() const {
    for (const Piece& piece : pieces_)
      copy_like_device(piece.place, piece.copy.get(), piece.num_words * sizeof(uint64_t));
  }
  bool equals_memory() const {
    return std::all_of(pieces_.begin(), pieces_.end(), [](const Piece& piece) {
      return equal_words(piece.place, piece.copy.get(), piece.num_words);
    });
  }

 private:
  struct Piece {
    uint64_t* place;
    size_t num_words;
    std::unique_ptr<uint64_t[]> copy;
    Piece(void* p, size_t bytes)
        : place(static_cast<uint64_t*>(p)),
          num_words(bytes / sizeof(uint64_t)),
          copy(std::make_unique_for_overwrite<uint64_t[]>(num_words)) {}
  };

  // As copy_like_device: also of what the allocator has in its cache.
  __attribute__((no_sanitize("address"))) static bool equal_words(const uint64_t* a, const uint64_t* b,
                                                                  size_t n) {
    uint64_t difference = 0;
    for (size_t i = 0; i < n; ++i) difference |= a[i] ^ b[i];
    return difference == 0;
  }

  std::vector<Piece> pieces_;
};

enum class Order { ascending, descending, shuffled };

std::vector<unsigned> permutation(unsigned n, Order order) {
  std::vector<unsigned> numbers(n);
  std::iota(numbers.begin(), numbers.end(), 0u);
  if (order == Order::descending) std::reverse(numbers.begin(), numbers.end());
  if (order == Order::shuffled) std::shuffle(numbers.begin(), numbers.end(), std::mt19937(n));
  return numbers;
}

thread_local std::byte* shared_memory_of_block = nullptr;
thread_local size_t bytes_of_shared_memory = 0;
thread_local std::byte unwritten_byte_of_run{};

void run_once(Order order, Dim3 grid, Block& block, size_t shared_bytes,
              const std::function<void()>& thread) {
  const auto threads = permutation(blockDim.count(), order);
  unwritten_byte_of_run = std::byte(order == Order::ascending ? 0xff : order == Order::descending ? 0x3f : 0);
  bytes_of_shared_memory = shared_bytes;
  for (const unsigned b : permutation(grid.count(), order)) {
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    const auto memory = std::make_unique<std::byte[]>(shared_bytes);
    std::memset(memory.get(), std::to_integer<int>(unwritten_byte_of_run), shared_bytes);
    shared_memory_of_block = memory.get();
    block.run(thread, threads);
  }
}

}  // namespace

bool allow_shared_memory(const void* kernel, int bytes) {
  if (bytes < 0 || static_cast<size_t>(bytes) > kMostSharedBytes) return false;
  const std::lock_guard lock(shared_limits().mutex);
  shared_limits().bytes[kernel] = static_cast<size_t>(bytes);
  return true;
}

std::byte* shared_memory() { return shared_memory_of_block; }
size_t shared_memory_bytes() { return bytes_of_shared_memory; }
std::byte unwritten_byte() { return unwritten_byte_of_run; }

bool run_grid(const void* kernel, Dim3 grid, Dim3 block, size_t shared_bytes,
              const std::function<void()>& thread) {
  const unsigned num_threads = block.count();
  size_t limit = kSharedBytesWithoutAsking;
  {
    const std::lock_guard lock(shared_limits().mutex);
    if (const auto found = shared_limits().bytes.find(kernel); found != shared_limits().bytes.end()) {
      limit = std::max(limit, found->second);
    }
  }
  if (num_threads == 0 || num_threads > kMostThreads || shared_bytes > limit) return false;
  if (grid.count() == 0 || grid.y > 65535 || grid.z > 65535) return false;
  gridDim = grid;
  blockDim = block;

  // Fibers are kept from launch to launch; after an error some of them are stuck and all are dropped.
  static thread_local std::map<unsigned, std::unique_ptr<Block>> blocks;
  auto& fibers = blocks[num_threads];
  if (!fibers) fibers = std::make_unique<Block>(num_threads);
  const DeviceAccess access;
  try {
    if (!compares_orders) {
      static thread_local unsigned launches = 0;
      run_once(static_cast<Order>(launches++ % 3), grid, *fibers, shared_bytes, thread);
      return true;
    }
    const MemoryImage before;
    run_once(Order::ascending, grid, *fibers, shared_bytes, thread);
    const MemoryImage after;
    for (const Order order : {Order::descending, Order::shuffled}) {
      before.restore();
      run_once(order, grid, *fibers, shared_bytes, thread);
      TRIREME_CHECK(after.equals_memory(),
                    "a kernel's results depend on the order of its threads: a barrier or the wait for a copy "
                    "is missing, "
                    "shared memory is read before it is written, or two threads write to one place");
    }
  } catch (...) {
    blocks.erase(num_threads);
    throw;
  }
  return true;
}

}  // namespace trireme::cuda_on_host
