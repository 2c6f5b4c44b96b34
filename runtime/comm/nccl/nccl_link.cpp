#include "runtime/comm/nccl/nccl_link.h"

#include <exception>
#include <utility>

namespace trireme {

namespace {

struct Operation {
  CommCall call;
  std::shared_ptr<Event> ready, done;
};

class LinkWork final : public Work {
 public:
  LinkWork(std::shared_ptr<NcclGroup> group, Stream& stream, std::shared_ptr<Operation> operation,
           WorkPtr launched)
      : group_(std::move(group)),
        stream_(stream),
        operation_(std::move(operation)),
        launched_(std::move(launched)) {}

  // Memory of the tensors goes to new users in the order of the stream: it has to come after the operation.
  ~LinkWork() override {
    if (is_ordered_ || std::uncaught_exceptions() > uncaught_) return;
    try {
      wait();
    } catch (const std::exception&) {  // whoever waits for an operation of this group says so
    }
  }

  void wait() override {
    launched_->wait();
    group_->check_health();
    if (!std::exchange(is_ordered_, true)) stream_.wait(*operation_->done);
  }

  bool is_done() override {
    if (!launched_->is_done()) return false;
    launched_->wait();
    group_->check_health();
    return operation_->done->is_done();
  }

 private:
  int uncaught_ = std::uncaught_exceptions();
  std::shared_ptr<NcclGroup> group_;
  Stream& stream_;
  std::shared_ptr<Operation> operation_;
  WorkPtr launched_;
  bool is_ordered_ = false;
};

}  // namespace

NcclLink::~NcclLink() {
  if (std::uncaught_exceptions() > uncaught_) {
    queue_.detach();
  } else {
    queue_.run([this] { group_->close(); });
  }
}

void NcclLink::connect(WorkPtr id_arrives) {
  connected_ = queue_.push([group = group_, arrival = std::move(id_arrives)] {
    arrival->wait();
    group->make();
  });
}

WorkPtr NcclLink::start(Stream& stream, CommCall call) {
  auto operation = std::make_shared<Operation>(Operation{std::move(call), stream.record(), nullptr});
  auto launched = queue_.push([group = group_, connected = connected_, operation] {
    connected->wait();  // is done; it throws what went wrong
    operation->done = group->launch(operation->call, *operation->ready);
  });
  return std::make_shared<LinkWork>(group_, stream, std::move(operation), std::move(launched));
}

void NcclLink::register_buffer(const Tensor& t) {
  queue_.run([group = group_, connected = connected_, t] {
    connected->wait();
    group->register_buffer(t);
  });
}

// While an exception unwinds nothing is waited for, and the group is left as it is.
void NcclLink::deregister_buffer(const Tensor& t) noexcept {
  if (std::uncaught_exceptions() > uncaught_) return;
  try {
    queue_.run([group = group_, t] { group->deregister_buffer(t); });
  } catch (const std::exception&) {  // whoever uses the group next says so
  }
}

void NcclLink::synchronize() {
  queue_.run([this] { group_->synchronize(); });
}

}  // namespace trireme
