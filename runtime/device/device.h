// Devices: where tensors lie and ops run.
#pragma once

#include <cstdint>
#include <string>

namespace trireme {

enum class DeviceType : uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;

  friend bool operator==(const Device&, const Device&) = default;
};

/// "cpu" or "cuda:1".
std::string to_string(Device device);

}  // namespace trireme
