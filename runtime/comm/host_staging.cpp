#include "runtime/comm/host_staging.h"

#include <utility>

#include "runtime/device/cuda/cuda_device.h"

namespace trireme {

namespace {

bool is_on_host(const CommCall& call) { return !call.in || call.in.device().type == DeviceType::cpu; }

/// Whether this rank's `in` is read: of a broadcast, the root's alone.
bool reads(const CommCall& call, int rank) { return call.kind != CommKind::broadcast || call.peer == rank; }

}  // namespace

Tensor HostStaging::host_buffer(const Tensor& on_device) {
  const int index = on_device.device().index;
  {
    const std::lock_guard lock(mutex_);
    if (!stream_) {
      stream_ = cuda::make_compute_stream(index);
      pinned_ = std::make_unique<Allocator>(cuda::make_pinned_memory_source(index));
    }
  }
  TRIREME_CHECK(stream_->device() == on_device.device(), "a communicator of {} got a tensor of {}",
                to_string(stream_->device()), to_string(on_device.device()));
  return Tensor::share(pinned_->allocate(static_cast<size_t>(on_device.bytes()), MemoryCategory::buffers),
                       on_device.shape(), on_device.dtype());
}

void HostStaging::copy(const Tensor& from, const Tensor& to) {
  stream_->copy(to.raw(), from.raw(), static_cast<size_t>(to.bytes()));
  stream_->synchronize();
}

void HostStaging::collective(Event& ready, const CommCall& call, int rank,
                             const std::function<void(const CommCall&)>& carry_out) {
  ready.synchronize();
  call.recorded.start();
  if (is_on_host(call)) {
    carry_out(call);
    return call.recorded.end();
  }
  CommCall on_host = call;
  on_host.in = host_buffer(call.in);
  on_host.out = call.out.raw() == call.in.raw() && call.out.bytes() == call.in.bytes()
                    ? on_host.in
                    : host_buffer(call.out);
  if (reads(call, rank)) copy(call.in, on_host.in);
  carry_out(on_host);
  copy(on_host.out, call.out);
  call.recorded.end();
}

class HostStaging::MessageWork final : public Work {
 public:
  /// `on_host` and `on_device` are undefined for a send.
  MessageWork(std::shared_ptr<HostStaging> staging, WorkPtr work, RecordedCall recorded, Tensor on_host,
              Tensor on_device, std::shared_ptr<Event> ready)
      : staging_(std::move(staging)),
        work_(std::move(work)),
        recorded_(std::move(recorded)),
        on_host_(std::move(on_host)),
        on_device_(std::move(on_device)),
        ready_(std::move(ready)) {}

  void wait() override {
    work_->wait();
    recorded_.end();
    if (!on_host_) return;
    ready_->synchronize();  // what was there before may still be read
    staging_->copy(on_host_, on_device_);
    on_host_ = Tensor();
  }
  bool is_done() override { return work_->is_done(); }

 private:
  std::shared_ptr<HostStaging> staging_;
  WorkPtr work_;
  RecordedCall recorded_;
  Tensor on_host_, on_device_;
  std::shared_ptr<Event> ready_;
};

WorkPtr HostStaging::message(Stream& stream, CommCall call, const std::function<WorkPtr(CommCall)>& post) {
  const auto ready = stream.record();
  const RecordedCall recorded = call.recorded;
  if (is_on_host(call)) {
    ready->synchronize();
    recorded.start();
    return post(std::move(call));
  }
  const Tensor on_device = call.in;
  call.in = call.out = host_buffer(on_device);
  if (call.kind == CommKind::send) {
    ready->synchronize();
    copy(on_device, call.in);
    recorded.start();
    return std::make_shared<MessageWork>(shared_from_this(), post(std::move(call)), recorded, Tensor(),
                                         Tensor(), nullptr);
  }
  const Tensor on_host = call.in;
  recorded.start();
  return std::make_shared<MessageWork>(shared_from_this(), post(std::move(call)), recorded, on_host,
                                       on_device, ready);
}

}  // namespace trireme
