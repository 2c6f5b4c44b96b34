#include "runtime/device/cpu/cpu_device.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <sched.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "runtime/base/error.h"
#include "runtime/device/graph.h"

namespace trireme::cpu {

namespace {

class DoneEvent final : public Event {
 public:
  void synchronize() override {}
  bool is_done() override { return true; }
};

class ClockEvent final : public TimedEvent {
 public:
  void synchronize() override {}
  bool is_done() override { return true; }
  double milliseconds_since(const TimedEvent& earlier) const override {
    return std::chrono::duration<double, std::milli>(time_ - dynamic_cast<const ClockEvent&>(earlier).time_)
        .count();
  }

 private:
  std::chrono::steady_clock::time_point time_ = std::chrono::steady_clock::now();
};

class InlineStream final : public Stream {
 public:
  Device device() const override { return {}; }
  std::shared_ptr<Event> record() override { return std::make_shared<DoneEvent>(); }
  std::shared_ptr<TimedEvent> record_time() override { return std::make_shared<ClockEvent>(); }
  void wait(Event& event) override { event.synchronize(); }
  void copy(void* to, const void* from, size_t bytes) override {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  void synchronize() override {}
  std::unique_ptr<Graph> capture(const std::function<void()>&) override {
    TRIREME_CHECK(false, "work of the host is no graph");
  }
};

constexpr size_t kHugePage = size_t{2} << 20;

class HostMemory final : public MemorySource {
 public:
  void* allocate(size_t bytes) override {
    const size_t alignment = bytes >= kHugePage ? kHugePage : 256;
    void* pointer = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (pointer != nullptr && bytes >= kHugePage) ::madvise(pointer, bytes, MADV_HUGEPAGE);
    return pointer;
  }
  void release(void* pointer, size_t) noexcept override { std::free(pointer); }
  std::string_view name() const override { return "the host"; }
};

std::string first_cpuinfo_line(const std::string& key) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return line.substr(line.find(':') + 1) + " ";
  }
  return "";
}

}  // namespace

std::unique_ptr<Stream> make_compute_stream() { return std::make_unique<InlineStream>(); }
std::unique_ptr<MemorySource> make_memory_source() { return std::make_unique<HostMemory>(); }

#if defined(__aarch64__)
std::string matrix_isa() {
  constexpr unsigned long kDotProducts = 1ul << 20;  // HWCAP_ASIMDDP
  return (::getauxval(AT_HWCAP) & kDotProducts) != 0 ? "neon-dotprod" : "neon";
}
#else
std::string matrix_isa() {
  const std::string flags = first_cpuinfo_line("flags");
  const auto has = [&](const char* flag) {
    return flags.find(std::string(" ") + flag + " ") != std::string::npos;
  };
  if (has("amx_bf16") && has("amx_tile")) return "amx-bf16";
  if (has("avx512_bf16")) return "avx512-bf16";
  if (has("avx512f")) return "avx512";
  return has("avx2") ? "avx2" : "sse2";
}
#endif

std::string processor_name() {
  const std::string name = first_cpuinfo_line("model name");
  return name.size() > 2 ? name.substr(1, name.size() - 2) : "unknown processor";
}

void use_small_pages(void* pointer, size_t bytes) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(pointer) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(pointer) + bytes) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_NOHUGEPAGE);
}

int num_available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

}  // namespace trireme::cpu
