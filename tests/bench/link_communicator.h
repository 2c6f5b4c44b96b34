// A communicator over a link of a given speed, so that overlap can be measured where memory is too fast.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/comm/comm_call.h"

namespace trireme {

/// What the ranks of a group of threads, all of which send equally much, know of their link.
class Link {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Link(double bytes_per_second) : bytes_per_second_(bytes_per_second) {}

  double seconds(int64_t bytes) const { return static_cast<double>(bytes) / bytes_per_second_; }
  /// A rank has begun transfer `number`, which starts with the last of them.
  void post(size_t number) {
    const std::lock_guard lock(mutex_);
    if (posted_.size() <= number) posted_.resize(number + 1);
    posted_[number] = std::max(posted_[number], Clock::now());
  }
  Clock::time_point posted(size_t number) {
    const std::lock_guard lock(mutex_);
    return posted_[number];
  }

 private:
  double bytes_per_second_;
  std::mutex mutex_;
  std::vector<Clock::time_point> posted_;
};

/// All-to-alls of another communicator. Those with counts last as long as the link needs for what leaves this
/// rank, one after the other; meanwhile no core is used, as where a network card moves the bytes. They are
/// waited for in the order in which they were started.
class LinkCommunicator final : public Communicator {
 public:
  /// All outlive it.
  LinkCommunicator(Communicator& ranks, Link& link)
      : Communicator(ranks.rank(), ranks.size(), ranks.name()), ranks_(ranks), link_(link) {}

  std::string_view backend() const override { return ranks_.backend(); }
  std::vector<int> world_ranks() const override { return ranks_.world_ranks(); }
  void abort(std::string_view reason, ExitCode code) noexcept override { ranks_.abort(reason, code); }

  /// How long the link was used, and for how much of that the host stood in Work::wait(): without the time
  /// until the other ranks began the transfer, too.
  double seconds_used() const { return used_; }
  double seconds_exposed() const { return exposed_; }
  void clear() { used_ = exposed_ = 0; }

 private:
  using Clock = Link::Clock;

  class Transfer final : public Work {
   public:
    Transfer(LinkCommunicator& on, WorkPtr work, size_t number, double seconds)
        : on_(on), work_(std::move(work)), number_(number), seconds_(seconds) {}
    void wait() override {
      const auto begin = Clock::now();
      work_->wait();
      const auto posted = on_.link_.posted(number_);
      on_.free_ = std::max(on_.free_, posted) +
                  std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds_));
      const std::chrono::duration<double> exposed = on_.free_ - std::max(begin, posted);
      on_.exposed_ += std::max(0.0, exposed.count());
      std::this_thread::sleep_until(on_.free_);
    }
    bool is_done() override { return false; }

   private:
    LinkCommunicator& on_;
    WorkPtr work_;
    size_t number_;
    double seconds_;
  };

  void run(Stream& stream, CommCall call) override {
    TRIREME_CHECK(call.kind == CommKind::all_to_all, "a link that carries {}", to_string(call.kind));
    ranks_.all_to_all(stream, call.in, call.out);
  }
  WorkPtr start(Stream& stream, CommCall call) override {
    TRIREME_CHECK(call.kind == CommKind::all_to_all_v, "a link that carries {}", to_string(call.kind));
    const int64_t leaving = call.in.numel() - call.send_counts[static_cast<size_t>(rank())];
    const double seconds = link_.seconds(leaving * static_cast<int64_t>(size_of(call.in.dtype())));
    used_ += seconds;
    link_.post(num_started_);
    return std::make_shared<Transfer>(
        *this, ranks_.all_to_all_v_async(stream, call.in, call.send_counts, call.out, call.receive_counts),
        num_started_++, seconds);
  }
  std::unique_ptr<Communicator> split_into(int, int, std::string) override {
    throw InternalError("a link is not split");
  }

  Communicator& ranks_;
  Link& link_;
  size_t num_started_ = 0;
  double used_ = 0, exposed_ = 0;
  Clock::time_point free_;  // from when on the link is
};

}  // namespace trireme
