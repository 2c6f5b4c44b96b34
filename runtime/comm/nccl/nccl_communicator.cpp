#include "runtime/comm/nccl/nccl_communicator.h"

#include <condition_variable>
#include <map>
#include <thread>
#include <utility>

#include "runtime/comm/nccl/nccl_link.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {

namespace {

/// All groups of this rank, and a thread that looks after them: a rank may wait for its device,
/// and the device for another rank that has failed.
class NcclJob {
 public:
  NcclJob(Device device, const NcclOptions& options, Communicator& world)
      : device_(device), options_(options), world_(world), watch_([this] { watch(); }) {}
  ~NcclJob() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    watch_.join();
  }

  std::shared_ptr<NcclGroup> make_group(std::string name, int size, int rank) {
    auto group = std::make_shared<NcclGroup>(std::move(name), device_, size, rank, options_);
    const std::lock_guard lock(mutex_);
    std::erase_if(groups_, [](const auto& other) { return other.expired(); });
    groups_.push_back(group);
    return group;
  }

  void abort() noexcept {
    const std::lock_guard lock(mutex_);
    for (const auto& weak : groups_) {
      if (const auto group = weak.lock()) group->abort();
    }
  }

 private:
  void watch() {
    constexpr auto kPause = std::chrono::milliseconds(500);
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, kPause, [this] { return ends_; })) {
      const auto groups = groups_;
      lock.unlock();
      for (const auto& weak : groups) {
        if (const auto group = weak.lock()) look_at(*group);
      }
      lock.lock();
    }
  }

  void look_at(const NcclGroup& group) {
    try {
      group.check_health();
    } catch (const std::exception& error) {
      world_.abort(error.what(), ExitCode::resources);
      abort();
    }
  }

  Device device_;
  NcclOptions options_;
  Communicator& world_;  // of the host
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::weak_ptr<NcclGroup>> groups_;
  bool ends_ = false;
  std::thread watch_;
};

class DoneWork final : public Work {
 public:
  void wait() override {}
  bool is_done() override { return true; }
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, std::shared_ptr<NcclJob> job)
      : Communicator(host->rank(), host->size(), host->name()),
        host_(std::move(host)),
        job_(std::move(job)) {}

  std::string_view backend() const override { return "nccl"; }

  // The group is made now, since it is about to be used. The result may outlive the communicator.
  std::shared_ptr<void> register_buffer(const Tensor& t) override {
    (void)collectives();
    collectives_->register_buffer(t);
    return {nullptr, [link = std::weak_ptr(collectives_), t](void*) {
              if (const auto alive = link.lock()) alive->deregister_buffer(t);
            }};
  }

  void abort(std::string_view reason, ExitCode code) noexcept override {
    host_->abort(reason, code);
    job_->abort();
  }

 private:
  enum class Direction { send, receive };

  void run(Stream& stream, CommCall call) override {
    if (call.kind == CommKind::barrier) {
      if (collectives_) collectives_->synchronize();
      return host_->barrier(*host_stream_);
    }
    start(stream, std::move(call))->wait();
  }

  WorkPtr start(Stream& stream, CommCall call) override {
    if (call.in.device().type == DeviceType::cpu) return start_on_host(stream, call);
    if (!call.is_point_to_point()) return collectives().start(stream, std::move(call));
    if (call.in.numel() == 0) return std::make_shared<DoneWork>();
    return channel(call).start(stream, std::move(call));
  }

  WorkPtr start_on_host(Stream& stream, const CommCall& call);

  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override {
    return std::make_unique<NcclCommunicator>(host_->split(color, key, std::move(name)), job_);
  }

  // Groups and channels are made when they are first used, at the same call on all their ranks: most groups
  // of a layout carry nothing, and NCCL's memory on the device is not small.
  NcclLink& collectives() {
    if (collectives_) return *collectives_;
    const auto group = job_->make_group(name(), size(), rank());
    const Tensor id = rank() == 0 ? group->make_id() : group->room_for_id();
    collectives_ = std::make_shared<NcclLink>(group);
    collectives_->connect(host_->broadcast_async(*host_stream_, id, 0));
    return *collectives_;
  }

  NcclLink& channel(const CommCall& call) {
    const bool sends = call.kind == CommKind::send;
    auto& link = channels_[{call.peer, sends ? Direction::send : Direction::receive}];
    if (link) return *link;
    const int from = sends ? rank() : call.peer, to = sends ? call.peer : rank();
    const auto group = job_->make_group(fmt::format("{}: {} to {}", name(), from, to), 2, sends ? 0 : 1);
    link = std::make_unique<NcclLink>(group);
    link->connect(sends ? host_->send_async(*host_stream_, group->make_id(), to)
                        : host_->receive_async(*host_stream_, group->room_for_id(), from));
    return *link;
  }

  std::unique_ptr<Communicator> host_;
  std::unique_ptr<Stream> host_stream_ = cpu::make_compute_stream();
  std::shared_ptr<NcclJob> job_;
  std::shared_ptr<NcclLink> collectives_;
  std::map<std::pair<int, Direction>, std::unique_ptr<NcclLink>> channels_;
};

WorkPtr NcclCommunicator::start_on_host(Stream& stream, const CommCall& call) {
  switch (call.kind) {
    case CommKind::all_reduce:
      return host_->all_reduce_async(stream, call.in, call.op);
    case CommKind::all_gather:
      return host_->all_gather_async(stream, call.in, call.out);
    case CommKind::reduce_scatter:
      return host_->reduce_scatter_async(stream, call.in, call.out, call.op);
    case CommKind::broadcast:
      return host_->broadcast_async(stream, call.in, call.peer);
    case CommKind::all_to_all:
      return host_->all_to_all_async(stream, call.in, call.out);
    case CommKind::all_to_all_v:
      return host_->all_to_all_v_async(stream, call.in, call.send_counts, call.out, call.receive_counts);
    case CommKind::send:
      return host_->send_async(stream, call.in, call.peer);
    case CommKind::receive:
      return host_->receive_async(stream, call.in, call.peer);
    case CommKind::barrier:
    case CommKind::split:
      break;
  }
  TRIREME_CHECK(false, "{} has no asynchronous form", to_string(call.kind));
}

}  // namespace

std::unique_ptr<Communicator> make_nccl_world(std::unique_ptr<Communicator> host, Device device,
                                              const NcclOptions& options) {
  TRIREME_CHECK(device.type == DeviceType::cuda, "NCCL on {}", to_string(device));
  auto job = std::make_shared<NcclJob>(device, options, *host);
  return std::make_unique<NcclCommunicator>(std::move(host), std::move(job));
}

}  // namespace trireme
