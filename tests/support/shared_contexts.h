// Contexts that the tests of a suite share: on a GPU each brings streams, handles of libraries and their
// memory.
#pragma once

#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "runtime/device/context.h"
#include "tests/support/test_device.h"

namespace trireme::test {

/// Of fixtures whose tests look at results alone. What looks at a context itself (its memory, what it has
/// described before) makes one of its own.
class SharedContexts : public testing::Test {
 public:
  static void TearDownTestSuite() { contexts().clear(); }

 protected:
  /// The suite's context on the tests' device with this many threads.
  static Context& context(int num_threads = 1) {
    std::unique_ptr<Context>& context = contexts()[num_threads];
    if (!context) context = std::make_unique<Context>(test_device(), num_threads, test_settings());
    return *context;
  }

 private:
  static std::map<int, std::unique_ptr<Context>>& contexts() {
    static std::map<int, std::unique_ptr<Context>> all;
    return all;
  }
};

}  // namespace trireme::test
