#include "runtime/comm/nccl/nccl_communicator.h"

#include <map>
#include <utility>

#include "runtime/comm/done_work.h"
#include "runtime/comm/nccl/nccl_launcher.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme {

namespace {

/// A group that is ended with its communicator.
class Link {
 public:
  Link(std::shared_ptr<NcclLauncher> launcher, std::shared_ptr<NcclGroup> group)
      : launcher_(std::move(launcher)), group_(std::move(group)) {}
  ~Link() { launcher_->close(group_); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  WorkPtr start(Stream& stream, CommCall call, std::shared_ptr<CallComparison> comparison = nullptr) {
    return launcher_->start(group_, stream, std::move(call), std::move(comparison));
  }
  void synchronize() {
    launcher_->run(group_, [this] {
      group_->synchronize();
      group_->look();
      group_->check_health();
    });
  }
  void register_buffer(const Tensor& t) {
    launcher_->run(group_, [this, &t] { group_->register_buffer(t); });
  }
  // While an exception unwinds nothing is waited for, and the group is left as it is.
  void deregister_buffer(const Tensor& t) noexcept {
    if (std::uncaught_exceptions() > uncaught_) return;
    try {
      launcher_->run(group_, [this, &t] { group_->deregister_buffer(t); });
    } catch (const std::exception&) {  // whoever uses the group next says so
    }
  }

 private:
  int uncaught_ = std::uncaught_exceptions();
  std::shared_ptr<NcclLauncher> launcher_;
  std::shared_ptr<NcclGroup> group_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, std::shared_ptr<NcclLauncher> launcher)
      : Communicator(host->rank(), host->size(), host->name()),
        host_(std::move(host)),
        launcher_(std::move(launcher)) {}

  std::string_view backend() const override { return "nccl"; }
  std::vector<int> world_ranks() const override { return host_->world_ranks(); }

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
    launcher_->abort();
  }

 private:
  void run(Stream& stream, CommCall call) override {
    if (call.kind == CommKind::barrier) {
      if (collectives_) collectives_->synchronize();
      return host_->barrier(*host_stream_);
    }
    start(stream, std::move(call))->wait();
  }

  WorkPtr start(Stream& stream, CommCall call) override {
    if (call.in.device().type == DeviceType::cpu) return start_on_host(stream, call);
    if (!call.is_point_to_point()) {
      Link& link = collectives();
      std::shared_ptr<CallComparison> comparison;
      if (call.check != CallCheck::backend)
        comparison = std::make_shared<CallComparison>(*host_, *host_stream_, call);
      return link.start(stream, std::move(call), std::move(comparison));
    }
    if (call.in.numel() == 0) return std::make_shared<DoneWork>();
    return channel(call).start(stream, std::move(call));
  }

  WorkPtr start_on_host(Stream& stream, const CommCall& call);

  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override {
    return std::make_unique<NcclCommunicator>(host_->split(color, key, std::move(name)), launcher_);
  }

  // Groups and channels are made when they are first used, at the same call on all their ranks: most groups
  // of a layout carry nothing, and NCCL's memory on the device is not small.
  Link& collectives() {
    if (collectives_) return *collectives_;
    const auto group = launcher_->make_group(NcclGroup::Kind::collectives, name(), size(), rank());
    const Tensor id = rank() == 0 ? group->make_id() : group->room_for_id();
    launcher_->connect(group, host_->broadcast_async(*host_stream_, id, 0));
    collectives_ = std::make_shared<Link>(launcher_, group);
    return *collectives_;
  }

  Link& channel(const CommCall& call) {
    const bool sends = call.kind == CommKind::send;
    const int from = sends ? rank() : call.peer, to = sends ? call.peer : rank();
    auto& link = channels_[{call.peer, from < to}];
    if (link) return *link;
    const auto group = launcher_->make_group(NcclGroup::Kind::channel,
                                             fmt::format("{}: {} to {}", name(), from, to), 2, sends ? 0 : 1);
    launcher_->connect(group, sends ? host_->send_async(*host_stream_, group->make_id(), to)
                                    : host_->receive_async(*host_stream_, group->room_for_id(), from));
    link = std::make_unique<Link>(launcher_, group);
    return *link;
  }

  std::unique_ptr<Communicator> host_;
  std::unique_ptr<Stream> host_stream_ = cpu::make_compute_stream();
  std::shared_ptr<NcclLauncher> launcher_;
  std::shared_ptr<Link> collectives_;
  // By peer and direction, upwards or downwards; both ranks end the two of a pair in one order.
  std::map<std::pair<int, bool>, std::unique_ptr<Link>> channels_;
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
  auto launcher = std::make_shared<NcclLauncher>(device, options, *host);
  // What goes through the host is recorded once, as the call that was made.
  Recorder* const recorder = host->recorder();
  host->set_recorder(nullptr);
  auto world = std::make_unique<NcclCommunicator>(std::move(host), std::move(launcher));
  world->set_recorder(recorder);
  return world;
}

}  // namespace trireme
