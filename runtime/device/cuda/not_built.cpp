// Stands in for cuda_device.cpp and versions.cpp in a program built without CUDA.
#include "runtime/base/error.h"
#include "runtime/device/cuda/cuda_device.h"
#include "runtime/device/cuda/versions.h"

namespace trireme::cuda {

bool is_built() { return false; }
std::string build_description() { return "not built"; }
int num_devices() { return 0; }
std::string why_no_device() {
  return "this program was built without CUDA (configure with -DTRIREME_CUDA=ON)";
}
DeviceInfo device_info(int index) { throw_environment("no device cuda:{}: {}", index, why_no_device()); }
std::unique_ptr<Stream> make_compute_stream(int index) {
  throw_environment("no device cuda:{}: {}", index, why_no_device());
}
std::unique_ptr<Stream> make_communication_stream(int index) {
  throw_environment("no device cuda:{}: {}", index, why_no_device());
}
std::shared_ptr<void> announce_communication(int index) {
  throw_environment("no device cuda:{}: {}", index, why_no_device());
}
std::unique_ptr<MemorySource> make_memory_source(int index) {
  throw_environment("no device cuda:{}: {}", index, why_no_device());
}
std::unique_ptr<MemorySource> make_pinned_memory_source(int index) {
  throw_environment("no device cuda:{}: {}", index, why_no_device());
}
void copy_and_wait(int index, void*, const void*, size_t) {
  throw_environment("no device cuda:{}: {}", index, why_no_device());
}
Versions versions() { return {}; }
std::string pci_bus_id(int) { return ""; }

}  // namespace trireme::cuda
