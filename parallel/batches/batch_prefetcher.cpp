#include "parallel/batches/batch_prefetcher.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/device/cuda/cuda_device.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

namespace {

// What is read of a micro-batch, in this order: the first two, or all.
constexpr Tensor MicroBatch::*kMembers[] = {&MicroBatch::tokens, &MicroBatch::targets, &MicroBatch::positions,
                                            &MicroBatch::first_key};
constexpr int32_t* RowMemory::*kMemory[] = {&RowMemory::tokens, &RowMemory::targets, &RowMemory::positions,
                                            &RowMemory::first_keys};

size_t num_members(const SampleRows& rows) { return rows.separates_documents() ? 4 : 2; }

Shape shape_of(size_t member, const MicroBatch& mb) {
  return kMembers[member] == &MicroBatch::first_key ? Shape{mb.batch, mb.seq_len} : Shape{mb.rows()};
}

/// Of all that the thread shares with its starter, which may have gone when storage answers at last.
struct BatchSlot {
  std::vector<Tensor> tensors;                // kMembers, on the device
  std::shared_ptr<std::byte> staged;          // all, in memory that the device copies from; not on the CPU
  std::shared_ptr<Event> copied, given_back;  // on the stream of copies; on the compute stream
};

struct BatchInSlot {
  size_t slot = 0;
  SampleRun run;
  RowFacts facts;
  std::exception_ptr error;  // instead of a batch; nothing follows
};

}  // namespace

struct BatchPrefetcher::State {
  State(Context& ctx, SampleRows samples, SampleRow batches, int64_t num_slots)
      : rows(std::move(samples)), row(std::move(batches)) {
    const int64_t largest = row.largest * rows.rows_a_sample();
    if (ctx.device().type != DeviceType::cpu) {
      compute = &ctx.stream();
      copies = cuda::make_compute_stream(ctx.device().index);
    }
    for (int64_t i = 0; i < num_slots; ++i) {
      BatchSlot& slot = slots.emplace_back();
      for (size_t m = 0; m < num_members(rows); ++m)
        slot.tensors.push_back(Tensor::empty(ctx, {largest}, DType::i32, MemoryCategory::buffers));
      if (copies) {
        const auto bytes = static_cast<size_t>(largest) * sizeof(int32_t) * slot.tensors.size();
        slot.staged = ctx.host_allocator().allocate(bytes, MemoryCategory::buffers);
        slot.given_back = compute->record();  // whoever had this memory before may still use it there
      }
      free.push_back(static_cast<size_t>(i));
    }
  }
  ~State() {
    try {
      if (copies) copies->synchronize();  // or they would write to memory that others have got
    } catch (const Error&) {              // a device that fails does not write either
    }
  }

  // The thread's work: until it has read all, or what it reads throws, or it is stopped.
  void read_all() noexcept {
    for (int64_t i = 0; i < row.num_batches; ++i) {
      BatchInSlot batch;
      if (!wait_for_slot(batch.slot)) break;
      try {
        batch.run = row.at(i);
        batch.facts = read(slots[batch.slot], batch.run);
      } catch (...) {
        batch.error = std::current_exception();
      }
      const std::lock_guard lock(mutex);
      ready.push_back(std::move(batch));
      changed.notify_all();
      if (ready.back().error) break;
    }
    const std::lock_guard lock(mutex);
    has_ended = true;
    changed.notify_all();
  }

  bool wait_for_slot(size_t& slot) {
    std::unique_lock lock(mutex);
    is_short_of_slots = free.empty();
    changed.notify_all();
    changed.wait(lock, [&] { return is_stopped || !free.empty(); });
    is_short_of_slots = false;
    if (is_stopped) return false;
    slot = free.front();
    free.pop_front();
    return true;
  }

  RowFacts read(BatchSlot& slot, const SampleRun& run) {
    const auto goes_on = [this] { return !is_stopped; };
    RowMemory to;
    if (!copies) {
      for (size_t m = 0; m < slot.tensors.size(); ++m) to.*kMemory[m] = slot.tensors[m].data<int32_t>();
      return rows.read(run, to, goes_on);
    }
    if (slot.copied) slot.copied->synchronize();  // from the memory that is written next
    auto* staged = reinterpret_cast<int32_t*>(slot.staged.get());
    const auto from = [&](size_t m) { return staged + static_cast<int64_t>(m) * slot.tensors[m].numel(); };
    for (size_t m = 0; m < slot.tensors.size(); ++m) to.*kMemory[m] = from(m);
    RowFacts facts = rows.read(run, to, goes_on);
    const auto bytes = static_cast<size_t>(run.count * rows.rows_a_sample()) * sizeof(int32_t);
    copies->wait(*slot.given_back);
    for (size_t m = 0; m < slot.tensors.size(); ++m) copies->copy(slot.tensors[m].raw(), from(m), bytes);
    slot.copied = copies->record();
    return facts;
  }

  BatchInSlot take() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return failure || !ready.empty() || (is_short_of_slots && free.empty()); });
    if (failure) std::rethrow_exception(failure);
    TRIREME_CHECK(!ready.empty(), "more micro-batches are held than the {} there is memory for",
                  slots.size());
    if (ready.front().error) std::rethrow_exception(ready.front().error);
    BatchInSlot batch = std::move(ready.front());
    ready.pop_front();
    return batch;
  }

  void give_back(size_t slot) noexcept {
    std::exception_ptr error;
    try {
      if (compute != nullptr) slots[slot].given_back = compute->record();
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    if (error) failure = error;
    if (!error) free.push_back(slot);
    changed.notify_all();
  }

  /// Whether the thread has ended.
  bool stop(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex);
    is_stopped = true;
    changed.notify_all();
    return changed.wait_for(lock, patience, [&] { return has_ended; });
  }

  SampleRows rows;
  const SampleRow row;
  Stream* compute = nullptr;       // null on the CPU, as the next
  std::unique_ptr<Stream> copies;  // of the thread
  std::vector<BatchSlot> slots;

  std::mutex mutex;  // for what follows
  std::condition_variable changed;
  std::deque<size_t> free;
  std::deque<BatchInSlot> ready;
  bool is_short_of_slots = false, has_ended = false;
  std::atomic<bool> is_stopped = false;  // read between samples, too
  std::exception_ptr failure;            // of giving back
};

/// What a micro-batch's tensors own together.
class BatchPrefetcher::Lease {
 public:
  Lease(std::shared_ptr<State> state, size_t slot) : state_(std::move(state)), slot_(slot) {}
  ~Lease() { state_->give_back(slot_); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

 private:
  std::shared_ptr<State> state_;
  size_t slot_;
};

BatchPrefetcher::BatchPrefetcher(Context& ctx, const BatchReader& reader, const ContextShare& share,
                                 SampleRow row, int64_t num_slots)
    : ctx_(ctx), row_(std::move(row)), rows_(reader, share) {
  const std::vector<int32_t> positions = rows_.positions(row_.num_batches == 0 ? 0 : row_.largest);
  positions_ = ops::to_device(ctx, positions, {std::ssize(positions)});
  num_slots = std::min(num_slots, row_.num_batches);
  if (num_slots == 0) return;
  state_ = std::make_shared<State>(ctx, rows_, row_, num_slots);
  try {
    thread_ = std::thread([state = state_] { state->read_all(); });
  } catch (const std::system_error& error) {
    throw_environment("cannot start the thread that reads batches ahead: {}; --data.prefetch 0 needs none",
                      error.what());
  }
}

BatchPrefetcher::~BatchPrefetcher() {
  if (!thread_.joinable()) return;
  constexpr std::chrono::milliseconds kPatience{1000};
  if (state_->stop(kPatience)) {
    thread_.join();
  } else {
    thread_.detach();  // it owns what it uses
  }
}

std::vector<MicroBatch> BatchPrefetcher::next(int64_t most) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  std::vector<MicroBatch> out;
  while (std::ssize(out) < most && num_done_ < row_.num_batches) {
    out.push_back(state_ ? take() : read_now());
    ++num_done_;
  }
  seconds_waited_ += std::chrono::duration<double>(Clock::now() - begin).count();
  return out;
}

MicroBatch BatchPrefetcher::describe(const SampleRun& run, RowFacts facts) const {
  MicroBatch mb;
  mb.batch = run.count;
  mb.seq_len = rows_.rows_a_sample();
  mb.first_sample = run.first;
  mb.context_parts = rows_.share().size;
  mb.weight = static_cast<double>(facts.num_targets);
  mb.weight_of_sequence.assign(facts.targets_of_sample.begin(), facts.targets_of_sample.end());
  mb.chunk_first_keys = std::move(facts.chunk_first_keys);
  mb.positions = positions_.slice(0, mb.rows());
  if (rows_.separates_documents()) mb.places = mb.positions;
  return mb;
}

MicroBatch BatchPrefetcher::read_now() {
  const SampleRun run = row_.at(num_done_);
  std::vector<std::vector<int32_t>> values(num_members(rows_));
  RowMemory to;
  for (size_t m = 0; m < values.size(); ++m) {
    values[m].resize(static_cast<size_t>(run.count * rows_.rows_a_sample()));
    to.*kMemory[m] = values[m].data();
  }
  MicroBatch mb = describe(run, rows_.read(run, to));
  for (size_t m = 0; m < values.size(); ++m)
    mb.*kMembers[m] = ops::to_device(ctx_, values[m], shape_of(m, mb));
  return mb;
}

MicroBatch BatchPrefetcher::take() {
  BatchInSlot batch = state_->take();
  const BatchSlot& slot = state_->slots[batch.slot];
  const auto lease = std::make_shared<Lease>(state_, batch.slot);
  if (slot.copied) ctx_.stream().wait(*slot.copied);
  MicroBatch mb = describe(batch.run, std::move(batch.facts));
  for (size_t m = 0; m < slot.tensors.size(); ++m) {
    const Tensor& t = slot.tensors[m];
    mb.*kMembers[m] =
        Tensor::share({lease, static_cast<std::byte*>(t.raw())}, shape_of(m, mb), DType::i32, t.device());
  }
  return mb;
}

}  // namespace trireme
