#include "runtime/comm/communicator.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "runtime/base/philox.h"
#include "runtime/comm/comm_call.h"
#include "runtime/comm/record/recorder.h"

namespace trireme {

namespace {

/// The checks of one call: messages name the operation, the communicator and the argument.
class Check {
 public:
  Check(CommKind kind, const Communicator& comm, const Stream& stream)
      : where_(fmt::format("{} on communicator '{}'", to_string(kind), comm.name())),
        comm_(comm),
        device_(stream.device()) {}

  void tensor(const char* argument, const Tensor& t) const {
    TRIREME_CHECK(t, "{}: {} is undefined", where_, argument);
    TRIREME_CHECK(t.device() == device_, "{}: {} lies on {}, the stream is of {}", where_, argument,
                  to_string(t.device()), to_string(device_));
  }
  void pair(const Tensor& in, const Tensor& out) const {
    tensor("in", in);
    tensor("out", out);
    TRIREME_CHECK(in.dtype() == out.dtype(), "{}: in is {}, out is {}", where_, to_string(in.dtype()),
                  to_string(out.dtype()));
  }
  void reducible(const Tensor& t) const {
    TRIREME_CHECK(size_of(t.dtype()) > 1, "{}: {} cannot be reduced", where_, to_string(t.dtype()));
  }
  void parts(const char* whole_name, const Tensor& whole, const Tensor& part) const {
    TRIREME_CHECK(whole.numel() == comm_.size() * part.numel(),
                  "{}: {} has {} elements, not {} ranks times {}", where_, whole_name, whole.numel(),
                  comm_.size(), part.numel());
    const std::byte* own = begin(whole) + comm_.rank() * part.bytes();
    TRIREME_CHECK(begin(part) == own || disjoint(whole, part),
                  "{}: in and out overlap other than at this rank's part", where_);
  }
  void apart(const Tensor& in, const Tensor& out) const {
    TRIREME_CHECK(disjoint(in, out), "{}: in and out overlap", where_);
  }
  void counts(const char* argument, const Tensor& t, std::span<const int64_t> counts) const {
    TRIREME_CHECK(static_cast<int>(counts.size()) == comm_.size(), "{}: {} counts of {} for {} ranks", where_,
                  counts.size(), argument, comm_.size());
    TRIREME_CHECK(std::ranges::all_of(counts, [](int64_t c) { return c >= 0; }),
                  "{}: a count of {} is negative", where_, argument);
    const int64_t total = std::accumulate(counts.begin(), counts.end(), int64_t{0});
    TRIREME_CHECK(total == t.numel(), "{}: the counts of {} sum to {}, it has {} elements", where_, argument,
                  total, t.numel());
  }
  void root(int root) const {
    TRIREME_CHECK(0 <= root && root < comm_.size(), "{}: rank {} of {} ranks", where_, root, comm_.size());
  }
  void peer(int peer) const {
    root(peer);
    TRIREME_CHECK(peer != comm_.rank(), "{}: the peer of rank {} is itself", where_, peer);
  }

 private:
  static const std::byte* begin(const Tensor& t) { return static_cast<const std::byte*>(t.raw()); }
  static bool disjoint(const Tensor& a, const Tensor& b) {
    return a.numel() == 0 || b.numel() == 0 || begin(a) + a.bytes() <= begin(b) ||
           begin(b) + b.bytes() <= begin(a);
  }

  std::string where_;
  const Communicator& comm_;
  Device device_;
};

CommCall all_reduce_call(const Communicator& comm, const Stream& stream, const Tensor& t, ReduceOp op) {
  const Check check(CommKind::all_reduce, comm, stream);
  check.tensor("t", t);
  check.reducible(t);
  return {.kind = CommKind::all_reduce, .in = t, .out = t, .op = op};
}

CommCall all_gather_call(const Communicator& comm, const Stream& stream, const Tensor& in,
                         const Tensor& out) {
  const Check check(CommKind::all_gather, comm, stream);
  check.pair(in, out);
  check.parts("out", out, in);
  return {.kind = CommKind::all_gather, .in = in, .out = out};
}

CommCall reduce_scatter_call(const Communicator& comm, const Stream& stream, const Tensor& in,
                             const Tensor& out, ReduceOp op) {
  const Check check(CommKind::reduce_scatter, comm, stream);
  check.pair(in, out);
  check.reducible(in);
  check.parts("in", in, out);
  return {.kind = CommKind::reduce_scatter, .in = in, .out = out, .op = op};
}

CommCall broadcast_call(const Communicator& comm, const Stream& stream, const Tensor& t, int root) {
  const Check check(CommKind::broadcast, comm, stream);
  check.tensor("t", t);
  check.root(root);
  return {.kind = CommKind::broadcast, .in = t, .out = t, .peer = root};
}

CommCall all_to_all_call(CommKind kind, const Communicator& comm, const Stream& stream, const Tensor& in,
                         std::span<const int64_t> send_counts, const Tensor& out,
                         std::span<const int64_t> receive_counts) {
  const Check check(kind, comm, stream);
  check.pair(in, out);
  check.counts("in", in, send_counts);
  check.counts("out", out, receive_counts);
  check.apart(in, out);
  return {.kind = kind,
          .in = in,
          .out = out,
          .send_counts = {send_counts.begin(), send_counts.end()},
          .receive_counts = {receive_counts.begin(), receive_counts.end()}};
}

CommCall all_to_all_call(const Communicator& comm, const Stream& stream, const Tensor& in,
                         const Tensor& out) {
  Check(CommKind::all_to_all, comm, stream).tensor("in", in);
  const std::vector<int64_t> counts(static_cast<size_t>(comm.size()), in.numel() / comm.size());
  return all_to_all_call(CommKind::all_to_all, comm, stream, in, counts, out, counts);
}

CommCall message_call(CommKind kind, const Communicator& comm, const Stream& stream, const Tensor& t,
                      int peer, std::string_view label) {
  const Check check(kind, comm, stream);
  check.tensor("t", t);
  check.peer(peer);
  return {.kind = kind, .in = t, .out = t, .peer = peer, .label = std::string(label)};
}

/// Whether wait() means that an operation is done, and not only that the stream comes after it.
bool is_of_host(const Stream& stream) { return stream.device().type == DeviceType::cpu; }

}  // namespace

/// What a group and all that were split from it have in common.
struct Communicator::Family {
  std::atomic<int64_t> nanoseconds = 0;  // waited
  std::vector<WaitObserver*> observers;
  std::vector<std::pair<int, Communicator*>> members;
  int num_members = 0;  // so far
};

/// How a group waits, and for how long it has.
struct Communicator::Waits {
  std::string group;
  int communicator = 0;
  std::atomic<int64_t> nanoseconds = 0;
  std::shared_ptr<Family> family;
  int64_t num_collectives = 0;
  std::map<std::pair<int, CommKind>, int64_t> num_messages;  // by peer and direction

  template <class Wait>
  void count(Stream& stream, const WaitedCall& call, const Wait& wait) {
    using Clock = std::chrono::steady_clock;
    for (WaitObserver* observer : family->observers) observer->begin_wait(stream, call);
    const auto begin = Clock::now();
    wait();
    const int64_t waited = std::chrono::nanoseconds(Clock::now() - begin).count();
    nanoseconds.fetch_add(waited, std::memory_order_relaxed);
    family->nanoseconds.fetch_add(waited, std::memory_order_relaxed);
    for (WaitObserver* observer : family->observers) observer->end_wait(stream, call);
  }
};

class Communicator::CountedWork final : public Work {
 public:
  CountedWork(WorkPtr work, Stream& stream, const WaitedCall& call, std::shared_ptr<Waits> waits,
              RecordedCall recorded)
      : work_(std::move(work)),
        stream_(stream),
        call_(call),
        waits_(std::move(waits)),
        recorded_(std::move(recorded)) {}
  void wait() override {
    waits_->count(stream_, call_, [&] { work_->wait(); });
    if (is_of_host(stream_)) recorded_.end();
  }
  bool is_done() override {
    const bool is_done = work_->is_done();
    if (is_done) recorded_.end();
    return is_done;
  }

 private:
  WorkPtr work_;
  Stream& stream_;
  WaitedCall call_;  // its name is that of waits_
  std::shared_ptr<Waits> waits_;
  RecordedCall recorded_;
};

Communicator::Communicator(int rank, int size, std::string name)
    : rank_(rank), size_(size), name_(std::move(name)), waits_(std::make_shared<Waits>()) {
  waits_->group = name_;
  join(std::make_shared<Family>());
}

Communicator::~Communicator() { leave(); }

void Communicator::join(std::shared_ptr<Family> family) {
  leave();
  waits_->communicator = family->num_members++;
  family->members.emplace_back(waits_->communicator, this);
  waits_->family = std::move(family);
}

void Communicator::leave() noexcept {
  if (waits_->family)
    std::erase_if(waits_->family->members, [this](const auto& m) { return m.second == this; });
}

std::vector<std::pair<int, Communicator*>> Communicator::parts() const {
  auto members = waits_->family->members;
  std::erase_if(members, [](const auto& m) { return m.second->size() == 1; });
  return members;
}

double Communicator::seconds_waited() const { return 1e-9 * static_cast<double>(waits_->nanoseconds.load()); }

double Communicator::seconds_waited_with_parts() const {
  return 1e-9 * static_cast<double>(waits_->family->nanoseconds.load());
}

void Communicator::observe_waits(WaitObserver& observer) { waits_->family->observers.push_back(&observer); }

void Communicator::ignore_waits(WaitObserver& observer) { std::erase(waits_->family->observers, &observer); }

WaitedCall Communicator::number(const CommCall& call) {
  const bool is_message = call.is_point_to_point();
  int64_t& next = is_message ? waits_->num_messages[{call.peer, call.kind}] : waits_->num_collectives;
  return {waits_->group, waits_->communicator, call.kind, is_message ? call.peer : -1, next++};
}

void Communicator::count_bytes(const CommCall& call) {
  if (call.send_counts.empty()) return;
  const int64_t own = call.send_counts[static_cast<size_t>(rank_)];
  bytes_exchanged_ += (call.in.numel() - own) * static_cast<int64_t>(size_of(call.in.dtype()));
}

void Communicator::set_recorder(Recorder* recorder) {
  recorder_ = recorder;
  ring_ = nullptr;
  if (recorder != nullptr) make_ring(hash_name(name_), world_ranks());
}

void Communicator::record_as(Phase phase) {
  recorded_phase_ = static_cast<int>(phase);
  join(std::make_shared<Family>());
  call_check_ = CallCheck::backend;  // which step it is depends on how far the other thread has come
}

void Communicator::make_ring(uint64_t id, std::vector<int> members) {
  ring_ = recorder_->make_ring({name_, std::string(backend()), id, std::move(members), rank_});
}

void Communicator::record(CommCall& call) const {
  if (ring_ == nullptr) return;
  CallRecord record{.kind = call.kind, .op = call.op, .peer = call.peer, .site = recorder_->site()};
  if (recorded_phase_ >= 0) record.site.phase = static_cast<Phase>(recorded_phase_);
  if (call.in) {
    record.dtype = call.in.dtype();
    record.count = call.in.numel();
  }
  call.label.copy(record.label, sizeof record.label - 1);
  record.enqueued_ns = steady_ns();
  call.recorded = RecordedCall(ring_, record);
  call.check = call_check_;
}

void Communicator::run_counted(Stream& stream, CommCall call) {
  count_bytes(call);
  record(call);
  const WaitedCall waited = number(call);
  for (WaitObserver* observer : waits_->family->observers) observer->post(stream, waited);
  const RecordedCall recorded = call.recorded;
  waits_->count(stream, waited, [&] { run(stream, std::move(call)); });
  if (is_of_host(stream)) recorded.end();
}

WorkPtr Communicator::start_counted(Stream& stream, CommCall call) {
  count_bytes(call);
  record(call);
  const WaitedCall waited = number(call);
  for (WaitObserver* observer : waits_->family->observers) observer->post(stream, waited);
  RecordedCall recorded = call.recorded;
  return std::make_shared<CountedWork>(start(stream, std::move(call)), stream, waited, waits_,
                                       std::move(recorded));
}

void Communicator::all_reduce(Stream& stream, const Tensor& t, ReduceOp op) {
  run_counted(stream, all_reduce_call(*this, stream, t, op));
}
WorkPtr Communicator::all_reduce_async(Stream& stream, const Tensor& t, ReduceOp op) {
  return start_counted(stream, all_reduce_call(*this, stream, t, op));
}

void Communicator::all_gather(Stream& stream, const Tensor& in, const Tensor& out) {
  run_counted(stream, all_gather_call(*this, stream, in, out));
}
WorkPtr Communicator::all_gather_async(Stream& stream, const Tensor& in, const Tensor& out) {
  return start_counted(stream, all_gather_call(*this, stream, in, out));
}

void Communicator::reduce_scatter(Stream& stream, const Tensor& in, const Tensor& out, ReduceOp op) {
  run_counted(stream, reduce_scatter_call(*this, stream, in, out, op));
}
WorkPtr Communicator::reduce_scatter_async(Stream& stream, const Tensor& in, const Tensor& out, ReduceOp op) {
  return start_counted(stream, reduce_scatter_call(*this, stream, in, out, op));
}

void Communicator::broadcast(Stream& stream, const Tensor& t, int root) {
  run_counted(stream, broadcast_call(*this, stream, t, root));
}
WorkPtr Communicator::broadcast_async(Stream& stream, const Tensor& t, int root) {
  return start_counted(stream, broadcast_call(*this, stream, t, root));
}

void Communicator::all_to_all(Stream& stream, const Tensor& in, const Tensor& out) {
  run_counted(stream, all_to_all_call(*this, stream, in, out));
}
WorkPtr Communicator::all_to_all_async(Stream& stream, const Tensor& in, const Tensor& out) {
  return start_counted(stream, all_to_all_call(*this, stream, in, out));
}

void Communicator::all_to_all_v(Stream& stream, const Tensor& in, std::span<const int64_t> send_counts,
                                const Tensor& out, std::span<const int64_t> receive_counts) {
  run_counted(stream,
              all_to_all_call(CommKind::all_to_all_v, *this, stream, in, send_counts, out, receive_counts));
}
WorkPtr Communicator::all_to_all_v_async(Stream& stream, const Tensor& in,
                                         std::span<const int64_t> send_counts, const Tensor& out,
                                         std::span<const int64_t> receive_counts) {
  return start_counted(
      stream, all_to_all_call(CommKind::all_to_all_v, *this, stream, in, send_counts, out, receive_counts));
}

void Communicator::send(Stream& stream, const Tensor& t, int to, std::string_view label) {
  run_counted(stream, message_call(CommKind::send, *this, stream, t, to, label));
}
WorkPtr Communicator::send_async(Stream& stream, const Tensor& t, int to, std::string_view label) {
  return start_counted(stream, message_call(CommKind::send, *this, stream, t, to, label));
}
void Communicator::receive(Stream& stream, const Tensor& t, int from, std::string_view label) {
  run_counted(stream, message_call(CommKind::receive, *this, stream, t, from, label));
}
WorkPtr Communicator::receive_async(Stream& stream, const Tensor& t, int from, std::string_view label) {
  return start_counted(stream, message_call(CommKind::receive, *this, stream, t, from, label));
}

void Communicator::barrier(Stream& stream) { run_counted(stream, {.kind = CommKind::barrier}); }

std::unique_ptr<Communicator> Communicator::split(int color, int key, std::string name) {
  TRIREME_CHECK(color >= 0, "split of communicator '{}' by color {}", name_, color);
  CommCall call{.kind = CommKind::split};
  record(call);
  call.recorded.start();
  auto part = split_into(color, key, std::move(name));
  part->join(waits_->family);
  call.recorded.end();
  ++num_splits_;
  if (ring_ == nullptr) return part;
  const uint64_t id = stream_key(ring_->group().id, fmt::format("{} {}", num_splits_, color));
  // A group of one may be of another kind, which knows itself alone.
  std::vector<int> members = part->world_ranks();
  if (part->size() == 1) members = {ring_->world_rank()};
  part->recorder_ = recorder_;
  part->call_check_ = call_check_;
  part->make_ring(id, std::move(members));
  return part;
}

}  // namespace trireme
