// The device that a test program's ops run on: the CPU, or what its build names.
#pragma once

#include "runtime/device/device.h"

#ifndef TRIREME_TEST_DEVICE
#define TRIREME_TEST_DEVICE cpu
#endif

namespace trireme::test {

inline Device test_device() { return {DeviceType::TRIREME_TEST_DEVICE, 0}; }

}  // namespace trireme::test
