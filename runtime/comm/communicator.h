// Communicator: collectives among a group of ranks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/comm/comm_kind.h"
#include "runtime/tensor/tensor.h"

namespace trireme {

/// What ranks compare of a collective before its data moves, beyond what the backend does by itself: kind,
/// types, counts and root on all but NCCL, where any but `backend` compares these too.
enum class CallCheck : uint8_t {
  backend,
  step,  ///< and the step in which the call is made (CallSite)
  site,  ///< and the phase, micro-batch and layer: where all ranks of the group run the same layers
};

struct CommCall;
class CallRing;
class Recorder;
enum class Phase : uint8_t;

/// An operation in flight. It keeps the storage of its tensors alive; borrowed memory is the caller's to
/// keep.
class Work {
 public:
  virtual ~Work() = default;
  /// Orders the stream the operation was issued with after it (on the CPU: blocks until it is done). Throws
  /// what the operation threw.
  virtual void wait() = 0;
  /// Whether the operation is over, so that wait() would return, or throw, at once and hold nothing up.
  /// Asking also moves the operation forward where the backend needs calls for that.
  virtual bool is_done() = 0;
};
using WorkPtr = std::shared_ptr<Work>;

/// A call that a rank may have to wait for.
struct WaitedCall {
  std::string_view group;
  /// Of its communicator, among the world and all that were split from it: equal on all ranks, which make the
  /// same splits.
  int communicator = 0;
  CommKind kind = CommKind::barrier;
  int peer = -1;  ///< of a message; -1: a collective, whatever its root
  /// From 0, in the order of the calls: collectives among those of the communicator, messages among those of
  /// the same peer and direction, so that equal numbers belong together.
  int64_t number = 0;
};

/// Sees where a rank, or on a device its stream, is held up by others. Of the thread that calls.
class WaitObserver {
 public:
  virtual ~WaitObserver() = default;
  /// A call is about to be handed over, after all that was submitted to the stream.
  virtual void post(Stream&, const WaitedCall&) {}
  /// Around each blocking operation and each Work::wait(). No end follows where the call throws.
  virtual void begin_wait(Stream& stream, const WaitedCall& call) = 0;
  virtual void end_wait(Stream& stream, const WaitedCall& call) = 0;
};

/// A group of ranks that call the same operations in the same order. Every call is made by all ranks of the
/// group (send and receive: by the pair), with equal types, counts and options; a rank that throws aborts the
/// group, and the others throw an EnvironmentError that names it instead of waiting.
///
/// Order: collectives of one communicator run one after the other in the order of the calls, blocking and
/// asynchronous alike. Point-to-point calls are ordered only among those of the same peer and direction
/// (messages of a pair arrive in the order they were sent), not to collectives: so two ranks may both call
/// send_async and then receive_async without waiting for each other. Operations start after the work
/// submitted so far to the stream passed in. Tensors of an asynchronous operation are left alone until its
/// Work was waited for. Two communicators are not ordered to one another (over NCCL, ranks that have several
/// groups in common begin the collectives of those in one order, as a program does that runs on all of them).
/// A communicator is used by one thread at a time (abort: by any).
///
/// Types: all (reductions: all but those of one byte). Floating-point sums are carried out in
/// the order of the ranks, those of bf16 and f16 in fp32 and rounded once, so no bit depends on the backend
/// or on how data is cut into calls (NCCL has an order of its own: nccl_communicator.h). Counts are 64-bit.
/// The result of a reduction is equal on all ranks, bit for bit, and from run to run. Tensors lie on the
/// stream's device (a stream of the host, for tensors there, serves every communicator) and must not overlap
/// but where a call says so. Arguments that break the contract throw InternalError on the rank that passed
/// them, before anything is sent.
///
/// The public calls are not virtual: they check, and hand over to the backend's private functions.
class Communicator {
 public:
  virtual ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// What the group is for ("world", "data", "tensor"): named in errors.
  const std::string& name() const { return name_; }
  /// "self", "mpi", "threads" or "nccl".
  virtual std::string_view backend() const = 0;
  /// The group's ranks as ranks of the job, in the order of the group. Waits for nobody.
  virtual std::vector<int> world_ranks() const = 0;

  /// t = the reduction over all ranks, in place.
  void all_reduce(Stream& stream, const Tensor& t, ReduceOp op = ReduceOp::sum);
  [[nodiscard]] WorkPtr all_reduce_async(Stream& stream, const Tensor& t, ReduceOp op = ReduceOp::sum);

  /// out = the ranks' `in` one after the other; out has size() * in.numel() elements. `in` may be this rank's
  /// part of `out`.
  void all_gather(Stream& stream, const Tensor& in, const Tensor& out);
  [[nodiscard]] WorkPtr all_gather_async(Stream& stream, const Tensor& in, const Tensor& out);

  /// out = this rank's part (in.numel() / size() elements) of the reduction of `in`. `out` may be that part
  /// of `in`; `in` is scratch afterwards in that case.
  void reduce_scatter(Stream& stream, const Tensor& in, const Tensor& out, ReduceOp op = ReduceOp::sum);
  [[nodiscard]] WorkPtr reduce_scatter_async(Stream& stream, const Tensor& in, const Tensor& out,
                                             ReduceOp op = ReduceOp::sum);

  /// t = root's t.
  void broadcast(Stream& stream, const Tensor& t, int root);
  [[nodiscard]] WorkPtr broadcast_async(Stream& stream, const Tensor& t, int root);

  /// Part r of `in` goes to rank r, whose part of `out` it becomes at this rank's place. in.numel() is a
  /// multiple of size().
  void all_to_all(Stream& stream, const Tensor& in, const Tensor& out);
  [[nodiscard]] WorkPtr all_to_all_async(Stream& stream, const Tensor& in, const Tensor& out);
  /// As all_to_all with parts of any length (also 0): counts in elements, one a rank, packed one after the
  /// other.
  void all_to_all_v(Stream& stream, const Tensor& in, std::span<const int64_t> send_counts, const Tensor& out,
                    std::span<const int64_t> receive_counts);
  [[nodiscard]] WorkPtr all_to_all_v_async(Stream& stream, const Tensor& in,
                                           std::span<const int64_t> send_counts, const Tensor& out,
                                           std::span<const int64_t> receive_counts);

  /// Point to point, with another rank than this one. Sender and receiver name the same number of elements,
  /// and the same `label` (23 characters count): what the message is. A message of another length or label
  /// throws InternalError on the receiver, and is never written beyond its tensor; NCCL alone carries neither
  /// and has nothing that could compare them. A blocking send may return before the message is received, and
  /// need not.
  void send(Stream& stream, const Tensor& t, int to, std::string_view label = {});
  void receive(Stream& stream, const Tensor& t, int from, std::string_view label = {});
  [[nodiscard]] WorkPtr send_async(Stream& stream, const Tensor& t, int to, std::string_view label = {});
  [[nodiscard]] WorkPtr receive_async(Stream& stream, const Tensor& t, int from, std::string_view label = {});

  /// Returns when all ranks have called it and their earlier collectives are done.
  void barrier(Stream& stream);

  /// A communicator of the ranks that pass the same `color` (0 or more), ordered by (key, rank). Every rank
  /// of the group calls it.
  std::unique_ptr<Communicator> split(int color, int key, std::string name);

  /// Prepares memory that collectives are to use again and again, as long as the result lives, where the
  /// backend gains by it (NCCL: user buffer registration). Every rank of the group calls it.
  [[nodiscard]] virtual std::shared_ptr<void> register_buffer(const Tensor&) { return nullptr; }

  /// Exposed communication of this rank's host so far: time in blocking operations and in Work::wait(), late
  /// ranks included. On CUDA the stream waits, not the host.
  double seconds_waited() const;
  /// The same of this group and of all that were split from it, but for groups of another thread (record_as).
  double seconds_waited_with_parts() const;
  /// Tells `observer` of every call and wait of this group, and of all that belong to its parts(), from now
  /// on. It must outlive its registration. Not during a call.
  void observe_waits(WaitObserver& observer);
  void ignore_waits(WaitObserver& observer);
  /// This group and all those of more than one rank that were split from it and live, by WaitedCall's number:
  /// in an order that all ranks share. But for groups of another thread (record_as).
  std::vector<std::pair<int, Communicator*>> parts() const;

  /// Records every call of this communicator, and of all that are split from it, from now on; null: none. All
  /// ranks do so at the same call of theirs, so that their records have equal numbers. The recorder outlives
  /// them.
  void set_recorder(Recorder* recorder);
  Recorder* recorder() const { return recorder_; }
  /// How the collectives of this communicator are checked from now on, and those of all that are split from
  /// it; equal on all ranks, which have a recorder. A mismatch throws InternalError on all of them, which
  /// says who calls what, and where. Costs an exchange of 24 bytes (NCCL: 100 bytes a rank through the host).
  void set_call_check(CallCheck check) { call_check_ = check; }
  CallCheck call_check() const { return call_check_; }
  /// Calls are recorded in this phase from now on, wherever the thread that computes is: for a communicator
  /// of another thread.
  void record_as(Phase phase);
  /// Bytes this rank has sent in all-to-alls of both kinds so far, without its own part.
  int64_t bytes_exchanged() const { return bytes_exchanged_; }

  /// Makes every pending and later operation of all ranks of the job fail instead of waiting. Safe to call
  /// from any thread; never waits. Where ranks are processes it ends them all, this one included, with
  /// `code`.
  virtual void abort(std::string_view reason, ExitCode code = ExitCode::internal) noexcept = 0;

 protected:
  Communicator(int rank, int size, std::string name);

 private:
  /// Carries out a call whose arguments were checked. `run` returns when it is done (CPU) or in the stream's
  /// order (CUDA).
  virtual void run(Stream& stream, CommCall call) = 0;
  virtual WorkPtr start(Stream& stream, CommCall call) = 0;
  virtual std::unique_ptr<Communicator> split_into(int color, int key, std::string name) = 0;

  struct Family;
  struct Waits;
  class CountedWork;
  void join(std::shared_ptr<Family> family);
  void leave() noexcept;
  WaitedCall number(const CommCall& call);
  void count_bytes(const CommCall& call);
  void make_ring(uint64_t id, std::vector<int> members);
  void record(CommCall& call) const;
  void run_counted(Stream& stream, CommCall call);
  WorkPtr start_counted(Stream& stream, CommCall call);

  int rank_;
  int size_;
  std::string name_;
  std::shared_ptr<Waits> waits_;  // of works that outlive the communicator too
  int64_t bytes_exchanged_ = 0;
  Recorder* recorder_ = nullptr;
  std::shared_ptr<CallRing> ring_;  // null: calls are not recorded
  int recorded_phase_ = -1;         // record_as(); -1: that of the recorder
  int64_t num_splits_ = 0;
  CallCheck call_check_ = CallCheck::backend;
};

}  // namespace trireme
