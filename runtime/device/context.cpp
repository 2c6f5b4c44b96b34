#include "runtime/device/context.h"

#include "runtime/base/error.h"
#include "runtime/base/parallel_for.h"
#include "runtime/device/cpu/cpu_device.h"
#include "runtime/device/cuda/cuda_device.h"

namespace trireme {

std::string to_string(Device device) {
  return device.type == DeviceType::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

Context::Context(Device device, int num_threads) : device_(device), num_threads_(num_threads) {
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

}  // namespace trireme
