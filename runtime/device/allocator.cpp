#include "runtime/device/allocator.h"

#include <bit>
#include <map>
#include <mutex>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "runtime/base/error.h"

namespace trireme {

std::string_view to_string(MemoryCategory category) {
  constexpr std::string_view kNames[kNumMemoryCategories] = {"weights", "gradients", "optimizer",
                                                             "activations", "buffers"};
  return kNames[static_cast<size_t>(category)];
}

namespace {

// Under the address sanitizer, whose builds have memory of the host alone, the host may touch only what was
// asked for: not what rounding adds, and no block in the cache. Kept blocks may be used as a whole, since
// what was captured uses them for one tensor after the other.
void allow_access([[maybe_unused]] void* block, [[maybe_unused]] size_t size,
                  [[maybe_unused]] size_t allowed) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(block, allowed);
  ASAN_POISON_MEMORY_REGION(static_cast<std::byte*>(block) + allowed, size - allowed);
#endif
}

void add(MemoryUsage& usage, int64_t bytes) {
  usage.current += bytes;
  usage.peak = std::max(usage.peak, usage.current);
}

/// Blocks that nobody uses, by size.
using Blocks = std::multimap<size_t, void*>;

void* find(Blocks& blocks, size_t size) {
  const auto hit = blocks.find(size);
  if (hit == blocks.end()) return nullptr;
  void* pointer = hit->second;
  blocks.erase(hit);
  return pointer;
}

/// Blocks that are kept for somebody.
struct Reserve {
  Blocks unused;
  bool is_open = true;  // blocks come back here
};

}  // namespace

struct Allocator::State {
  std::unique_ptr<MemorySource> source;
  mutable std::mutex mutex;
  Blocks cached;
  std::shared_ptr<Reserve> reserve;  // in reserve_during()
  MemoryStats stats;

  ~State() { trim(); }

  void trim() {
    for (const auto& [size, pointer] : cached) {
      allow_access(pointer, size, size);
      source->release(pointer, size);
      stats.reserved -= static_cast<int64_t>(size);
    }
    cached.clear();
  }

  void* take(size_t size) {
    void* pointer = reserve ? find(reserve->unused, size) : nullptr;
    if (pointer == nullptr) pointer = find(cached, size);
    if (pointer != nullptr) return pointer;
    pointer = source->allocate(size);
    if (pointer == nullptr && !cached.empty()) {
      trim();
      pointer = source->allocate(size);
    }
    if (pointer != nullptr) {
      stats.reserved += static_cast<int64_t>(size);
      ++stats.num_device_allocations;
    }
    return pointer;
  }

  void account(MemoryCategory category, int64_t bytes) {
    add(stats.by_category[static_cast<size_t>(category)], bytes);
    add(stats.total, bytes);
  }
};

Allocator::Allocator(std::unique_ptr<MemorySource> source) : state_(std::make_shared<State>()) {
  state_->source = std::move(source);
}

Allocator::~Allocator() = default;

// Eight sizes per power of two, so that micro-batches of varying length still find cached blocks.
int64_t Allocator::block_size(int64_t bytes) {
  constexpr int64_t kSmallest = 256;
  if (bytes <= kSmallest) return kSmallest;
  const auto power = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(bytes - 1)));
  const int64_t step = std::max(power / 8, kSmallest);
  return (bytes + step - 1) / step * step;
}

std::shared_ptr<std::byte> Allocator::allocate(size_t bytes, MemoryCategory category) {
  const auto size = static_cast<size_t>(block_size(static_cast<int64_t>(bytes)));
  void* pointer;
  std::shared_ptr<Reserve> reserve;
  {
    const std::lock_guard lock(state_->mutex);
    pointer = state_->take(size);
    reserve = state_->reserve;
    if (pointer == nullptr) {
      throw_environment("out of memory on {}: {} MiB for {} do not fit beside {} MiB already in use",
                        state_->source->name(), size >> 20, to_string(category),
                        state_->stats.total.current >> 20);
    }
    state_->account(category, static_cast<int64_t>(size));
    allow_access(pointer, size, reserve ? size : bytes);
  }
  return {static_cast<std::byte*>(pointer), [state = state_, reserve, size, category](std::byte* block) {
            const std::lock_guard lock(state->mutex);
            state->account(category, -static_cast<int64_t>(size));
            const bool is_kept = reserve && reserve->is_open;
            allow_access(block, size, is_kept ? size : 0);
            (is_kept ? reserve->unused : state->cached).emplace(size, block);
          }};
}

std::shared_ptr<void> Allocator::reserve_during(const std::function<void()>& work) {
  const auto reserve = std::make_shared<Reserve>();
  std::shared_ptr<void> handle(nullptr, [state = state_, reserve](void*) {
    const std::lock_guard lock(state->mutex);
    reserve->is_open = false;
    for (const auto& [size, block] : reserve->unused) allow_access(block, size, 0);
    state->cached.merge(reserve->unused);
  });
  const auto set = [&](std::shared_ptr<Reserve> now) {
    const std::lock_guard lock(state_->mutex);
    state_->reserve = std::move(now);
  };
  set(reserve);
  try {
    work();
  } catch (...) {
    set(nullptr);
    throw;
  }
  set(nullptr);
  return handle;
}

MemoryStats Allocator::stats() const {
  const std::lock_guard lock(state_->mutex);
  return state_->stats;
}

void Allocator::reset_peaks() {
  const std::lock_guard lock(state_->mutex);
  for (auto& usage : state_->stats.by_category) usage.peak = usage.current;
  state_->stats.total.peak = state_->stats.total.current;
}

void Allocator::trim() {
  const std::lock_guard lock(state_->mutex);
  state_->trim();
}

}  // namespace trireme
