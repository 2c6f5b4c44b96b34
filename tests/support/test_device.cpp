#include "tests/support/test_device.h"

namespace trireme::test {

Device test_device() { return {DeviceType::TRIREME_TEST_DEVICE, 0}; }

}  // namespace trireme::test
