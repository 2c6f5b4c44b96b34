#include "runtime/comm/mpi/mpi_communicator.h"

#include <exception>
#include <utility>

#include <mpi.h>

#include "runtime/comm/host_staging.h"
#include "runtime/comm/mpi/mpi_group.h"
#include "runtime/comm/work_queue.h"

namespace trireme {

namespace {

class MpiMessageWork final : public Work {
 public:
  MpiMessageWork(std::shared_ptr<MpiGroup> group, CommCall call)
      : group_(std::move(group)),
        call_(std::move(call)),
        header_(std::make_unique<MessageHeader>(header_of(call_))),
        requests_(group_->post(call_, *header_)) {
    group_->progress().begin();
  }

  // MPI may still read and write the tensor: it is waited for, or, where an exception is about to end the
  // job, left behind.
  ~MpiMessageWork() override {
    if (requests_.empty()) return;
    if (std::uncaught_exceptions() > uncaught_) {
      leave_behind();
    } else {
      for (MPI_Request& request : requests_) MPI_Wait(&request, MPI_STATUS_IGNORE);
      group_->progress().end();
    }
  }

  // One by one: with several threads, MPI_Waitall of Open MPI 4.1 never returns when a request had failed
  // before. The header comes first: a message that is another one may never come in this length.
  void wait() override {
    if (requests_.empty()) return;
    const bool receives = call_.kind == CommKind::receive;
    group_->progress().end();
    const std::vector<MPI_Request> requests = std::exchange(requests_, {});
    for (size_t i = 0; i < requests.size(); ++i) {
      MPI_Request request = requests[i];
      group_->check(MPI_Wait(&request, MPI_STATUS_IGNORE),
                    receives ? "MPI_Wait (receive)" : "MPI_Wait (send)");
      if (i == 0 && receives) check_header();
    }
  }

  // Leaves the requests as they are, for wait() to take their errors and sizes.
  bool is_done() override {
    return std::ranges::all_of(requests_, [&](MPI_Request request) {
      int done = 0;
      group_->check(MPI_Request_get_status(request, &done, MPI_STATUS_IGNORE), "MPI_Request_get_status");
      return done != 0;
    });
  }

 private:
  void check_header() {
    const std::string mismatch =
        describe_mismatch(group_->name(), call_.peer, *header_, group_->rank(), header_of(call_));
    if (mismatch.empty()) return;
    leave_behind();
    throw InternalError(mismatch);
  }

  void leave_behind() {
    new Tensor(call_.in);
    (void)header_.release();
  }

  int uncaught_ = std::uncaught_exceptions();
  std::shared_ptr<MpiGroup> group_;
  CommCall call_;
  std::unique_ptr<MessageHeader> header_;  // sent, or received into
  std::vector<MPI_Request> requests_;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(std::shared_ptr<MpiGroup> group, std::shared_ptr<HostStaging> staging)
      : Communicator(group->rank(), group->size(), group->name()),
        group_(std::move(group)),
        staging_(std::move(staging)) {}

  // An operation in flight cannot be called back: while an exception unwinds nothing is waited for, since the
  // job is about to end.
  ~MpiCommunicator() override {
    if (std::uncaught_exceptions() > uncaught_) {
      queue_.detach();
    } else {
      queue_.run([&] { group_->free(); });
    }
  }

  std::string_view backend() const override { return "mpi"; }
  std::vector<int> world_ranks() const override { return group_->world_ranks(); }

  void abort(std::string_view reason, ExitCode code) noexcept override {
    const std::string line = fmt::format("communicator '{}', rank {}: {}\n", name(), rank(), reason);
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
    MpiEnvironment::abort(code);
  }

 private:
  void run(Stream& stream, CommCall call) override {
    if (call.is_point_to_point()) return start(stream, std::move(call))->wait();
    const auto ready = stream.record();
    queue_.run([&] {
      staging_->collective(*ready, call, rank(), [&](const CommCall& c) { group_->collective(c); });
    });
  }

  WorkPtr start(Stream& stream, CommCall call) override {
    if (call.is_point_to_point()) {
      return staging_->message(stream, std::move(call), [this](CommCall c) {
        return std::make_shared<MpiMessageWork>(group_, std::move(c));
      });
    }
    return queue_.push([group = group_, staging = staging_, ready = stream.record(), call = std::move(call)] {
      staging->collective(*ready, call, group->rank(), [&](const CommCall& c) { group->collective(c); });
    });
  }

  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override {
    std::shared_ptr<MpiGroup> part;
    queue_.run([&] { part = group_->split(color, key, std::move(name)); });
    return std::make_unique<MpiCommunicator>(std::move(part), staging_);
  }

  int uncaught_ = std::uncaught_exceptions();
  std::shared_ptr<MpiGroup> group_;
  std::shared_ptr<HostStaging> staging_;
  WorkQueue queue_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_world(const MpiOptions& options) {
  MPI_Comm comm = MPI_COMM_NULL;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  mpi::check(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup", "world", rank);
  return std::make_unique<MpiCommunicator>(std::make_shared<MpiGroup>(comm, "world", options),
                                           std::make_shared<HostStaging>());
}

}  // namespace trireme
