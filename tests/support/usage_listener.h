// What each test costs: tests/tools/usage.py reads it.
#pragma once

#include <gtest/gtest.h>

namespace trireme::test {

/// Appends a line to the file that TRIREME_TEST_USAGE names, for each test that ran:
/// "test", its name, seconds of processor time (of this process and the children that it waited for), seconds
/// of the clock; tabs between. Nothing where the variable is not set.
class UsageListener : public testing::EmptyTestEventListener {
 public:
  UsageListener();
  ~UsageListener() override;
  UsageListener(const UsageListener&) = delete;
  UsageListener& operator=(const UsageListener&) = delete;

 private:
  void OnTestStart(const testing::TestInfo&) override;
  void OnTestEnd(const testing::TestInfo& test) override;

  int file_ = -1;
  double begin_ = 0;
};

}  // namespace trireme::test
