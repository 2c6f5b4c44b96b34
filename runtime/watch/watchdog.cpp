#include "runtime/watch/watchdog.h"

#include "runtime/watch/watch_runner.h"

namespace trireme::watch {

class Watchdog::Runner : public WatchRunner {
 public:
  using WatchRunner::WatchRunner;
};

Watchdog::Watchdog(WatchOptions options) : options_(std::move(options)) {}

Watchdog::~Watchdog() { leave(); }

void Watchdog::start(WatchPost post, std::shared_ptr<const Recorder> recorder) {
  TRIREME_CHECK(runner_ == nullptr, "the watchdog runs already");
  runner_ = std::make_unique<Runner>(options_, std::move(post), std::move(recorder));
}

void Watchdog::fail(const std::string& message, ExitCode code) noexcept {
  if (runner_) runner_->fail(message, code);
}

void Watchdog::leave() noexcept {
  if (runner_) runner_->leave();
  runner_.reset();
}

}  // namespace trireme::watch
