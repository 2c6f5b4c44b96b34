#include "launch/report/screen.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include <poll.h>
#include <unistd.h>

#include "launch/process/stop_request.h"

namespace trireme::launch {

namespace {

/// True when some bytes can be written without waiting, or writing would fail; false when nobody reads and
/// the run is to end.
bool wait_for_room(int descriptor) {
  constexpr int kMilliseconds = 100;
  while (true) {
    pollfd ready{descriptor, POLLOUT, 0};
    if (::poll(&ready, 1, kMilliseconds) > 0) return true;
    if (StopRequest::signal() != 0) return false;
  }
}

}  // namespace

void Screen::print(std::string_view text) noexcept {
  if (!failure_.empty()) return;
  std::fflush(out_);  // what others have left there comes first
  const int descriptor = ::fileno(out_);
  while (!text.empty()) {
    if (!wait_for_room(descriptor)) {
      failure_ = "nobody reads it";
      return;
    }
    // A pipe that has room takes as much at once.
    const ssize_t written = ::write(descriptor, text.data(), std::min<size_t>(text.size(), PIPE_BUF));
    if (written < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (written <= 0) {
      failure_ = written == 0 ? "nothing was written" : std::strerror(errno);
      return;
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace trireme::launch
