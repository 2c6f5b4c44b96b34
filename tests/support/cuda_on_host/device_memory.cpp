#include "tests/support/cuda_on_host/device_memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>

#include <sys/mman.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "runtime/base/error.h"

namespace trireme::cuda_on_host {

namespace {

constexpr size_t kPage = 4096, kArenaBytes = size_t{4} << 30;
constexpr size_t kMostArenas = 256;

void forbid([[maybe_unused]] std::byte* begin, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_POISON_MEMORY_REGION(begin, bytes);
#endif
}
void allow([[maybe_unused]] std::byte* begin, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(begin, bytes);
#endif
}

}  // namespace

/// A range of addresses, filled from its begin; it starts again when all of it was given back. A page that
/// nobody may touch lies before each block and after it.
class Arena {
 public:
  Arena() {
    void* memory =
        ::mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    TRIREME_CHECK(memory != MAP_FAILED, "no addresses for device memory");
    begin_ = static_cast<std::byte*>(memory);
  }

  std::byte* begin() const { return begin_; }
  bool contains(const void* pointer) const {
    const auto* p = static_cast<const std::byte*>(pointer);
    return p >= begin_ && p < begin_ + kArenaBytes;
  }

  void* allocate(size_t bytes) {
    const std::lock_guard lock(exclusive_);
    const size_t pages = (bytes + kPage - 1) / kPage * kPage;
    if (used_ + pages + 2 * kPage > kArenaBytes || in_use_ + bytes > limit) return nullptr;
    in_use_ += bytes;
    std::byte* block = begin_ + used_ + kPage;
    forbid(begin_ + used_, kPage);
    allow(block, bytes);
    forbid(block + bytes, pages - bytes + kPage);
    used_ += pages + kPage;
    blocks_[block] = bytes;
    num_blocks_ = blocks_.size();
    if (depth_ > 0) protect(PROT_READ | PROT_WRITE);
    return block;
  }
  void free(void* pointer) {
    const std::lock_guard lock(exclusive_);
    const auto block = blocks_.find(static_cast<std::byte*>(pointer));
    TRIREME_CHECK(block != blocks_.end(), "what is freed was not allocated");
    in_use_ -= block->second;
    blocks_.erase(block);
    num_blocks_ = blocks_.size();
    if (!blocks_.empty()) return;
    allow(begin_, used_ + kPage);
    protect(PROT_NONE);
    ::madvise(begin_, used_ + kPage, MADV_DONTNEED);
    used_ = 0;
  }
  std::vector<DeviceBlock> blocks() {
    const std::lock_guard lock(exclusive_);
    std::vector<DeviceBlock> list;
    for (const auto& [begin, bytes] : blocks_) list.push_back({begin, bytes});
    return list;
  }
  bool is_empty() const { return num_blocks_ == 0; }

  void open() {
    exclusive_.lock();
    if (depth_++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    if (--depth_ == 0) protect(PROT_NONE);
    exclusive_.unlock();
  }

  bool has_owner = false;
  std::atomic<size_t> limit = SIZE_MAX;

 private:
  void protect(int rights) {
    if (used_ > 0 && ::mprotect(begin_, used_ + kPage, rights) != 0) throw_environment("mprotect failed");
  }

  std::byte* begin_;
  size_t used_ = 0;    // of the addresses
  size_t in_use_ = 0;  // bytes of blocks
  std::map<std::byte*, size_t> blocks_;
  std::atomic<size_t> num_blocks_ = 0;
  std::recursive_mutex exclusive_;
  int depth_ = 0;
};

namespace {

std::array<std::atomic<std::byte*>, kMostArenas> arena_begins{};  // for the signal handler
struct sigaction handler_before;

void explain(int signal, siginfo_t* info, void* context) {
  const auto* address = static_cast<const std::byte*>(info->si_addr);
  for (const auto& begin : arena_begins) {
    const std::byte* first = begin.load();
    if (first == nullptr || address < first || address >= first + kArenaBytes) continue;
    constexpr std::string_view kText =
        "the host touches device memory: such a pointer belongs to kernels and copies alone\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kText.data(), kText.size());
  }
  if ((handler_before.sa_flags & SA_SIGINFO) != 0 && handler_before.sa_sigaction != nullptr) {
    return handler_before.sa_sigaction(signal, info, context);
  }
  ::signal(signal, SIG_DFL);  // the access is tried again, and ends the program
}

/// All device memory of the process.
class Device {
 public:
  Device() {
    struct sigaction action {};
    action.sa_sigaction = explain;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigaction(SIGSEGV, &action, &handler_before);
  }

  Arena& take() {
    const std::lock_guard lock(mutex);
    for (const auto& arena : arenas_) {
      if (!arena->has_owner && arena->is_empty()) return own(*arena);
    }
    TRIREME_CHECK(arenas_.size() < kMostArenas, "more than {} threads with device memory", kMostArenas);
    arenas_.push_back(std::make_unique<Arena>());
    arena_begins[arenas_.size() - 1] = arenas_.back()->begin();
    return own(*arenas_.back());
  }
  Arena* find(const void* pointer) {
    const std::lock_guard lock(mutex);
    const auto it =
        std::ranges::find_if(arenas_, [&](const auto& arena) { return arena->contains(pointer); });
    return it == arenas_.end() ? nullptr : it->get();
  }

  std::mutex mutex;
  std::map<const std::byte*, size_t, std::less<>> pinned;

 private:
  static Arena& own(Arena& arena) {
    arena.has_owner = true;
    arena.limit = SIZE_MAX;
    return arena;
  }
  std::vector<std::unique_ptr<Arena>> arenas_;
};
Device& device() {
  static Device state;
  return state;
}

Arena& own_arena() {
  struct Owned {
    Arena& arena = device().take();
    ~Owned() {
      const std::lock_guard lock(device().mutex);
      arena.has_owner = false;
    }
  };
  static thread_local Owned owned;
  return owned.arena;
}

}  // namespace

Counts& counts() {
  static thread_local Counts of_thread;
  return of_thread;
}

void* allocate_pinned_memory(size_t bytes) {
  ++counts().memory_calls;
  void* pointer = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  const std::lock_guard lock(device().mutex);
  device().pinned[static_cast<std::byte*>(pointer)] = bytes;
  return pointer;
}

void free_pinned_memory(void* pointer) {
  ++counts().memory_calls;
  const std::lock_guard lock(device().mutex);
  TRIREME_CHECK(device().pinned.erase(static_cast<std::byte*>(pointer)) == 1,
                "what is freed was not allocated");
  std::free(pointer);
}

bool is_pinned_memory(const void* pointer) {
  const auto* address = static_cast<const std::byte*>(pointer);
  const std::lock_guard lock(device().mutex);
  auto after = device().pinned.upper_bound(address);
  if (after == device().pinned.begin()) return false;
  const auto& [begin, bytes] = *--after;
  return address < begin + bytes;
}

void* allocate_device_memory(size_t bytes) {
  ++counts().memory_calls;
  return own_arena().allocate(std::max<size_t>(bytes, 1));
}

void limit_device_memory(size_t bytes) { own_arena().limit = bytes; }

void free_device_memory(void* pointer) {
  ++counts().memory_calls;
  Arena* arena = device().find(pointer);
  TRIREME_CHECK(arena != nullptr, "what is freed is no device memory");
  arena->free(pointer);
}

bool is_device_memory(const void* pointer) { return device().find(pointer) != nullptr; }

DeviceAccess::DeviceAccess() : arenas_{&own_arena()} { open(); }

DeviceAccess::DeviceAccess(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers) {
    if (Arena* arena = device().find(pointer)) arenas_.push_back(arena);
  }
  std::ranges::sort(arenas_);  // one order for all, so that nobody waits forever
  arenas_.erase(std::ranges::unique(arenas_).begin(), arenas_.end());
  open();
}

void DeviceAccess::open() {
  for (Arena* arena : arenas_) arena->open();
}

DeviceAccess::~DeviceAccess() {
  for (Arena* arena : arenas_) arena->close();
}

std::vector<DeviceBlock> device_blocks() { return own_arena().blocks(); }

// Without branches and calls the loops become vectors, not functions that the sanitizer replaces.
__attribute__((no_sanitize("address"), optimize("no-tree-loop-distribute-patterns"))) void copy_like_device(
    void* to, const void* from, size_t bytes) {
  using Word [[gnu::may_alias, gnu::aligned(1)]] = uint64_t;
  const size_t num_words = bytes / sizeof(Word);
  for (size_t i = 0; i < num_words; ++i) static_cast<Word*>(to)[i] = static_cast<const Word*>(from)[i];
  for (size_t i = num_words * sizeof(Word); i < bytes; ++i)
    static_cast<std::byte*>(to)[i] = static_cast<const std::byte*>(from)[i];
}

}  // namespace trireme::cuda_on_host
