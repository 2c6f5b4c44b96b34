#include "runtime/comm/mpi/mpi_group.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "runtime/base/philox.h"
#include "runtime/comm/reduction.h"

namespace trireme {

namespace {

constexpr int kHeaderTag = 0;
constexpr int kProgressTag = 1;             // of no message
constexpr int kFirstTagOfLengths = 2;       // even: parts of collectives; odd: messages
constexpr int64_t kSmallBytes = 16 << 10;   // of all ranks together
constexpr int64_t kScratchBytes = 4 << 20;  // what the other ranks' parts of a reduction are received into

MPI_Datatype type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return MPI_FLOAT;
    case DType::f64:
      return MPI_DOUBLE;
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
    case DType::bf16:
    case DType::f16:
      return MPI_UINT16_T;
    case DType::u8:
    case DType::f8e4m3:
    case DType::f8e5m2:
      return MPI_BYTE;
  }
  return MPI_DATATYPE_NULL;
}

MPI_Op op_of(ReduceOp op) { return op == ReduceOp::sum ? MPI_SUM : op == ReduceOp::max ? MPI_MAX : MPI_MIN; }

uint64_t hash_of(std::initializer_list<int64_t> numbers) {
  uint64_t h = 0;
  for (const int64_t number : numbers) h = stream_key(h ^ static_cast<uint64_t>(number), "call");
  return h;
}

int64_t element_bytes(const Tensor& t) { return static_cast<int64_t>(size_of(t.dtype())); }

int largest_tag() {
  int* value = nullptr;
  int is_set = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &is_set);
  return is_set != 0 ? *value : 32767;  // what every MPI has
}

}  // namespace

MpiGroup::MpiGroup(MPI_Comm comm, std::string name, const MpiOptions& options)
    : comm_(comm), name_(std::move(name)), options_(options) {
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &size_);
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  num_lengths_ = (largest_tag() - kFirstTagOfLengths) / 2;
  progress_ = std::make_unique<MpiProgress>(comm_, kProgressTag);
}

std::vector<int> MpiGroup::world_ranks() const {
  std::vector<int> ranks(static_cast<size_t>(size_)), of_world(ranks.size());
  std::iota(ranks.begin(), ranks.end(), 0);
  MPI_Group world = MPI_GROUP_NULL, own = MPI_GROUP_NULL;
  check(MPI_Comm_group(MPI_COMM_WORLD, &world), "MPI_Comm_group");
  check(MPI_Comm_group(comm_, &own), "MPI_Comm_group");
  check(MPI_Group_translate_ranks(own, size_, ranks.data(), world, of_world.data()),
        "MPI_Group_translate_ranks");
  MPI_Group_free(&own);
  MPI_Group_free(&world);
  return of_world;
}

int MpiGroup::tag_of(Traffic traffic, int64_t bytes) const {
  return kFirstTagOfLengths + 2 * static_cast<int>(bytes % num_lengths_) + (traffic == Traffic::message);
}

template <class F>
void MpiGroup::for_pieces(int64_t n, int64_t element, F&& f) const {
  const int64_t limit = std::max<int64_t>(options_.max_message_bytes / element, 1);
  int64_t offset = 0;
  do {
    const int64_t count = std::min(limit, n - offset);
    f(offset, static_cast<int>(count));
    offset += count;
  } while (offset < n);
}

void MpiGroup::collective(const CommCall& call) {
  if (options_.check_calls || call.check != CallCheck::backend) compare(call);
  switch (call.kind) {
    case CommKind::all_reduce:
      return all_reduce(call);
    case CommKind::all_gather:
      return all_gather(call);
    case CommKind::reduce_scatter: {
      std::vector<int64_t> offsets(static_cast<size_t>(size_) + 1);
      for (size_t r = 0; r < offsets.size(); ++r) offsets[r] = static_cast<int64_t>(r) * call.out.numel();
      return reduce_parts(call.op, call.in.dtype(), bytes_of(call.in), offsets, bytes_of(call.out));
    }
    case CommKind::broadcast:
      return for_pieces(call.out.numel(), element_bytes(call.out), [&](int64_t offset, int count) {
        check(MPI_Bcast(bytes_of(call.out) + offset * element_bytes(call.out), count,
                        type_of(call.out.dtype()), call.peer, comm_),
              "MPI_Bcast");
      });
    case CommKind::all_to_all:
    case CommKind::all_to_all_v:
      return all_to_all(call);
    case CommKind::barrier:
      return check(MPI_Barrier(comm_), "MPI_Barrier");
    case CommKind::send:
    case CommKind::receive:
    case CommKind::split:
      return;
  }
}

// Each rank adds three numbers, all of which wrap around. h is a hash of what it calls: where n ranks call
// the same, n times the sum of h * h is the square of the sum of h, and hardly elsewhere (for two ranks the
// difference is that of their h, squared). The third adds up, over all pairs, what one will send less what
// the other awaits, each by a hash of (from, to, count): 0 where they agree. All ranks have the same sums,
// and so come to the same conclusion.
void MpiGroup::compare(const CommCall& call) {
  const CommSignature signature = signature_of(call);
  uint64_t h = hash_of({signature.kind, signature.dtype, signature.op, signature.root, signature.count});
  if (call.check != CallCheck::backend)
    h ^= hash_of({signature.step, signature.phase, signature.micro_batch, signature.layer});
  uint64_t balance = 0;
  if (call.kind == CommKind::all_to_all_v) {
    for (int r = 0; r < size_; ++r) {
      const auto at = static_cast<size_t>(r);
      balance += hash_of({rank_, r, call.send_counts[at]}) - hash_of({r, rank_, call.receive_counts[at]});
    }
  }
  uint64_t sums[3] = {h, h * h, balance};
  check(MPI_Allreduce(MPI_IN_PLACE, sums, 3, MPI_UINT64_T, MPI_SUM, comm_), "MPI_Allreduce");
  const bool equal = static_cast<uint64_t>(size_) * sums[1] == sums[0] * sums[0];
  if (!equal || sums[2] != 0) describe_difference(call);
}

void MpiGroup::describe_difference(const CommCall& call) {
  constexpr int kNumbers = sizeof(CommSignature) / sizeof(int64_t);
  const CommSignature mine = signature_of(call);
  std::vector<CommSignature> all(static_cast<size_t>(size_));
  check(MPI_Allgather(&mine, kNumbers, MPI_INT64_T, all.data(), kNumbers, MPI_INT64_T, comm_),
        "MPI_Allgather");
  std::string mismatch = describe_mismatch(name_, all);
  if (mismatch.empty() && call.kind == CommKind::all_to_all_v) {
    std::vector<int64_t> sent(static_cast<size_t>(size_) * static_cast<size_t>(size_)), expected(sent.size());
    check(MPI_Allgather(call.send_counts.data(), size_, MPI_INT64_T, sent.data(), size_, MPI_INT64_T, comm_),
          "MPI_Allgather");
    check(MPI_Allgather(call.receive_counts.data(), size_, MPI_INT64_T, expected.data(), size_, MPI_INT64_T,
                        comm_),
          "MPI_Allgather");
    mismatch = describe_count_mismatch(name_, sent, expected, size_);
  }
  TRIREME_CHECK(!mismatch.empty(), "communicator '{}': calls differ, and do not", name_);
  throw InternalError(mismatch);
}

// MPI's own all-reduce adds in an order that depends on the message's length. Sums of floating-point numbers
// add up in the order of the ranks instead, so that neither buckets nor backends change a bit.
void MpiGroup::all_reduce(const CommCall& call) {
  const Tensor& t = call.out;
  const bool any_order = call.op != ReduceOp::sum || t.dtype() == DType::i32 || t.dtype() == DType::i64;
  if (any_order && element_bytes(t) > 2) {
    return for_pieces(t.numel(), element_bytes(t), [&](int64_t offset, int count) {
      check(MPI_Allreduce(MPI_IN_PLACE, bytes_of(t) + offset * element_bytes(t), count, type_of(t.dtype()),
                          op_of(call.op), comm_),
            "MPI_Allreduce");
    });
  }
  if (t.bytes() * size_ <= std::min(kSmallBytes, options_.max_message_bytes)) return all_reduce_small(call);
  std::vector<int64_t> offsets(static_cast<size_t>(size_) + 1);
  for (size_t r = 0; r < offsets.size(); ++r) offsets[r] = t.numel() * static_cast<int64_t>(r) / size_;
  reduce_parts(call.op, t.dtype(), bytes_of(t), offsets,
               bytes_of(t) + offsets[static_cast<size_t>(rank_)] * element_bytes(t));
  gather_parts(t.dtype(), bytes_of(t), offsets);
}

// Every rank receives everything and adds up by itself: one message a rank instead of two.
void MpiGroup::all_reduce_small(const CommCall& call) {
  const Tensor& t = call.out;
  std::vector<std::byte> all(static_cast<size_t>(t.bytes() * size_));
  const int count = static_cast<int>(t.bytes());
  check(MPI_Allgather(t.raw(), count, MPI_BYTE, all.data(), count, MPI_BYTE, comm_), "MPI_Allgather");
  std::vector<const std::byte*> parts(static_cast<size_t>(size_));
  for (size_t r = 0; r < parts.size(); ++r) parts[r] = all.data() + r * static_cast<size_t>(count);
  reduce_in_order(call.op, t.dtype(), parts, t.numel(), bytes_of(t));
}

void MpiGroup::all_gather(const CommCall& call) {
  const Tensor &in = call.in, &out = call.out;
  std::byte* own = bytes_of(out) + rank_ * in.bytes();
  const bool in_place = bytes_of(in) == own;
  if (out.bytes() <= options_.max_message_bytes) {
    const int count = static_cast<int>(in.numel());
    return check(MPI_Allgather(in_place ? MPI_IN_PLACE : in.raw(), count, type_of(in.dtype()), out.raw(),
                               count, type_of(in.dtype()), comm_),
                 "MPI_Allgather");
  }
  if (!in_place) std::memcpy(own, in.raw(), static_cast<size_t>(in.bytes()));
  std::vector<int64_t> offsets(static_cast<size_t>(size_) + 1);
  for (size_t r = 0; r < offsets.size(); ++r) offsets[r] = static_cast<int64_t>(r) * in.numel();
  gather_parts(in.dtype(), bytes_of(out), offsets);
}

void MpiGroup::all_to_all(const CommCall& call) {
  const int64_t element = element_bytes(call.in);
  std::vector<Part> send, receive;
  int64_t from = 0, to = 0;
  for (size_t r = 0; r < call.send_counts.size(); ++r) {
    send.push_back({bytes_of(call.in) + from, call.send_counts[r] * element});
    receive.push_back({bytes_of(call.out) + to, call.receive_counts[r] * element});
    from += send.back().bytes;
    to += receive.back().bytes;
  }
  const Part &own_in = send[static_cast<size_t>(rank_)], &own_out = receive[static_cast<size_t>(rank_)];
  TRIREME_CHECK(own_in.bytes == own_out.bytes,
                "all_to_all_v on communicator '{}': rank {} sends {} bytes to itself and expects {}", name_,
                rank_, own_in.bytes, own_out.bytes);
  if (own_in.bytes > 0) std::memcpy(own_out.data, own_in.data, static_cast<size_t>(own_in.bytes));
  exchange(send, receive);
}

void MpiGroup::exchange(std::span<const Part> send, std::span<const Part> receive) {
  std::vector<MPI_Request> requests;
  const auto in_pieces = [&](const Part& part, auto&& begin) {
    if (part.bytes == 0) return;
    for_pieces(part.bytes, 1, [&](int64_t offset, int count) {
      requests.push_back(MPI_REQUEST_NULL);
      begin(part.data + offset, count, &requests.back());
    });
  };
  for (int step = 1; step < size_; ++step) {
    const int from = (rank_ + size_ - step) % size_;
    in_pieces(receive[static_cast<size_t>(from)], [&](std::byte* data, int count, MPI_Request* request) {
      check(MPI_Irecv(data, count, MPI_BYTE, from, tag_of(Traffic::collective, count), comm_, request),
            "MPI_Irecv");
    });
  }
  for (int step = 1; step < size_; ++step) {
    const int to = (rank_ + step) % size_;
    in_pieces(send[static_cast<size_t>(to)], [&](std::byte* data, int count, MPI_Request* request) {
      check(MPI_Isend(data, count, MPI_BYTE, to, tag_of(Traffic::collective, count), comm_, request),
            "MPI_Isend");
    });
  }
  for (MPI_Request& request : requests) check(MPI_Wait(&request, MPI_STATUS_IGNORE), "MPI_Wait");
}

void MpiGroup::reduce_parts(ReduceOp op, DType dtype, std::byte* in, std::span<const int64_t> offsets,
                            std::byte* out) {
  const auto element = static_cast<int64_t>(size_of(dtype));
  const auto length = [&](int r) {
    return offsets[static_cast<size_t>(r) + 1] - offsets[static_cast<size_t>(r)];
  };
  int64_t longest = 0;
  for (int r = 0; r < size_; ++r) longest = std::max(longest, length(r));
  const int64_t segment =
      std::clamp<int64_t>(kScratchBytes / (element * size_), 1, std::max<int64_t>(longest, 1));
  if (const auto needed = static_cast<size_t>(segment * element * size_); scratch_.size() < needed)
    scratch_.resize(needed);
  std::vector<Part> send(static_cast<size_t>(size_)), receive(send.size());
  std::vector<const std::byte*> parts(send.size());
  for (int64_t begin = 0; begin < longest; begin += segment) {
    const auto count = [&](int r) { return std::clamp<int64_t>(length(r) - begin, 0, segment); };
    for (int r = 0; r < size_; ++r) {
      const auto at = static_cast<size_t>(r);
      std::byte* landing = scratch_.data() + r * segment * element;
      send[at] = {in + (offsets[at] + begin) * element, count(r) * element};
      receive[at] = {landing, count(rank_) * element};
      parts[at] = r == rank_ ? send[at].data : landing;
    }
    exchange(send, receive);
    reduce_in_order(op, dtype, parts, count(rank_), out + begin * element);
  }
}

void MpiGroup::gather_parts(DType dtype, std::byte* data, std::span<const int64_t> offsets) {
  const auto element = static_cast<int64_t>(size_of(dtype));
  std::vector<Part> receive;
  for (size_t r = 0; r + 1 < offsets.size(); ++r) {
    receive.push_back({data + offsets[r] * element, (offsets[r + 1] - offsets[r]) * element});
  }
  const std::vector<Part> send(receive.size(), receive[static_cast<size_t>(rank_)]);
  exchange(send, receive);
}

std::shared_ptr<MpiGroup> MpiGroup::split(int color, int key, std::string name) {
  if (options_.check_calls) compare({.kind = CommKind::split});
  MPI_Comm part = MPI_COMM_NULL;
  check(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split");
  return std::make_shared<MpiGroup>(part, std::move(name), options_);
}

std::vector<MPI_Request> MpiGroup::post(const CommCall& call, MessageHeader& header) {
  std::vector<MPI_Request> requests;
  const auto begin = [&](void* data, int count, int tag) {
    requests.push_back(MPI_REQUEST_NULL);
    if (call.kind == CommKind::send) {
      check(MPI_Isend(data, count, MPI_BYTE, call.peer, tag, comm_, &requests.back()), "MPI_Isend");
    } else {
      check(MPI_Irecv(data, count, MPI_BYTE, call.peer, tag, comm_, &requests.back()), "MPI_Irecv");
    }
  };
  begin(&header, sizeof header, kHeaderTag);
  for_pieces(call.in.bytes(), 1, [&](int64_t offset, int count) {
    begin(bytes_of(call.in) + offset, count, tag_of(Traffic::message, count));
  });
  return requests;
}

void MpiGroup::free() noexcept {
  progress_.reset();
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized == 0) MPI_Comm_free(&comm_);
}

}  // namespace trireme
