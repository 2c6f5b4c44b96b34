#include "runtime/device/allocator.h"

#include <mutex>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "runtime/base/error.h"
#include "runtime/device/block_pool.h"

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

/// Who keeps blocks for itself, and whether it still does.
struct Keeper {
  int owner = BlockPool::kShared;
  bool is_open = true;
};

}  // namespace

struct Allocator::State {
  std::unique_ptr<MemorySource> source;
  mutable std::mutex mutex;  // of what follows; the source is asked without it
  BlockPool pool;
  std::shared_ptr<Keeper> keeper;  // in reserve_during()
  int last_owner = BlockPool::kShared;
  MemoryStats stats;

  ~State() {
    for (const auto& segment : pool.segments()) release(segment);
  }

  std::byte* take(size_t size) {
    const int owner = keeper != nullptr ? keeper->owner : BlockPool::kShared;
    std::byte* block = pool.take(size, owner, owner);
    if (block == nullptr && owner != BlockPool::kShared) block = pool.take(size, BlockPool::kShared, owner);
    return block;
  }

  /// Takes a segment for a request from the device; false where it refuses.
  bool grow(size_t size) {
    for (const size_t segment_size : {BlockPool::segment_size(size), size}) {
      auto* begin = static_cast<std::byte*>(source->allocate(segment_size));
      if (begin == nullptr) continue;
      const std::lock_guard lock(mutex);
      allow_access(begin, segment_size, 0);
      pool.add({begin, segment_size}, BlockPool::is_small(size), BlockPool::kShared);
      stats.reserved += static_cast<int64_t>(segment_size);
      stats.peak_reserved = std::max(stats.peak_reserved, stats.reserved);
      ++stats.num_device_allocations;
      return true;
    }
    return false;
  }

  /// Gives back what is not in use; false where nothing was.
  bool trim() {
    if (!source->is_quiet()) return false;
    std::vector<BlockPool::Segment> unused;
    {
      const std::lock_guard lock(mutex);
      unused = pool.remove_unused(BlockPool::kShared);
      for (const auto& segment : unused) stats.reserved -= static_cast<int64_t>(segment.size);
    }
    for (const auto& segment : unused) release(segment);
    return !unused.empty();
  }

  void release(const BlockPool::Segment& segment) {
    allow_access(segment.begin, segment.size, segment.size);
    source->release(segment.begin, segment.size);
  }

  void account(MemoryCategory category, int64_t bytes) {
    add(stats.by_category[static_cast<size_t>(category)], bytes);
    add(stats.total, bytes);
  }

  [[noreturn]] void refuse(size_t size, MemoryCategory category) {
    const std::lock_guard lock(mutex);
    std::string held;
    for (int c = 0; c < kNumMemoryCategories; ++c) {
      held += fmt::format("{}{} {} MiB", held.empty() ? "" : ", ", to_string(static_cast<MemoryCategory>(c)),
                          stats.by_category[static_cast<size_t>(c)].current >> 20);
    }
    throw OutOfMemory(
        fmt::format("out of memory on {}: {} MiB for {} do not fit beside {} MiB in use ({}); another "
                    "{} MiB are reserved but fragmented",
                    source->name(), size >> 20, to_string(category), stats.total.current >> 20, held,
                    (stats.reserved - stats.total.current) >> 20));
  }
};

Allocator::Allocator(std::unique_ptr<MemorySource> source) : state_(std::make_shared<State>()) {
  state_->source = std::move(source);
}

Allocator::~Allocator() = default;

int64_t Allocator::block_size(int64_t bytes) {
  constexpr int64_t kStep = 256;
  return std::max(kStep, (bytes + kStep - 1) / kStep * kStep);
}

std::shared_ptr<std::byte> Allocator::allocate(size_t bytes, MemoryCategory category) {
  const auto size = static_cast<size_t>(block_size(static_cast<int64_t>(bytes)));
  bool may_trim = true;
  for (;;) {
    {
      const std::lock_guard lock(state_->mutex);
      if (std::byte* block = state_->take(size); block != nullptr) {
        state_->account(category, static_cast<int64_t>(size));
        allow_access(block, size, state_->keeper != nullptr ? size : bytes);
        return {block, [state = state_, keeper = state_->keeper, size, category](std::byte* unused) {
                  const std::lock_guard release_lock(state->mutex);
                  state->account(category, -static_cast<int64_t>(size));
                  allow_access(unused, size, keeper && keeper->is_open ? size : 0);
                  state->pool.give_back(unused);
                }};
      }
    }
    if (!state_->grow(size) && !(std::exchange(may_trim, false) && state_->trim())) {
      state_->refuse(size, category);
    }
  }
}

std::shared_ptr<void> Allocator::reserve_during(const std::function<void()>& work) {
  const auto keeper = std::make_shared<Keeper>();
  const auto set = [&](std::shared_ptr<Keeper> now) {
    const std::lock_guard lock(state_->mutex);
    if (now) now->owner = ++state_->last_owner;
    state_->keeper = std::move(now);
  };
  std::shared_ptr<void> handle(nullptr, [state = state_, keeper](void*) {
    const std::lock_guard lock(state->mutex);
    keeper->is_open = false;
    for (const auto& [begin, size] : state->pool.unused_of(keeper->owner)) allow_access(begin, size, 0);
    state->pool.change_owner(keeper->owner, BlockPool::kShared);
  });
  set(keeper);
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
  state_->stats.peak_reserved = state_->stats.reserved;
}

void Allocator::trim() { state_->trim(); }

}  // namespace trireme
