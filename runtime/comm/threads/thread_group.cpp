#include "runtime/comm/threads/thread_group.h"

#include <algorithm>
#include <cstring>

#include "runtime/comm/reduction.h"

namespace trireme {

namespace {

constexpr int64_t kBlockBytes = 32 << 10;  // reduced and then copied to the other ranks while in the cache

void copy_bytes(std::byte* to, const std::byte* from, int64_t count) {
  if (count > 0 && to != from) std::memcpy(to, from, static_cast<size_t>(count));
}

}  // namespace

void ThreadJob::abort(int world_rank, std::string_view reason) noexcept {
  const std::lock_guard lock(mutex);
  if (aborted()) return;
  culprit_ = world_rank;
  reason_ = reason;
  for (std::condition_variable* condition : conditions_) condition->notify_all();
}

void ThreadJob::add(std::condition_variable& condition) {
  const std::lock_guard lock(mutex);
  conditions_.insert(&condition);
}

void ThreadJob::remove(std::condition_variable& condition) noexcept {
  const std::lock_guard lock(mutex);
  conditions_.erase(&condition);
}

int ThreadJob::culprit() {
  const std::lock_guard lock(mutex);
  return culprit_;
}

void ThreadJob::throw_if_aborted() const {
  if (aborted()) throw_environment("rank {} failed: {}", culprit_, reason_);
}

ThreadGroup::ThreadGroup(std::shared_ptr<ThreadJob> job, std::string name, std::vector<int> world_ranks)
    : job_(std::move(job)),
      name_(std::move(name)),
      world_ranks_(std::move(world_ranks)),
      posted_(world_ranks_.size()),
      channels_(world_ranks_.size() * world_ranks_.size()) {
  job_->add(changed_);
}

ThreadGroup::~ThreadGroup() { job_->remove(changed_); }

void ThreadGroup::meet() {
  std::unique_lock lock(job_->mutex);
  job_->throw_if_aborted();
  const int64_t generation = generation_;
  if (++arrived_ == size()) {
    arrived_ = 0;
    ++generation_;
    changed_.notify_all();
    return;
  }
  changed_.wait(lock, [&] { return generation_ != generation || job_->aborted(); });
  if (generation_ == generation) job_->throw_if_aborted();
}

// Ranks that met always come here, so nobody has to be woken by an abort; nobody may be, while others read
// its tensors.
void ThreadGroup::part() noexcept {
  std::unique_lock lock(job_->mutex);
  const int64_t generation = generation_;
  if (++arrived_ == size()) {
    arrived_ = 0;
    ++generation_;
    changed_.notify_all();
    return;
  }
  changed_.wait(lock, [&] { return generation_ != generation; });
}

void ThreadGroup::collective(int rank, const CommCall& call) {
  posted_[static_cast<size_t>(rank)] = {.call = &call, .color = 0, .key = 0, .group = nullptr};
  meet();
  const std::string mismatch = find_mismatch();
  if (mismatch.empty()) execute(rank, call);
  part();
  if (!mismatch.empty()) throw InternalError(mismatch);
}

std::string ThreadGroup::find_mismatch() const {
  std::vector<CommSignature> signatures;
  for (const Posted& p : posted_) signatures.push_back(signature_of(*p.call));
  std::string mismatch = describe_mismatch(name_, signatures);
  if (!mismatch.empty() || posted_[0].call->kind != CommKind::all_to_all_v) return mismatch;
  std::vector<int64_t> sent, expected;
  for (const Posted& p : posted_) {
    sent.insert(sent.end(), p.call->send_counts.begin(), p.call->send_counts.end());
    expected.insert(expected.end(), p.call->receive_counts.begin(), p.call->receive_counts.end());
  }
  return describe_count_mismatch(name_, sent, expected, size());
}

void ThreadGroup::execute(int rank, const CommCall& call) const {
  switch (call.kind) {
    case CommKind::all_reduce:
      return all_reduce(rank, call);
    case CommKind::reduce_scatter:
      return reduce_scatter(rank, call);
    case CommKind::all_gather:
      for (int r = 0; r < size(); ++r) {
        const Tensor& part = posted_[static_cast<size_t>(r)].call->in;
        copy_bytes(bytes_of(call.out, r * part.numel()), bytes_of(part), part.bytes());
      }
      return;
    case CommKind::broadcast:
      return copy_bytes(bytes_of(call.out), bytes_of(posted_[static_cast<size_t>(call.peer)].call->in),
                        call.out.bytes());
    case CommKind::all_to_all:
    case CommKind::all_to_all_v:
      return all_to_all(rank, call);
    case CommKind::send:
    case CommKind::receive:
    case CommKind::barrier:
    case CommKind::split:
      return;
  }
}

// Rank r alone touches the r-th share of everybody's tensor.
void ThreadGroup::all_reduce(int rank, const CommCall& call) const {
  const int64_t n = call.out.numel();
  const int64_t end = n * (rank + 1) / size();
  const int64_t block = kBlockBytes / static_cast<int64_t>(size_of(call.out.dtype()));
  std::vector<const std::byte*> parts(posted_.size());
  for (int64_t begin = n * rank / size(); begin < end; begin += block) {
    const int64_t count = std::min(block, end - begin);
    for (size_t r = 0; r < parts.size(); ++r) parts[r] = bytes_of(posted_[r].call->in, begin);
    std::byte* own = bytes_of(call.out, begin);
    reduce_in_order(call.op, call.out.dtype(), parts, count, own);
    for (const Posted& p : posted_)
      copy_bytes(bytes_of(p.call->out, begin), own, count * static_cast<int64_t>(size_of(call.out.dtype())));
  }
}

void ThreadGroup::reduce_scatter(int rank, const CommCall& call) const {
  std::vector<const std::byte*> parts;
  for (const Posted& p : posted_) parts.push_back(bytes_of(p.call->in, rank * call.out.numel()));
  reduce_in_order(call.op, call.out.dtype(), parts, call.out.numel(), bytes_of(call.out));
}

void ThreadGroup::all_to_all(int rank, const CommCall& call) const {
  int64_t to = 0;
  for (size_t r = 0; r < posted_.size(); ++r) {
    const CommCall& sender = *posted_[r].call;
    int64_t from = 0;
    for (int before = 0; before < rank; ++before) from += sender.send_counts[static_cast<size_t>(before)];
    const int64_t count = call.receive_counts[r];
    copy_bytes(bytes_of(call.out, to), bytes_of(sender.in, from),
               count * static_cast<int64_t>(size_of(call.out.dtype())));
    to += count;
  }
}

std::vector<int> ThreadGroup::ranks_of_color(int color) const {
  std::vector<int> ranks;
  for (int r = 0; r < size(); ++r) {
    if (posted_[static_cast<size_t>(r)].color == color) ranks.push_back(r);
  }
  std::ranges::stable_sort(ranks, {}, [&](int r) { return posted_[static_cast<size_t>(r)].key; });
  return ranks;
}

ThreadGroup::Split ThreadGroup::split(int rank, int color, int key, const std::string& name) {
  const CommCall call{.kind = CommKind::split};
  posted_[static_cast<size_t>(rank)] = {.call = &call, .color = color, .key = key, .group = nullptr};
  meet();
  const std::string mismatch = find_mismatch();
  std::vector<int> ranks, world_ranks;
  if (mismatch.empty()) {
    ranks = ranks_of_color(color);
    for (const int r : ranks) world_ranks.push_back(world_rank(r));
    if (ranks.front() == rank) {
      posted_[static_cast<size_t>(rank)].group = std::make_shared<ThreadGroup>(job_, name, world_ranks);
    }
  }
  part();
  if (!mismatch.empty()) throw InternalError(mismatch);
  const auto group = posted_[static_cast<size_t>(ranks.front())].group;
  part();
  return {group, static_cast<int>(std::ranges::find(ranks, rank) - ranks.begin())};
}

class ThreadGroup::Message {
 public:
  enum class State { posted, matched, done };

  Tensor source, target;
  MessageHeader sent, awaited;
  State state = State::posted;
  std::string mismatch;
};

std::shared_ptr<ThreadGroup::Message> ThreadGroup::post(int rank, const CommCall& call) {
  const bool sending = call.kind == CommKind::send;
  const int from = sending ? rank : call.peer, to = sending ? call.peer : rank;
  std::shared_ptr<Message> message;
  {
    const std::lock_guard lock(job_->mutex);
    job_->throw_if_aborted();
    Channel& channel = channels_[static_cast<size_t>(from * size() + to)];
    auto& others = sending ? channel.receives : channel.sends;
    if (others.empty()) {
      message = std::make_shared<Message>();
      (sending ? message->source : message->target) = call.in;
      (sending ? message->sent : message->awaited) = header_of(call);
      (sending ? channel.sends : channel.receives).push_back(message);
      return message;
    }
    message = others.front();
    others.pop_front();
    (sending ? message->source : message->target) = call.in;
    (sending ? message->sent : message->awaited) = header_of(call);
    message->state = Message::State::matched;
  }
  const Tensor &in = message->source, &out = message->target;
  if (std::string_view(message->sent.label) != message->awaited.label) {
    message->mismatch = describe_mismatch(name_, from, message->sent, to, message->awaited);
  } else if (in.dtype() != out.dtype() || in.numel() != out.numel()) {
    message->mismatch = fmt::format(
        "calls do not match on communicator '{}': rank {} sends {} elements of {}, rank {} receives {} of {}",
        name_, from, in.numel(), to_string(in.dtype()), to, out.numel(), to_string(out.dtype()));
  } else {
    copy_bytes(bytes_of(out), bytes_of(in), in.bytes());
  }
  const std::lock_guard lock(job_->mutex);
  message->state = Message::State::done;
  changed_.notify_all();
  return message;
}

void ThreadGroup::await(Message& message) {
  std::unique_lock lock(job_->mutex);
  changed_.wait(lock, [&] {
    return message.state == Message::State::done ||
           (message.state == Message::State::posted && job_->aborted());
  });
  if (message.state != Message::State::done) job_->throw_if_aborted();
  if (!message.mismatch.empty()) throw InternalError(message.mismatch);
}

bool ThreadGroup::is_done(const Message& message) {
  const std::lock_guard lock(job_->mutex);
  return message.state == Message::State::done || job_->aborted();
}

}  // namespace trireme
