#include "launch/report/files/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include "runtime/io/files/file.h"

namespace trireme::launch {

void RunLog::append(std::string_view line) const noexcept {
  const std::lock_guard lock(mutex_);
  if (path_.empty()) return;
  const FileDescriptor file(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  if (file.get() < 0) return;
  [[maybe_unused]] const auto written = ::write(file.get(), line.data(), line.size());
}

}  // namespace trireme::launch
