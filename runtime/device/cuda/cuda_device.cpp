#include "runtime/device/cuda/cuda_device.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include <nccl.h>

#include "runtime/base/error.h"
#include "runtime/device/cuda/cuda_stream.h"
#include "runtime/device/cuda/late_blas.h"
#include "runtime/device/gpu_support.h"
#include "runtime/device/graph.h"

#ifndef TRIREME_CUDA_ARCHITECTURES
#define TRIREME_CUDA_ARCHITECTURES "unknown"  // as has_code_for() takes it: nothing is refused
#endif

namespace trireme::cuda {

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  const std::string advice = status == cudaErrorNoKernelImageForDevice
                                 ? "; this program was built for " TRIREME_CUDA_ARCHITECTURES
                                 : "";
  throw_environment("{} failed: {} ({}){}", call, cudaGetErrorString(status), cudaGetErrorName(status),
                    advice);
}

namespace {

// The driver deals streams out to this many queues, 8 unless it is set before it starts. A stream that waits
// for another rank holds up those of its queue, and with them perhaps what that rank waits for.
void ask_for_queues() {
  [[maybe_unused]] static const int asked = ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);
}

// The count stays as it was when the call fails, so it starts at 0.
std::pair<int, cudaError_t> count_devices() {
  ask_for_queues();
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  return {status == cudaSuccess ? count : 0, status};
}

void select(int index) {
  const int count = num_devices();
  if (index < 0 || index >= count) {
    throw_environment(
        "no device cuda:{}: {}", index,
        count == 0 ? why_no_device() : fmt::format("{} device(s) visible, numbered from 0", count));
  }
  check(cudaSetDevice(index), "cudaSetDevice");
}

// What would fail later, in words that do not say why.
void check_support(int index) {
  select(index);
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "cudaDeviceGetAttribute");
  if (!has_code_for(TRIREME_CUDA_ARCHITECTURES, major, minor)) {
    throw_environment(
        "cuda:{} has compute capability {}.{}, and this program was built for {}: build it with "
        "-DCMAKE_CUDA_ARCHITECTURES={}{}",
        index, major, minor, TRIREME_CUDA_ARCHITECTURES, major, minor);
  }
  open_blas();  // so that its copies are seen too
  const std::vector<std::string> doubled = duplicate_libraries(loaded_libraries());
  if (!doubled.empty()) {
    throw_environment("two copies of a library are loaded, {}: put only one of them on LD_LIBRARY_PATH",
                      doubled[0]);
  }
}

// A thread begins with device 0, where the first call of any kind would take memory.
void use(int index) { check(cudaSetDevice(index), "cudaSetDevice"); }

class CudaEvent final : public TimedEvent {
 public:
  /// `flags`: cudaEventDisableTiming, or cudaEventDefault for one that is asked for its time.
  CudaEvent(int index, cudaStream_t stream, unsigned flags) : index_(index) {
    use(index);
    check(cudaEventCreateWithFlags(&event_, flags), "cudaEventCreateWithFlags");
    check(cudaEventRecord(event_, stream), "cudaEventRecord");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  void synchronize() override {
    use(index_);
    check(cudaEventSynchronize(event_), "cudaEventSynchronize");
  }
  bool is_done() override {
    use(index_);
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) {
      cudaGetLastError();  // or the next launch would report it
      return false;
    }
    check(status, "cudaEventQuery");
    return true;
  }
  double milliseconds_since(const TimedEvent& earlier) const override {
    use(index_);
    float ms = 0;
    check(cudaEventElapsedTime(&ms, dynamic_cast<const CudaEvent&>(earlier).event_, event_),
          "cudaEventElapsedTime");
    return ms;
  }
  cudaEvent_t get() const { return event_; }

 private:
  int index_;
  cudaEvent_t event_ = nullptr;
};

class CudaGraph final : public Graph {
 public:
  CudaGraph(int index, cudaGraph_t graph) : index_(index) {
    const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate");
  }
  ~CudaGraph() override {
    cudaSetDevice(index_);
    cudaGraphExecDestroy(graph_);
  }
  void launch(Stream& stream) override {
    use(index_);
    check(cudaGraphLaunch(graph_, raw_stream(stream)), "cudaGraphLaunch");
  }

 private:
  int index_;
  cudaGraphExec_t graph_ = nullptr;
};

// The streams on which kernels wait for other ranks, and captures, of all devices of this process.
class CommunicationStreams {
 public:
  void add(int index, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    streams_.emplace(index, stream);
  }
  void remove(int index, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    streams_.erase({index, stream});
  }
  void count_capture(int change) {
    const std::lock_guard lock(mutex_);
    num_captures_ += change;
  }
  void count_announced(int index, int change) {
    const std::lock_guard lock(mutex_);
    num_announced_[index] += change;
  }
  // Nothing may be asked of a stream that is captured.
  bool are_quiet(int index) {
    const std::lock_guard lock(mutex_);
    if (num_captures_ > 0 || num_announced_[index] > 0) return false;
    return std::ranges::all_of(streams_, [&](const auto& s) {
      if (s.first != index) return true;
      const cudaError_t status = cudaStreamQuery(s.second);
      if (status != cudaSuccess) cudaGetLastError();  // or the next launch would report it
      return status == cudaSuccess;
    });
  }

 private:
  std::mutex mutex_;
  std::set<std::pair<int, cudaStream_t>> streams_;
  int num_captures_ = 0;
  std::map<int, int> num_announced_;  // by device: operations that will come
};
CommunicationStreams& communication_streams() {
  static CommunicationStreams all;
  return all;
}

class CudaStream final : public Stream {
 public:
  CudaStream(int index, bool comes_first) : index_(index), comes_first_(comes_first) {
    select(index);
    int least = 0, greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, comes_first ? greatest : least),
          "cudaStreamCreateWithPriority");
    if (comes_first_) communication_streams().add(index, stream_);
  }
  ~CudaStream() override {
    if (comes_first_) communication_streams().remove(index_, stream_);
    cudaStreamDestroy(stream_);
  }
  Device device() const override { return {DeviceType::cuda, index_}; }
  std::shared_ptr<Event> record() override {
    return std::make_shared<CudaEvent>(index_, stream_, cudaEventDisableTiming);
  }
  std::shared_ptr<TimedEvent> record_time() override {
    return std::make_shared<CudaEvent>(index_, stream_, cudaEventDefault);
  }
  void wait(Event& event) override {
    use(index_);
    if (auto* on_device = dynamic_cast<CudaEvent*>(&event)) {
      check(cudaStreamWaitEvent(stream_, on_device->get(), 0), "cudaStreamWaitEvent");
    } else {
      event.synchronize();
    }
  }
  void copy(void* to, const void* from, size_t bytes) override {
    use(index_);
    if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "cudaMemcpyAsync");
  }
  void synchronize() override {
    use(index_);
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }
  // Relaxed: threads that give work to NCCL take part, and the allocator may have to ask the device.
  std::unique_ptr<Graph> capture(const std::function<void()>& submit) override {
    use(index_);
    communication_streams().count_capture(1);
    const std::shared_ptr<void> counted(nullptr, [](void*) { communication_streams().count_capture(-1); });
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
    cudaGraph_t graph = nullptr;
    try {
      submit();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      cudaGetLastError();  // of a capture that has become invalid
      throw;
    }
    use(index_);
    check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    return std::make_unique<CudaGraph>(index_, graph);
  }
  cudaStream_t get() const { return stream_; }

 private:
  int index_;
  bool comes_first_;
  cudaStream_t stream_ = nullptr;
};

class CudaMemory final : public MemorySource {
 public:
  explicit CudaMemory(int index) : index_(index), name_(fmt::format("cuda:{}", index)) { select(index); }
  void* allocate(size_t bytes) override {
    use(index_);
    void* pointer = nullptr;
    const cudaError_t status = cudaMalloc(&pointer, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // clears the error, or the next launch would report it
      return nullptr;
    }
    check(status, "cudaMalloc");
    return pointer;
  }
  void release(void* pointer, size_t) noexcept override {
    cudaSetDevice(index_);
    cudaFree(pointer);
  }
  // Collectives end by themselves, soon; a receive that was posted in advance may wait for what this rank has
  // yet to do.
  bool is_quiet() override {
    use(index_);
    constexpr auto kPatience = std::chrono::seconds(1);
    const auto begin = std::chrono::steady_clock::now();
    while (!communication_streams().are_quiet(index_)) {
      if (std::chrono::steady_clock::now() - begin > kPatience) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  std::string_view name() const override { return name_; }

 private:
  int index_;
  std::string name_;
};

class PinnedMemory final : public MemorySource {
 public:
  explicit PinnedMemory(int index) : index_(index) { select(index); }
  void* allocate(size_t bytes) override {
    use(index_);
    void* pointer = nullptr;
    const cudaError_t status = cudaHostAlloc(&pointer, bytes, cudaHostAllocDefault);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      return nullptr;
    }
    check(status, "cudaHostAlloc");
    return pointer;
  }
  void release(void* pointer, size_t) noexcept override {
    cudaSetDevice(index_);
    cudaFreeHost(pointer);
  }
  std::string_view name() const override { return "the host (pinned)"; }

 private:
  int index_;
};

}  // namespace

cudaStream_t raw_stream(Stream& stream) {
  auto* on_device = dynamic_cast<CudaStream*>(&stream);
  TRIREME_CHECK(on_device != nullptr, "a CUDA op got a stream of {}", to_string(stream.device()));
  return on_device->get();
}

bool is_built() { return true; }

std::string build_description() {
  int nccl = 0;
  ncclGetVersion(&nccl);
  return fmt::format("CUDA {}.{}, NCCL {}.{}.{}", CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10,
                     nccl / 10000, nccl % 10000 / 100, nccl % 100);
}

int num_devices() { return count_devices().first; }

std::string why_no_device() {
  const auto [count, status] = count_devices();
  if (count > 0) return "";
  GpuSearch search;
  if (cudaDriverGetVersion(&search.driver_version) != cudaSuccess) search.driver_version = 0;
  search.runtime_version = CUDART_VERSION;
  if (status != cudaSuccess) search.status = cudaGetErrorString(status);
  search.visible_devices = std::getenv("CUDA_VISIBLE_DEVICES");
  return why_no_gpu(search);
}

DeviceInfo device_info(int index) {
  select(index);
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
  DeviceInfo info;
  info.name = properties.name;
  info.capability = fmt::format("{}.{}", properties.major, properties.minor);
  info.bytes = static_cast<int64_t>(properties.totalGlobalMem);
  std::memcpy(info.uuid.data(), properties.uuid.bytes, info.uuid.size());
  info.is_slice = is_gpu_slice(properties.name);
  return info;
}

std::unique_ptr<Stream> make_compute_stream(int index) {
  check_support(index);
  return std::make_unique<CudaStream>(index, false);
}
std::unique_ptr<Stream> make_communication_stream(int index) {
  return std::make_unique<CudaStream>(index, true);
}
std::shared_ptr<void> announce_communication(int index) {
  communication_streams().count_announced(index, 1);
  return {nullptr, [index](void*) { communication_streams().count_announced(index, -1); }};
}
std::unique_ptr<MemorySource> make_memory_source(int index) { return std::make_unique<CudaMemory>(index); }
std::unique_ptr<MemorySource> make_pinned_memory_source(int index) {
  return std::make_unique<PinnedMemory>(index);
}

void copy_and_wait(int index, void* to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  select(index);
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "cudaMemcpy");
  // From pageable memory that call may return earlier, and other streams do not wait for it.
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

}  // namespace trireme::cuda
