#include "tests/support/usage_listener.h"

#include <cstdlib>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

namespace trireme::test {

namespace {

double processor_seconds() {
  double seconds = 0;
  for (const auto who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    getrusage(who, &usage);
    for (const timeval& t : {usage.ru_utime, usage.ru_stime})
      seconds += static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  }
  return seconds;
}

}  // namespace

UsageListener::UsageListener() {
  if (const char* path = std::getenv("TRIREME_TEST_USAGE"))
    file_ = ::open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
}

UsageListener::~UsageListener() {
  if (file_ >= 0) ::close(file_);
}

void UsageListener::OnTestStart(const testing::TestInfo&) { begin_ = processor_seconds(); }

void UsageListener::OnTestEnd(const testing::TestInfo& test) {
  if (file_ < 0) return;
  // One write a line: programs that run side by side share the file.
  const std::string line =
      fmt::format("test\t{}.{}\t{:.3f}\t{:.3f}\n", test.test_suite_name(), test.name(),
                  processor_seconds() - begin_, static_cast<double>(test.result()->elapsed_time()) * 1e-3);
  if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
    fmt::print(stderr, "cannot write to TRIREME_TEST_USAGE\n");
}

}  // namespace trireme::test
