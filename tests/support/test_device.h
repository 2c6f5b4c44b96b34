// The device that a test program's ops run on.
#pragma once

#include "runtime/device/device.h"
#include "runtime/device/op_settings.h"

namespace trireme::test {

/// The CPU, or CUDA device 0 in programs that CMake links with test_device_cuda.
Device test_device();

/// What attention is told there: TRIREME_TEST_ATTENTION in the environment, own, cudnn or auto (where it is
/// not set). Throws UserError for other texts.
OpSettings test_settings();

}  // namespace trireme::test
