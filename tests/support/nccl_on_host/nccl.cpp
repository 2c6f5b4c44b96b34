#include "tests/support/nccl_on_host/nccl.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/base/philox.h"
#include "runtime/comm/reduction.h"
#include "tests/support/cuda_on_host/device_memory.h"
#include "tests/support/cuda_on_host/stream.h"
#include "tests/support/nccl_on_host/nccl_job.h"
#include "tests/support/nccl_on_host/nccl_rules.h"

namespace {

using trireme::DType;
using trireme::cuda_on_host::DeviceAccess;
using Bytes = std::vector<std::byte>;

enum class Kind { all_reduce, all_gather, reduce_scatter, broadcast, send, receive };

struct Operation {
  Kind kind;
  const void* in;
  void* out;
  size_t bytes;  // of `in`; of `out` for a receive and a reduce_scatter
  ncclDataType_t type;
  ncclRedOp_t op = ncclSum;
  int peer = -1;
  cudaStream_t stream = nullptr;

  bool matches(const Operation& other) const {
    return kind == other.kind && bytes == other.bytes && type == other.type && op == other.op &&
           peer == other.peer;
  }
};

struct Message {
  Bytes bytes;
  bool taken = false;
};

/// A collective that ranks have come to.
struct Round {
  std::vector<Bytes> parts;
  std::vector<Operation> operations;
  size_t num_arrived = 0, num_left = 0;
};

/// What the ranks of one communicator share.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  size_t size = 0, num_joined = 0;
  bool aborted = false;
  std::string error;
  std::map<uint64_t, Round> rounds;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Message>>> mailboxes;  // from, to
  std::vector<int> devices;  // of the ranks that have joined, in no order

  void fail(const std::string& why) {
    const std::lock_guard lock(mutex);
    if (error.empty()) error = why;
    changed.notify_all();
  }
  bool is_broken() const { return aborted || !error.empty(); }
};

std::mutex registry_mutex;
std::map<std::string, std::weak_ptr<Shared>>& registry() {
  static std::map<std::string, std::weak_ptr<Shared>> map;
  return map;
}

DType dtype_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt32:
      return DType::i32;
    case ncclInt64:
      return DType::i64;
    case ncclFloat16:
      return DType::f16;
    case ncclFloat32:
      return DType::f32;
    case ncclFloat64:
      return DType::f64;
    case ncclBfloat16:
      return DType::bf16;
    case ncclUint8:
      break;
  }
  return DType::u8;
}
size_t size_of(ncclDataType_t type) { return trireme::size_of(dtype_of(type)); }

Bytes read_device(const void* from, size_t bytes) {
  Bytes values(bytes);
  const DeviceAccess access({from});
  trireme::cuda_on_host::copy_like_device(values.data(), from, bytes);
  return values;
}
void write_device(void* to, const std::byte* from, size_t bytes) {
  const DeviceAccess access({to});
  trireme::cuda_on_host::copy_like_device(to, from, bytes);
}

}  // namespace

struct ncclComm {
  std::shared_ptr<Shared> shared;
  int rank = 0, device = 0;
  bool is_blocking = true;
  std::thread::id maker;  // of the communicator; its first message is that thread's too
  bool has_launched = false;
  std::atomic<int> num_inside = 0;  // threads
  // Under the lock of `shared`:
  std::vector<Operation> issued;  // by the open group, not yet given to the stream
  std::shared_ptr<std::atomic<uint64_t>> num_rounds = std::make_shared<std::atomic<uint64_t>>(0);
  std::string last_error;
  std::map<void*, size_t> buffers;  // registered, by handle, which is the address
};

namespace {

std::atomic<int64_t> registrations_made = 0, registrations_left = 0;

std::atomic<uint64_t> delay_seed = 0, num_delays = 0;

void maybe_wait() {
  const uint64_t seed = delay_seed;
  if (seed == 0) return;
  const uint32_t draw = trireme::philox4x32(seed, num_delays++, 0)[0];
  if (draw % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(draw / 4 % 2000));
}

/// Those that nobody has destroyed, under the registry's lock. An aborted one stays, because others may still
/// look at it, and so does one whose job fails: threads that were left behind use it until the program ends.
std::vector<std::unique_ptr<ncclComm>>& communicators() {
  static auto& all = *new std::vector<std::unique_ptr<ncclComm>>;
  return all;
}

// In another order than that of the ranks, which nobody may rely on.
Bytes reduce(const Operation& operation, const std::vector<Bytes>& parts, size_t begin, size_t bytes) {
  Bytes result(bytes);
  std::vector<const std::byte*> pointers;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) pointers.push_back(part->data() + begin);
  const auto op = operation.op == ncclSum   ? trireme::ReduceOp::sum
                  : operation.op == ncclMax ? trireme::ReduceOp::max
                                            : trireme::ReduceOp::min;
  trireme::reduce_in_order(op, dtype_of(operation.type), pointers,
                           static_cast<int64_t>(bytes / size_of(operation.type)), result.data());
  return result;
}

Bytes result_of(const Operation& operation, const std::vector<Bytes>& parts, size_t rank) {
  switch (operation.kind) {
    case Kind::all_reduce:
      return reduce(operation, parts, 0, operation.bytes);
    case Kind::reduce_scatter:
      return reduce(operation, parts, rank * operation.bytes, operation.bytes);
    case Kind::broadcast:
      return parts[static_cast<size_t>(operation.peer)];
    case Kind::all_gather: {
      Bytes all;
      for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
      return all;
    }
    case Kind::send:
    case Kind::receive:
      break;
  }
  return {};
}

void run_collective(Shared& shared, int rank, uint64_t number, const Operation& operation) {
  const size_t size = shared.size;
  const size_t bytes = operation.kind == Kind::reduce_scatter ? operation.bytes * size : operation.bytes;
  Bytes mine = read_device(operation.in, bytes);
  std::unique_lock lock(shared.mutex);
  Round& round = shared.rounds[number];
  round.parts.resize(size);
  round.parts[static_cast<size_t>(rank)] = std::move(mine);
  round.operations.push_back(operation);
  ++round.num_arrived;
  if (!operation.matches(round.operations.front()) && shared.error.empty()) {
    shared.error = "ranks call different operations";
  }
  shared.changed.notify_all();
  shared.changed.wait(lock, [&] { return round.num_arrived == size || shared.is_broken(); });
  if (shared.is_broken()) return;
  lock.unlock();
  const Bytes result = result_of(operation, round.parts, static_cast<size_t>(rank));
  write_device(operation.out, result.data(), result.size());
  lock.lock();
  if (++round.num_left == size) shared.rounds.erase(number);
}

// All messages of a group are in flight together; the group ends when all were taken.
void run_messages(Shared& shared, int rank, const std::vector<Operation>& operations) {
  std::vector<std::shared_ptr<Message>> sent;
  for (const Operation& operation : operations) {
    if (operation.kind != Kind::send) continue;
    sent.push_back(std::make_shared<Message>(Message{read_device(operation.in, operation.bytes)}));
    const std::lock_guard lock(shared.mutex);
    shared.mailboxes[{rank, operation.peer}].push_back(sent.back());
    shared.changed.notify_all();
  }
  for (const Operation& operation : operations) {
    if (operation.kind != Kind::receive) continue;
    std::unique_lock lock(shared.mutex);
    auto& mailbox = shared.mailboxes[{operation.peer, rank}];
    shared.changed.wait(lock, [&] { return !mailbox.empty() || shared.is_broken(); });
    if (shared.is_broken()) return;
    const auto message = mailbox.front();
    mailbox.pop_front();
    lock.unlock();
    if (message->bytes.size() != operation.bytes) return shared.fail("a message of another length");
    write_device(operation.out, message->bytes.data(), operation.bytes);
    lock.lock();
    message->taken = true;
    shared.changed.notify_all();
  }
  std::unique_lock lock(shared.mutex);
  for (const auto& message : sent) {
    shared.changed.wait(lock, [&] { return message->taken || shared.is_broken(); });
  }
}

bool is_message(const Operation& operation) {
  return operation.kind == Kind::send || operation.kind == Kind::receive;
}

thread_local int group_depth = 0;
thread_local std::vector<ncclComm_t> group_comms;

ncclResult_t refuse(ncclComm_t comm, const char* why) {
  const std::lock_guard lock(comm->shared->mutex);
  comm->last_error = why;
  if (comm->shared->error.empty()) comm->shared->error = why;  // nobody overlooks it
  comm->shared->changed.notify_all();
  return ncclInvalidUsage;
}

/// A call of one communicator. NCCL lets one thread at a time make one.
class Inside {
 public:
  explicit Inside(ncclComm_t comm) : comm_(comm), is_alone_(comm->num_inside++ == 0) {
    std::this_thread::yield();  // so that another one has its chance
  }
  ~Inside() { --comm_->num_inside; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  bool is_alone() const { return is_alone_ && comm_->num_inside == 1; }

 private:
  ncclComm_t comm_;
  bool is_alone_;
};
constexpr const char* kTwoThreads = "two threads inside one communicator";

// Why NCCL could go wrong; null where it could not. A channel's maker launches its first message too.
const char* judge(ncclComm_t comm, bool is_collective) {
  const bool is_first = !std::exchange(comm->has_launched, true);
  if (is_first && !is_collective && std::this_thread::get_id() == comm->maker) return nullptr;
  return trireme::nccl_on_host::judge_launch(comm->device, is_collective ? comm->shared.get() : nullptr,
                                             comm->shared->devices);
}

ncclResult_t launch(ncclComm_t comm);

ncclResult_t issue(ncclComm_t comm, const Operation& operation) {
  maybe_wait();
  const Inside inside(comm);
  if (!inside.is_alone()) return refuse(comm, kTwoThreads);
  {
    const std::lock_guard lock(comm->shared->mutex);
    if (comm->shared->num_joined < comm->shared->size) return ncclInvalidUsage;
    if (comm->issued.empty() || (comm->issued[0].stream == operation.stream && is_message(comm->issued[0]) &&
                                 is_message(operation))) {
      comm->issued.push_back(operation);
    } else {
      return ncclInvalidUsage;  // a group that this stand-in does not know
    }
  }
  if (group_depth == 0) return launch(comm);
  if (group_comms.empty() || group_comms.back() != comm) group_comms.push_back(comm);
  return ncclSuccess;
}

// Gives what was issued to its stream.
ncclResult_t launch(ncclComm_t comm) {
  const auto operations = std::exchange(comm->issued, {});
  if (const char* why = judge(comm, !is_message(operations[0]))) return refuse(comm, why);
  // Rounds are counted when they begin: captured operations begin many.
  const auto run = [shared = comm->shared, rank = comm->rank, operations, rounds = comm->num_rounds] {
    maybe_wait();
    if (is_message(operations[0])) {
      run_messages(*shared, rank, operations);
    } else {
      run_collective(*shared, rank, (*rounds)++, operations[0]);
    }
  };
  operations[0].stream->submit(run);
  return comm->is_blocking ? ncclSuccess : ncclInProgress;
}

}  // namespace

ncclResult_t ncclGetVersion(int* version) { return *version = 0, ncclSuccess; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int next = 0;
  const std::lock_guard lock(registry_mutex);
  *id = {};
  const std::string name = std::to_string(++next);
  std::memcpy(id->internal, name.data(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  maybe_wait();
  std::shared_ptr<Shared> shared;
  {
    const std::lock_guard lock(registry_mutex);
    auto& entry = registry()[id.internal];
    shared = entry.lock();
    if (!shared) entry = shared = std::make_shared<Shared>();
  }
  auto made = std::make_unique<ncclComm>();
  made->shared = shared;
  made->rank = rank;
  made->is_blocking = config->blocking != 0;
  made->maker = std::this_thread::get_id();
  cudaGetDevice(&made->device);
  {
    const std::lock_guard registry_lock(registry_mutex);
    *comm = made.get();
    communicators().push_back(std::move(made));
  }
  std::unique_lock lock(shared->mutex);
  shared->size = static_cast<size_t>(size);
  ++shared->num_joined;
  shared->devices.push_back((*comm)->device);
  shared->changed.notify_all();
  if (config->blocking == 0) return ncclInProgress;
  shared->changed.wait(lock, [&] { return shared->num_joined == shared->size || shared->is_broken(); });
  return shared->is_broken() ? ncclRemoteError : ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const Inside inside(comm);
  if (!inside.is_alone()) return refuse(comm, kTwoThreads);
  Shared& shared = *comm->shared;
  const std::lock_guard lock(shared.mutex);
  *state = ncclSuccess;
  if (shared.is_broken()) {
    *state = shared.aborted ? ncclRemoteError : ncclInternalError;
    comm->last_error = shared.error;
  } else if (shared.num_joined < shared.size) {
    *state = ncclInProgress;
  }
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const Inside inside(comm);
  return inside.is_alone() ? ncclSuccess : refuse(comm, kTwoThreads);
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  registrations_left += static_cast<int64_t>(comm->buffers.size());
  const int device = comm->device;
  const std::lock_guard lock(registry_mutex);
  std::erase_if(communicators(), [&](const auto& c) { return c.get() == comm; });
  // The next job of this device has another thread, and other communicators in place of these.
  if (std::ranges::none_of(communicators(), [&](const auto& c) { return c->device == device; })) {
    trireme::nccl_on_host::forget_launches_of(device);
  }
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  const Inside inside(comm);
  if (!inside.is_alone()) return refuse(comm, kTwoThreads);
  const std::lock_guard lock(comm->shared->mutex);
  comm->shared->aborted = true;
  comm->shared->changed.notify_all();
  return ncclSuccess;
}

ncclResult_t ncclCommRegister(ncclComm_t comm, void* buffer, size_t bytes, void** handle) {
  const Inside inside(comm);
  if (!inside.is_alone()) return refuse(comm, kTwoThreads);
  const std::lock_guard lock(comm->shared->mutex);
  if (bytes == 0 || !trireme::cuda_on_host::is_device_memory(buffer) || comm->buffers.contains(buffer)) {
    comm->last_error = "not memory of a device, or registered before";
    return ncclInvalidUsage;
  }
  comm->buffers[buffer] = bytes;
  ++registrations_made;
  return *handle = buffer, ncclSuccess;
}
ncclResult_t ncclCommDeregister(ncclComm_t comm, void* handle) {
  const Inside inside(comm);
  if (!inside.is_alone()) return refuse(comm, kTwoThreads);
  const std::lock_guard lock(comm->shared->mutex);
  if (trireme::cuda_on_host::is_device_memory(handle) && comm->buffers.erase(handle) == 1) return ncclSuccess;
  comm->last_error = "memory that went before, or not registered";
  return ncclInvalidUsage;
}
trireme::nccl_on_host::Registrations trireme::nccl_on_host::registrations() {
  return {registrations_made, registrations_left};
}

void trireme::nccl_on_host::delay(uint64_t seed) {
  num_delays = 0;
  delay_seed = seed;
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "remote process exited" : "internal error";
}
const char* ncclGetLastError(ncclComm_t comm) { return comm != nullptr ? comm->last_error.c_str() : ""; }

ncclResult_t ncclGroupStart() { return ++group_depth, ncclSuccess; }
ncclResult_t ncclGroupEnd() {
  if (--group_depth > 0) return ncclSuccess;
  ncclResult_t result = ncclSuccess;
  for (const ncclComm_t comm : std::exchange(group_comms, {})) {
    const Inside inside(comm);
    const ncclResult_t launched = inside.is_alone() ? launch(comm) : refuse(comm, kTwoThreads);
    if (result == ncclSuccess) result = launched;
  }
  return result;
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  return issue(comm, {Kind::all_reduce, in, out, count * size_of(type), type, op, -1, stream});
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return issue(comm, {Kind::all_gather, in, out, count * size_of(type), type, ncclSum, -1, stream});
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  return issue(comm, {Kind::reduce_scatter, in, out, count * size_of(type), type, op, -1, stream});
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return issue(comm, {Kind::broadcast, in, out, count * size_of(type), type, ncclSum, root, stream});
}
ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return issue(comm, {Kind::send, data, nullptr, count * size_of(type), type, ncclSum, peer, stream});
}
ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return issue(comm, {Kind::receive, nullptr, data, count * size_of(type), type, ncclSum, peer, stream});
}
