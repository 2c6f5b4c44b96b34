// Delays in the places where a run can lose time, without a line for them in the program: ops, the transfers
// of a group, and the pages of a token file take longer.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "runtime/comm/comm_call.h"
#include "runtime/comm/communicator.h"
#include "runtime/ops/op_observer.h"

namespace trireme::test {

/// What is planted into a rank's step, at the first opportunity of each.
struct StepDelays {
  std::chrono::nanoseconds in_passes{}, in_update{}, in_transfers{};
};

/// The first matrix product of a step takes longer, and the first op of the optimizer.
class SlowOps final : public OpObserver {
 public:
  explicit SlowOps(StepDelays& delays) : delays_(delays) {}
  void begin(Context& ctx, const OpCall& call) override;
  void end(Context&) override {}

 private:
  StepDelays& delays_;
};

/// A group, and all that are split from it. In those of the name, the first operation of the kind in a step
/// lasts longer once all its members have come to it; a message, once it has arrived.
class SlowTransfers final : public Communicator {
 public:
  struct Where {
    std::string group;
    CommKind kind = CommKind::all_reduce;
  };
  /// All but `owned` outlive it.
  SlowTransfers(Communicator& ranks, StepDelays& delays, Where where,
                std::unique_ptr<Communicator> owned = nullptr)
      : Communicator(ranks.rank(), ranks.size(), ranks.name()),
        owned_(std::move(owned)),
        ranks_(ranks),
        delays_(delays),
        where_(std::move(where)) {}

  std::string_view backend() const override { return ranks_.backend(); }
  std::vector<int> world_ranks() const override { return ranks_.world_ranks(); }
  void abort(std::string_view reason, ExitCode code) noexcept override { ranks_.abort(reason, code); }

 private:
  class Transfer;
  void run(Stream& stream, CommCall call) override;
  WorkPtr start(Stream& stream, CommCall call) override;
  std::unique_ptr<Communicator> split_into(int color, int key, std::string name) override;
  void last_longer(CommKind kind);

  std::unique_ptr<Communicator> owned_;
  Communicator& ranks_;
  StepDelays& delays_;
  Where where_;
};

/// The pages of a file that this process has mapped. Until it is told to forget, a read after each forget()
/// takes as long as from slow storage: the first touch faults, and the fault takes `delay`.
class SlowPages {
 public:
  /// `path` is mapped once.
  explicit SlowPages(const std::string& path);
  ~SlowPages();
  SlowPages(const SlowPages&) = delete;
  SlowPages& operator=(const SlowPages&) = delete;
  void forget(std::chrono::nanoseconds delay);

 private:
  size_t place_;  // in the table of the signal handler
};

}  // namespace trireme::test
