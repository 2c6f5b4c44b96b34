#include "runtime/comm/nccl/nccl_group.h"

#include <algorithm>
#include <exception>
#include <string_view>
#include <thread>
#include <utility>

#include "runtime/device/cuda/cuda_device.h"
#include "runtime/device/cuda/cuda_stream.h"

namespace trireme {

namespace {

using Clock = std::chrono::steady_clock;

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
    case DType::bf16:
      return ncclBfloat16;
    case DType::f16:
      return ncclFloat16;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    case DType::u8:
    case DType::f8e4m3:
    case DType::f8e5m2:
      break;  // are moved, never added
  }
  return ncclUint8;
}

ncclRedOp_t op_of(ReduceOp op) {
  return op == ReduceOp::sum ? ncclSum : op == ReduceOp::max ? ncclMax : ncclMin;
}

std::byte* bytes(const Tensor& t) { return static_cast<std::byte*>(t.raw()); }

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// What the user can do about some of NCCL's refusals.
std::string_view advice(std::string_view text) {
  if (text.find("Duplicate GPU") == std::string_view::npos) return "";
  return "; ranks that share a GPU talk by --run.backend mpi (or by NCCL with NCCL_HOSTID set to another "
         "text for "
         "each rank, or from NCCL 2.30 on NCCL_MULTI_RANK_GPU_ENABLE=1)";
}

}  // namespace

NcclGroup::NcclGroup(std::string name, Device device, int size, int rank, const NcclOptions& options)
    : name_(std::move(name)),
      device_(device),
      size_(size),
      rank_(rank),
      options_(options),
      stream_(cuda::make_compute_stream(device.index)) {}

void NcclGroup::close() noexcept {
  try {
    stream_->synchronize();
    if (comm_ == nullptr || aborted_) return;
    while (!buffers_.empty()) deregister_buffer(buffers_.back().tensor);
    check(ncclCommFinalize(comm_), "ncclCommFinalize");
    settle("ncclCommFinalize", after(options_.init_seconds));
    ncclComm_t comm = nullptr;
    {
      const std::lock_guard lock(alive_);
      comm = comm_.exchange(nullptr);
    }
    check(ncclCommDestroy(comm), "ncclCommDestroy");
  } catch (const std::exception&) {
    abort();
  }
}

Tensor NcclGroup::make_id() {
  check(ncclGetUniqueId(&id_), "ncclGetUniqueId");
  return room_for_id();
}

Tensor NcclGroup::room_for_id() {
  return Tensor::borrow(&id_, {static_cast<int64_t>(sizeof id_)}, DType::u8);
}

void NcclGroup::make() {
  cuda::check(cudaSetDevice(device_.index), "cudaSetDevice");
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  config.commName = name_.c_str();
  ncclComm_t comm = nullptr;
  const ncclResult_t result = ncclCommInitRankConfig(&comm, size_, id_, rank_, &config);
  comm_ = comm;
  check(result, "ncclCommInitRankConfig");
  settle("ncclCommInitRankConfig", after(options_.init_seconds));
}

void NcclGroup::register_buffer(const Tensor& t) {
  cuda::check(cudaSetDevice(device_.index), "cudaSetDevice");
  void* handle = nullptr;
  check(ncclCommRegister(comm_, t.raw(), static_cast<size_t>(t.bytes()), &handle), "ncclCommRegister");
  settle("ncclCommRegister", after(options_.init_seconds));
  buffers_.push_back({t, handle});
}

void NcclGroup::deregister_buffer(const Tensor& t) {
  const auto it = std::ranges::find(buffers_, t.raw(), [](const Registration& r) { return r.tensor.raw(); });
  if (it == buffers_.end() || aborted_) return;
  const Registration last = *it;
  buffers_.erase(it);
  stream_->synchronize();  // operations under way may use it
  check(ncclCommDeregister(comm_, last.handle), "ncclCommDeregister");
  settle("ncclCommDeregister", after(options_.init_seconds));
}

std::shared_ptr<Event> NcclGroup::launch(const CommCall& call, Event& ready) {
  stream_->wait(ready);  // makes the device this thread's
  if (aborted_) throw_environment("communicator '{}', rank {}: aborted", name_, rank_);
  check(ncclGroupStart(), "ncclGroupStart");
  issue(call);
  check(ncclGroupEnd(), "ncclGroupEnd");
  // The first operations meet the other ranks to find their ways; those may come late.
  settle(to_string(call.kind).data(), Clock::time_point::max());
  return stream_->record();
}

void NcclGroup::issue(const CommCall& call) {
  const Tensor &in = call.in, &out = call.out;
  const auto count = [](const Tensor& t) { return static_cast<size_t>(t.numel()); };
  const ncclDataType_t type = type_of(in.dtype());
  const cudaStream_t stream = cuda::raw_stream(*stream_);
  switch (call.kind) {
    case CommKind::all_reduce:
      return check(ncclAllReduce(in.raw(), out.raw(), count(in), type, op_of(call.op), comm_, stream),
                   "ncclAllReduce");
    case CommKind::all_gather:
      return check(ncclAllGather(in.raw(), out.raw(), count(in), type, comm_, stream), "ncclAllGather");
    case CommKind::reduce_scatter:
      return check(ncclReduceScatter(in.raw(), out.raw(), count(out), type, op_of(call.op), comm_, stream),
                   "ncclReduceScatter");
    case CommKind::broadcast:
      return check(ncclBroadcast(in.raw(), out.raw(), count(in), type, call.peer, comm_, stream),
                   "ncclBroadcast");
    case CommKind::all_to_all:
    case CommKind::all_to_all_v:
      return exchange_parts(call);
    case CommKind::send:
      return check(ncclSend(in.raw(), count(in), type, 1, comm_, stream), "ncclSend");
    case CommKind::receive:
      return check(ncclRecv(out.raw(), count(out), type, 0, comm_, stream), "ncclRecv");
    case CommKind::barrier:
    case CommKind::split:
      break;
  }
  TRIREME_CHECK(false, "{} is no operation of NCCL", to_string(call.kind));
}

// This rank's own part is a copy; what is empty at one end is so at the other.
void NcclGroup::exchange_parts(const CommCall& call) {
  const auto element = static_cast<int64_t>(size_of(call.in.dtype()));
  const cudaStream_t stream = cuda::raw_stream(*stream_);
  std::byte *from = bytes(call.in), *to = bytes(call.out);
  for (int r = 0; r < size_; ++r) {
    const int64_t sent = call.send_counts[static_cast<size_t>(r)] * element,
                  received = call.receive_counts[static_cast<size_t>(r)] * element;
    if (r == rank_) {
      TRIREME_CHECK(sent == received,
                    "all_to_all_v on communicator '{}': rank {} sends {} bytes to itself and expects {}",
                    name_, r, sent, received);
      stream_->copy(to, from, static_cast<size_t>(sent));
    } else {
      if (sent > 0) check(ncclSend(from, static_cast<size_t>(sent), ncclUint8, r, comm_, stream), "ncclSend");
      if (received > 0)
        check(ncclRecv(to, static_cast<size_t>(received), ncclUint8, r, comm_, stream), "ncclRecv");
    }
    from += sent;
    to += received;
  }
}

void NcclGroup::check(ncclResult_t result, const char* call) const {
  if (result == ncclSuccess || result == ncclInProgress) return;
  const std::string_view more = ncclGetLastError(comm_);
  throw_environment("{} on communicator '{}', rank {} of {}: {}{}{}{}", call, name_, rank_, size_,
                    ncclGetErrorString(result), more.empty() ? "" : ": ", more, advice(more));
}

void NcclGroup::settle(const char* call, Clock::time_point deadline) const {
  constexpr auto kBusy = std::chrono::microseconds(200);
  const auto begin = Clock::now();
  for (;;) {
    ncclResult_t state = ncclSuccess;
    if (aborted_) throw_environment("{} on communicator '{}', rank {}: aborted", call, name_, rank_);
    check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    check(state, call);
    if (state == ncclSuccess) return;
    const auto now = Clock::now();
    if (now > deadline) {
      throw_environment(
          "{} on communicator '{}', rank {} of {}: not done after {:.0f} s; some rank did not come, or NCCL "
          "finds no "
          "way between the hosts (NCCL_DEBUG=INFO says which, NCCL_SOCKET_IFNAME names the network to use)",
          call, name_, rank_, size_, std::chrono::duration<double>(now - begin).count());
    }
    if (now - begin > kBusy) std::this_thread::sleep_for(kBusy);
  }
}

void NcclGroup::check_health() const {
  const std::lock_guard lock(alive_);
  if (comm_ == nullptr || aborted_) return;
  ncclResult_t state = ncclSuccess;
  check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
  check(state, "an operation");
}

// ncclCommAbort itself hangs in some releases, so nobody waits for it.
void NcclGroup::abort() noexcept {
  if (aborted_.exchange(true)) return;
  const ncclComm_t comm = comm_;
  if (comm != nullptr) std::thread([comm] { ncclCommAbort(comm); }).detach();
}

}  // namespace trireme
