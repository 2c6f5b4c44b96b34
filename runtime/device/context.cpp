#include "runtime/device/context.h"

#include "runtime/base/error.h"
#include "runtime/base/parallel_for.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme {

namespace {

/// A graph and the memory that its work goes to.
class GraphInMemory final : public Graph {
 public:
  GraphInMemory(std::shared_ptr<void> memory, std::unique_ptr<Graph> graph)
      : memory_(std::move(memory)), graph_(std::move(graph)) {}
  void launch(Stream& stream) override { graph_->launch(stream); }

 private:
  std::shared_ptr<void> memory_;
  std::unique_ptr<Graph> graph_;  // the first to go
};

}  // namespace

std::string to_string(Device device) {
  return device.type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

Context::Context(Device device, int num_threads, const OpSettings& settings)
    : device_(device), num_threads_(num_threads), settings_(settings) {
  TRIREME_CHECK(num_threads >= 1, "num_threads is {}", num_threads);
  prepare_threads(num_threads);
  const bool on_cpu = device.type == DeviceType::cpu;
  stream_ = on_cpu ? cpu::make_compute_stream() : cuda::make_compute_stream(device.index);
  host_stream_ = cpu::make_compute_stream();
  allocator_ = std::make_unique<Allocator>(on_cpu ? cpu::make_memory_source()
                                                  : cuda::make_memory_source(device.index));
  host_allocator_ = std::make_unique<Allocator>(on_cpu ? cpu::make_memory_source()
                                                       : cuda::make_pinned_memory_source(device.index));
}

std::unique_ptr<Graph> Context::capture(const std::function<void()>& submit) {
  std::unique_ptr<Graph> graph;
  auto memory = allocator_->reserve_during([&] { graph = stream_->capture(submit); });
  return std::make_unique<GraphInMemory>(std::move(memory), std::move(graph));
}

}  // namespace trireme
