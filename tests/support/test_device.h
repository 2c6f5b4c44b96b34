// The device that a test program's ops run on.
#pragma once

#include "runtime/device/device.h"

namespace trireme::test {

/// The CPU, or CUDA device 0 in programs that CMake links with test_device_cuda.
Device test_device();

}  // namespace trireme::test
