#include "runtime/comm/threads/thread_communicator.h"

#include <exception>
#include <thread>

#include "runtime/comm/host_staging.h"
#include "runtime/comm/threads/thread_group.h"
#include "runtime/comm/work_queue.h"

namespace trireme {

namespace {

class MessageWork final : public Work {
 public:
  MessageWork(std::shared_ptr<ThreadGroup> group, std::shared_ptr<ThreadGroup::Message> message)
      : group_(std::move(group)), message_(std::move(message)) {}
  void wait() override { group_->await(*message_); }
  bool is_done() override { return group_->is_done(*message_); }

 private:
  std::shared_ptr<ThreadGroup> group_;
  std::shared_ptr<ThreadGroup::Message> message_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadGroup> group, int rank,
                     std::shared_ptr<HostStaging> staging = std::make_shared<HostStaging>())
      : Communicator(rank, group->size(), group->name()),
        group_(std::move(group)),
        staging_(std::move(staging)) {}

  // While an exception unwinds, the other ranks may never come to what is still queued.
  ~ThreadCommunicator() override {
    if (std::uncaught_exceptions() > uncaught_ && queue_.pending())
      abort("an exception left operations behind", ExitCode::internal);
  }

  std::string_view backend() const override { return "threads"; }
  std::vector<int> world_ranks() const override { return group_->world_ranks(); }

  void abort(std::string_view reason, ExitCode) noexcept override {
    group_->job().abort(group_->world_rank(rank()), reason);
  }

 private:
  void run(Stream& stream, CommCall call) override {
    if (call.is_point_to_point()) return start(stream, std::move(call))->wait();
    const auto ready = stream.record();
    queue_.run([&] {
      staging_->collective(*ready, call, rank(), [&](const CommCall& c) { group_->collective(rank(), c); });
    });
  }

  WorkPtr start(Stream& stream, CommCall call) override {
    if (call.is_point_to_point()) {
      return staging_->message(stream, std::move(call), [this](const CommCall& c) {
        return std::make_shared<MessageWork>(group_, group_->post(rank(), c));
      });
    }
    return queue_.push(
        [group = group_, staging = staging_, rank = rank(), ready = stream.record(), call = std::move(call)] {
          staging->collective(*ready, call, rank, [&](const CommCall& c) { group->collective(rank, c); });
        });
  }

  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override {
    ThreadGroup::Split split;
    queue_.run([&] { split = group_->split(rank(), color, key, name); });
    return std::make_unique<ThreadCommunicator>(split.group, split.rank, staging_);
  }

  int uncaught_ = std::uncaught_exceptions();
  std::shared_ptr<ThreadGroup> group_;
  std::shared_ptr<HostStaging> staging_;
  WorkQueue queue_;
};

std::string text_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception of an unknown type";
  }
}

}  // namespace

void run_thread_ranks(int num_ranks, const std::function<void(Communicator& world)>& body) {
  TRIREME_CHECK(num_ranks >= 1, "{} ranks", num_ranks);
  std::vector<int> world_ranks;
  for (int r = 0; r < num_ranks; ++r) world_ranks.push_back(r);
  const auto job = std::make_shared<ThreadJob>();
  const auto group = std::make_shared<ThreadGroup>(job, "world", world_ranks);
  std::vector<std::exception_ptr> errors(world_ranks.size());
  std::vector<std::thread> threads;
  for (const int r : world_ranks) {
    threads.emplace_back([&, r] {
      ThreadCommunicator world(group, r);
      try {
        body(world);
      } catch (...) {
        errors[static_cast<size_t>(r)] = std::current_exception();
        job->abort(r, text_of(errors[static_cast<size_t>(r)]));
      }
    });
  }
  for (std::thread& t : threads) t.join();
  const int culprit = job->culprit();
  if (culprit >= 0 && errors[static_cast<size_t>(culprit)])
    std::rethrow_exception(errors[static_cast<size_t>(culprit)]);
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace trireme
