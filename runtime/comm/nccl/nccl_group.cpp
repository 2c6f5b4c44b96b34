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

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

/// What the user can do about some of NCCL's refusals.
std::string_view advice(std::string_view text) {
  if (text.find("Duplicate GPU") == std::string_view::npos) return "";
  return "; ranks that share a GPU need --run.backend mpi (or NCCL with NCCL_HOSTID set to another "
         "text for each rank, or from NCCL 2.30 on NCCL_MULTI_RANK_GPU_ENABLE=1)";
}

}  // namespace

NcclGroup::NcclGroup(Kind kind, std::string name, Device device, int size, int rank,
                     const NcclOptions& options, std::shared_ptr<void> scratch)
    : kind_(kind),
      name_(std::move(name)),
      device_(device),
      size_(size),
      rank_(rank),
      options_(options),
      scratch_(std::move(scratch)),
      stream_(cuda::make_communication_stream(device.index)),
      deadline_(Clock::time_point::max()) {}

Tensor NcclGroup::make_id() {
  check(ncclGetUniqueId(&id_), "ncclGetUniqueId");
  return room_for_id();
}

Tensor NcclGroup::room_for_id() {
  return Tensor::borrow(&id_, {static_cast<int64_t>(sizeof id_)}, DType::u8);
}

void NcclGroup::make() noexcept {
  deadline_ = after(options_.init_seconds);
  ncclComm_t comm = nullptr;
  try {
    comm = meet();
    if (kind_ == Kind::channel) carry_first_message(comm);
    comm_ = comm;
  } catch (const std::exception& error) {
    return fail(error.what());
  }
  State expected = State::being_made;
  if (!state_.compare_exchange_strong(expected, State::ready)) ncclCommAbort(comm);  // it was given up
}

ncclComm_t NcclGroup::meet() {
  cuda::check(cudaSetDevice(device_.index), "cudaSetDevice");
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.commName = name_.c_str();
  config.maxCTAs = kind_ == Kind::channel ? options_.channel_ctas : options_.collective_ctas;
  ncclComm_t comm = nullptr;
  check(ncclCommInitRankConfig(&comm, size_, id_, rank_, &config), "ncclCommInitRankConfig", comm);
  return comm;
}

void NcclGroup::carry_first_message(ncclComm_t comm) {
  const cudaStream_t stream = cuda::raw_stream(*stream_);
  const ncclResult_t result = rank_ == 0 ? ncclSend(scratch_.get(), 1, ncclUint8, 1, comm, stream)
                                         : ncclRecv(scratch_.get(), 1, ncclUint8, 0, comm, stream);
  check(result, rank_ == 0 ? "ncclSend" : "ncclRecv", comm);
  stream_->synchronize();
}

void NcclGroup::give_up() noexcept {
  fail(
      fmt::format("ncclCommInitRankConfig on communicator '{}', rank {} of {}: not done after {:.0f} "
                  "s; a rank is missing, or NCCL cannot connect the hosts (NCCL_DEBUG=INFO says more, "
                  "NCCL_SOCKET_IFNAME selects the network)",
                  name_, rank_, size_, options_.init_seconds));
}

void NcclGroup::fail(std::string why) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = std::move(why);
  }
  state_ = State::failed;
}

void NcclGroup::check_health() const {
  if (state_ != State::failed) return;
  const std::lock_guard lock(mutex_);
  throw_environment("{}", failure_);
}

std::string NcclGroup::look() noexcept {
  if (state_ != State::ready || comm_ == nullptr) return "";  // the last: it was closed
  try {
    ncclResult_t state = ncclSuccess;
    check(ncclCommGetAsyncError(comm_, &state), "ncclCommGetAsyncError");
    check(state, "an operation");
  } catch (const std::exception& error) {
    fail(error.what());
    return error.what();
  }
  return "";
}

// ncclCommAbort itself hangs in some releases, so nobody waits for it, and nobody calls anything else of the
// communicator any more. One that is still being made has none yet.
void NcclGroup::abort() noexcept {
  if (std::exchange(aborted_, true)) return;
  const bool has_comm = comm_ != nullptr && !is_being_made();
  fail(fmt::format("communicator '{}', rank {}: aborted", name_, rank_));
  if (has_comm) std::thread([comm = comm_] { ncclCommAbort(comm); }).detach();
}

void NcclGroup::close() noexcept {
  try {
    stream_->synchronize();
    if (state_ != State::ready) return;
    while (!buffers_.empty()) deregister_buffer(buffers_.back().tensor);
    check(ncclCommFinalize(comm_), "ncclCommFinalize");
    check(ncclCommDestroy(std::exchange(comm_, nullptr)), "ncclCommDestroy", nullptr);
  } catch (const std::exception&) {
    abort();
  }
}

void NcclGroup::register_buffer(const Tensor& t) {
  cuda::check(cudaSetDevice(device_.index), "cudaSetDevice");
  void* handle = nullptr;
  check(ncclCommRegister(comm_, t.raw(), static_cast<size_t>(t.bytes()), &handle), "ncclCommRegister");
  buffers_.push_back({t, handle});
}

void NcclGroup::deregister_buffer(const Tensor& t) {
  const auto it = std::ranges::find(buffers_, t.raw(), [](const Registration& r) { return r.tensor.raw(); });
  if (it == buffers_.end() || state_ != State::ready) return;
  const Registration last = *it;
  buffers_.erase(it);
  stream_->synchronize();  // operations in flight may use it
  check(ncclCommDeregister(comm_, last.handle), "ncclCommDeregister");
}

std::shared_ptr<Event> NcclGroup::launch(const CommCall& call, Event& ready) {
  stream_->wait(ready);  // makes the device this thread's
  check(ncclGroupStart(), "ncclGroupStart");
  issue(call);
  check(ncclGroupEnd(), "ncclGroupEnd");
  return stream_->record();
}

bool NcclGroup::is_captured() const {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cuda::check(cudaStreamIsCapturing(cuda::raw_stream(*stream_), &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
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
  std::byte *from = bytes_of(call.in), *to = bytes_of(call.out);
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

void NcclGroup::check(ncclResult_t result, const char* call, ncclComm_t comm) const {
  if (result == ncclSuccess) return;
  const std::string_view more = ncclGetLastError(comm);
  throw_environment("{} on communicator '{}', rank {} of {}: {}{}{}{}", call, name_, rank_, size_,
                    ncclGetErrorString(result), more.empty() ? "" : ": ", more, advice(more));
}

}  // namespace trireme
