#include "runtime/comm/self/self_communicator.h"

#include <atomic>

#include "runtime/comm/comm_call.h"
#include "runtime/comm/done_work.h"

namespace trireme {

namespace {

class SelfCommunicator final : public Communicator {
 public:
  SelfCommunicator(std::string name, AbortHook on_abort)
      : Communicator(0, 1, std::move(name)), on_abort_(std::move(on_abort)) {}

  std::string_view backend() const override { return "self"; }
  std::vector<int> world_ranks() const override { return {0}; }

  void abort(std::string_view reason, ExitCode code) noexcept override {
    aborted_ = true;
    if (on_abort_) on_abort_(reason, code);
  }

 private:
  void run(Stream& stream, CommCall call) override {
    throw_if_aborted();
    call.recorded.start();
    if (call.in && call.in.raw() != call.out.raw())
      stream.copy(call.out.raw(), call.in.raw(), static_cast<size_t>(call.in.bytes()));
    call.recorded.end();  // nobody else can hold it up
  }

  WorkPtr start(Stream& stream, CommCall call) override {
    run(stream, std::move(call));
    return std::make_shared<DoneWork>();
  }

  std::unique_ptr<Communicator> split_into(int, int, std::string name) override {
    throw_if_aborted();
    return make_self_communicator(std::move(name), on_abort_);
  }

  void throw_if_aborted() const {
    if (aborted_) throw_environment("communicator '{}' was aborted", name());
  }

  AbortHook on_abort_;
  std::atomic<bool> aborted_ = false;
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(std::string name, AbortHook on_abort) {
  return std::make_unique<SelfCommunicator>(std::move(name), std::move(on_abort));
}

}  // namespace trireme
