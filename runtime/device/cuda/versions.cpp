#include "runtime/device/cuda/versions.h"

#include <cctype>

#include <cuda_runtime_api.h>
#include <nccl.h>

namespace trireme::cuda {

Versions versions() {
  Versions v;
  v.toolkit = CUDART_VERSION;
  v.nccl_built = NCCL_VERSION_CODE;
  // Each leaves the number as it is where it fails.
  cudaRuntimeGetVersion(&v.runtime);
  cudaDriverGetVersion(&v.driver);
  ncclGetVersion(&v.nccl_loaded);
  cudaGetLastError();
  return v;
}

std::string pci_bus_id(int index) {
  char text[32] = "";
  if (cudaDeviceGetPCIBusId(text, sizeof text, index) != cudaSuccess) {
    cudaGetLastError();  // or the next launch would report it
    return "";
  }
  std::string id = text;
  for (char& c : id) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return id;
}

}  // namespace trireme::cuda
