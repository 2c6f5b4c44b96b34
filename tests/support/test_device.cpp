#include "tests/support/test_device.h"

#include <cstdlib>
#include <string_view>

#include "runtime/base/error.h"

namespace trireme::test {

Device test_device() { return {DeviceType::TRIREME_TEST_DEVICE, 0}; }

OpSettings test_settings() {
  const char* text = std::getenv("TRIREME_TEST_ATTENTION");
  const std::string_view choice = text == nullptr ? "auto" : text;
  OpSettings settings;
  if (choice == "own") {
    settings.attention = AttentionChoice::own;
  } else if (choice == "cudnn") {
    settings.attention = AttentionChoice::cudnn;
  } else if (choice != "auto") {
    throw_usage("TRIREME_TEST_ATTENTION is '{}', and not own, cudnn or auto", choice);
  }
  return settings;
}

}  // namespace trireme::test
