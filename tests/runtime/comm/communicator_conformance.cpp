#include "tests/runtime/comm/communicator_conformance.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/philox.h"
#include "runtime/comm/communicator.h"
#include "runtime/tensor/element_type.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"
#include "tests/support/tier.h"

namespace trireme::test {

namespace {

constexpr DType kReducibleTypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64};
/// Of the 8-bit types the one that holds every sample.
constexpr DType kAllTypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16,
                               DType::i32, DType::i64, DType::u8,   DType::f8e4m3};
constexpr ReduceOp kReduceOps[] = {ReduceOp::sum, ReduceOp::max, ReduceOp::min};
/// The large one has many parts, on which a sanitizer would see the same.
std::vector<int64_t> sizes() {
  return is_short_under_sanitizer() ? std::vector<int64_t>{0, 1, 3, 1000}
                                    : std::vector<int64_t>{0, 1, 3, 1000, 20011};
}

std::string describe(DType dtype, int64_t n, std::string_view option = "") {
  return fmt::format("{} x {} {}", n, to_string(dtype), option);
}

void conform_all_reduce(Communicator& comm) {
  ConformanceRank me(comm);
  for (const DType dtype : kReducibleTypes) {
    for (const ReduceOp op : kReduceOps) {
      for (const int64_t n : sizes()) {
        SCOPED_TRACE(describe(dtype, n, to_string(op)));
        const auto expected = list(n, [&](int64_t i) { return reduced(op, me.size, i); });
        const Tensor t = me.make(dtype, n, [&](int64_t i) { return sample(me.rank, i); });
        const Tensor u = me.make(dtype, n, [&](int64_t i) { return sample(me.rank, i); });
        comm.all_reduce(me.stream, t, op);
        comm.all_reduce_async(me.stream, u, op)->wait();
        EXPECT_EQ(values_of(t), expected);
        EXPECT_EQ(values_of(u), expected);
      }
    }
  }
}

void conform_integer_sums_are_exact(Communicator& comm) {
  ConformanceRank me(comm);
  const Tensor t = Tensor::empty(me.ctx, {3}, DType::i64);
  const int64_t big = (int64_t{1} << 58) + 1;
  write<int64_t>(t, {big + me.rank, -big, me.rank == 0 ? 1 : 0});
  comm.all_reduce(me.stream, t);
  const std::vector<int64_t> got = read<int64_t>(t);
  const int64_t n = me.size;
  EXPECT_EQ(got, (std::vector<int64_t>{n * big + n * (n - 1) / 2, -n * big, 1}));
}

void conform_all_gather(Communicator& comm) {
  ConformanceRank me(comm);
  for (const DType dtype : kAllTypes) {
    for (const int64_t n : sizes()) {
      SCOPED_TRACE(describe(dtype, n));
      const auto expected =
          list(n * me.size, [&](int64_t i) { return sample(static_cast<int>(i / n), i % n); });
      const Tensor in = me.make(dtype, n, [&](int64_t i) { return sample(me.rank, i); });
      const Tensor out = me.zeros(dtype, n * me.size);
      comm.all_gather(me.stream, in, out);
      EXPECT_EQ(values_of(out), expected);

      const Tensor whole = me.zeros(dtype, n * me.size);
      const Tensor part = whole.flat_slice(n * me.rank, {n});
      copy_memory(part, part.raw(), in.raw());
      comm.all_gather_async(me.stream, part, whole)->wait();
      EXPECT_EQ(values_of(whole), expected);
    }
  }
}

void conform_reduce_scatter(Communicator& comm) {
  ConformanceRank me(comm);
  for (const DType dtype : kReducibleTypes) {
    for (const ReduceOp op : kReduceOps) {
      for (const int64_t n : sizes()) {
        SCOPED_TRACE(describe(dtype, n, to_string(op)));
        const auto expected = list(n, [&](int64_t i) { return reduced(op, me.size, me.rank * n + i); });
        const Tensor in = me.make(dtype, n * me.size, [&](int64_t i) { return sample(me.rank, i); });
        const Tensor out = me.zeros(dtype, n);
        comm.reduce_scatter(me.stream, in, out, op);
        EXPECT_EQ(values_of(out), expected);
        EXPECT_EQ(values_of(in), list(n * me.size, [&](int64_t i) { return sample(me.rank, i); }))
            << "in was changed";

        const Tensor part = in.flat_slice(n * me.rank, {n});
        comm.reduce_scatter_async(me.stream, in, part, op)->wait();
        EXPECT_EQ(values_of(part), expected);
      }
    }
  }
}

void conform_broadcast(Communicator& comm) {
  ConformanceRank me(comm);
  for (const DType dtype : kAllTypes) {
    for (const int64_t n : sizes()) {
      for (int root = 0; root < me.size; ++root) {
        SCOPED_TRACE(describe(dtype, n, fmt::format("from {}", root)));
        const Tensor t = me.make(dtype, n, [&](int64_t i) { return sample(me.rank, i); });
        if (root % 2 == 0) {
          comm.broadcast(me.stream, t, root);
        } else {
          comm.broadcast_async(me.stream, t, root)->wait();
        }
        EXPECT_EQ(values_of(t), list(n, [&](int64_t i) { return sample(root, i); }));
      }
    }
  }
}

void conform_all_to_all(Communicator& comm) {
  ConformanceRank me(comm);
  for (const DType dtype : kAllTypes) {
    for (const int64_t n : sizes()) {
      SCOPED_TRACE(describe(dtype, n));
      const Tensor in = me.make(dtype, n * me.size, [&](int64_t i) { return sample(me.rank, i); });
      const Tensor out = me.zeros(dtype, n * me.size), again = me.zeros(dtype, n * me.size);
      comm.all_to_all(me.stream, in, out);
      comm.all_to_all_async(me.stream, in, again)->wait();
      const auto expected =
          list(n * me.size, [&](int64_t i) { return sample(static_cast<int>(i / n), me.rank * n + i % n); });
      EXPECT_EQ(values_of(out), expected);
      EXPECT_EQ(values_of(again), expected);
    }
  }
}

/// Counts from 0 up that differ for each pair, with rank 1 sending nothing at all.
void conform_all_to_all_v(Communicator& comm) {
  ConformanceRank me(comm);
  for (const DType dtype : kAllTypes) {
    for (const int64_t scale : {0, 1, 333}) {
      SCOPED_TRACE(describe(dtype, scale, "times"));
      const auto count = [&](int from, int to) {
        return from == 1 ? 0 : (from * 3 + to * 5 + 1) % 4 * scale;
      };
      std::vector<int64_t> send_counts, receive_counts;
      std::vector<double> sent, expected;
      for (int r = 0; r < me.size; ++r) {
        send_counts.push_back(count(me.rank, r));
        receive_counts.push_back(count(r, me.rank));
        for (int64_t i = 0; i < send_counts.back(); ++i) sent.push_back(sample(me.rank * 17 + r, i));
        for (int64_t i = 0; i < receive_counts.back(); ++i) expected.push_back(sample(r * 17 + me.rank, i));
      }
      const Tensor in =
          me.make(dtype, std::ssize(sent), [&](int64_t i) { return sent[static_cast<size_t>(i)]; });
      const Tensor out = me.zeros(dtype, std::ssize(expected));
      comm.all_to_all_v(me.stream, in, send_counts, out, receive_counts);
      EXPECT_EQ(values_of(out), expected);
      const Tensor again = me.zeros(dtype, std::ssize(expected));
      comm.all_to_all_v_async(me.stream, in, send_counts, again, receive_counts)->wait();
      EXPECT_EQ(values_of(again), expected);
    }
  }
}

/// Both neighbours, both directions, sends posted before receives, waited for in the other order; large
/// messages too.
void conform_rings(Communicator& comm) {
  ConformanceRank me(comm);
  if (me.size == 1) {
    EXPECT_THROW(comm.send(me.stream, me.zeros(DType::f32, 1), 0), InternalError);
    return;
  }
  const int next = (me.rank + 1) % me.size, previous = (me.rank + me.size - 1) % me.size;
  for (const DType dtype : kAllTypes) {
    for (const int64_t n : {0, 1, 3, 1000, 100003}) {
      SCOPED_TRACE(describe(dtype, n));
      const Tensor out = me.make(dtype, n, [&](int64_t i) { return sample(me.rank, i); });
      const Tensor from_previous = me.zeros(dtype, n), from_next = me.zeros(dtype, n);
      std::vector<WorkPtr> works;
      works.push_back(comm.send_async(me.stream, out, next));
      if (me.size > 2) works.push_back(comm.send_async(me.stream, out, previous));
      works.push_back(comm.receive_async(me.stream, from_previous, previous));
      if (me.size > 2) works.push_back(comm.receive_async(me.stream, from_next, next));
      std::for_each(works.rbegin(), works.rend(), [](const WorkPtr& w) { w->wait(); });
      EXPECT_EQ(values_of(from_previous), list(n, [&](int64_t i) { return sample(previous, i); }));
      if (me.size > 2) {
        EXPECT_EQ(values_of(from_next), list(n, [&](int64_t i) { return sample(next, i); }));
      }
    }
  }
}

/// Several messages of a pair under way arrive in the order they were sent, while collectives run beside
/// them.
void conform_messages_keep_their_order(Communicator& comm) {
  ConformanceRank me(comm);
  const int partner = me.rank ^ 1;
  const bool paired = partner < me.size;
  std::vector<Tensor> sent, received;
  std::vector<WorkPtr> works;
  for (int m = 0; m < 8 && paired; ++m) {
    sent.push_back(me.make(DType::f32, 5001, [&](int64_t i) { return sample(me.rank + m, i); }));
    received.push_back(me.zeros(DType::f32, 5001));
    works.push_back(comm.send_async(me.stream, sent.back(), partner));
  }
  const Tensor sum = me.make(DType::f32, 1000, [&](int64_t i) { return sample(me.rank, i); });
  comm.all_reduce(me.stream, sum);
  for (const Tensor& t : received) works.push_back(comm.receive_async(me.stream, t, partner));
  for (const WorkPtr& w : works) w->wait();
  me.stream.synchronize();
  for (const WorkPtr& w : works) EXPECT_TRUE(w->is_done());
  EXPECT_EQ(values_of(sum), list(1000, [&](int64_t i) { return reduced(ReduceOp::sum, me.size, i); }));
  for (int m = 0; m < std::ssize(received); ++m) {
    EXPECT_EQ(values_of(received[static_cast<size_t>(m)]),
              list(5001, [&](int64_t i) { return sample(partner + m, i); }));
  }
}

/// Blocking calls down the chain of ranks and up again, as a pipeline does.
void conform_blocking_chain(Communicator& comm) {
  ConformanceRank me(comm);
  const Tensor t = me.zeros(DType::bf16, 50001);
  const auto shift = [&](int64_t by) {
    std::vector<bf16> values = read<bf16>(t);
    for (bf16& value : values) value = bf16(value + static_cast<float>(by));
    write(t, values);
  };
  if (me.rank > 0) comm.receive(me.stream, t, me.rank - 1);
  shift(me.rank + 1);
  if (me.rank + 1 < me.size) {
    comm.send(me.stream, t, me.rank + 1);
    comm.receive(me.stream, t, me.rank + 1);
  }
  const double total = me.size * (me.size + 1) / 2;
  EXPECT_EQ(values_of(t), list(t.numel(), [&](int64_t) { return total; }));
  if (me.rank > 0) comm.send(me.stream, t, me.rank - 1);
}

void conform_asynchronous_order(Communicator& comm) {
  ConformanceRank me(comm);
  std::vector<Tensor> sums, copies;
  std::vector<WorkPtr> works;
  for (int k = 0; k < 20; ++k) {
    const auto value = [&](int64_t i) { return sample(me.rank, i + k); };
    sums.push_back(me.make(k % 2 == 0 ? DType::f32 : DType::bf16, 501 * k, value));
    works.push_back(comm.all_reduce_async(me.stream, sums.back()));
    copies.push_back(me.make(DType::i32, 7 * k + 1, value));
    if (k % 5 == 4) {
      comm.broadcast(me.stream, copies.back(), k % me.size);
    } else {
      works.push_back(comm.broadcast_async(me.stream, copies.back(), k % me.size));
    }
  }
  comm.barrier(me.stream);
  std::for_each(works.rbegin(), works.rend(), [](const WorkPtr& w) { w->wait(); });
  for (int k = 0; k < 20; ++k) {
    const Tensor &sum = sums[static_cast<size_t>(k)], &copy = copies[static_cast<size_t>(k)];
    EXPECT_EQ(values_of(sum),
              list(sum.numel(), [&](int64_t i) { return reduced(ReduceOp::sum, me.size, i + k); }));
    EXPECT_EQ(values_of(copy), list(copy.numel(), [&](int64_t i) { return sample(k % me.size, i + k); }));
  }
}

/// A tensor that changes its owner between operations: the second starts after the first without a wait
/// between them.
void conform_operations_follow_each_other(Communicator& comm) {
  ConformanceRank me(comm);
  const Tensor t = me.make(DType::f64, 3001, [&](int64_t i) { return sample(me.rank, i); });
  const Tensor all = me.zeros(DType::f64, 3001 * me.size);
  const WorkPtr first = comm.all_reduce_async(me.stream, t);
  const WorkPtr second = comm.all_gather_async(me.stream, t, all);
  comm.all_reduce(me.stream, t, ReduceOp::max);
  first->wait();
  second->wait();
  EXPECT_EQ(values_of(all),
            list(all.numel(), [&](int64_t i) { return reduced(ReduceOp::sum, me.size, i % 3001); }));
}

void conform_split(Communicator& comm) {
  ConformanceRank me(comm);
  const auto color_of = [](int r) { return r % 3 == 0 ? 7 : 0; };
  const auto part = comm.split(color_of(me.rank), -me.rank, "part");  // reversed order
  std::vector<int> members;
  for (int r = me.size - 1; r >= 0; --r) {
    if (color_of(r) == color_of(me.rank)) members.push_back(r);
  }
  EXPECT_EQ(part->name(), "part");
  EXPECT_EQ(part->size(), std::ssize(members));
  EXPECT_EQ(members[static_cast<size_t>(part->rank())], me.rank);

  const Tensor mine = me.make(DType::i32, 1, [&](int64_t) { return me.rank; });
  const Tensor all = me.zeros(DType::i32, part->size());
  const Tensor everybody = me.make(DType::f32, 1000, [&](int64_t i) { return sample(me.rank, i); });
  const WorkPtr beside = comm.all_reduce_async(me.stream, everybody);
  part->all_gather(me.stream, mine, all);
  beside->wait();
  EXPECT_EQ(values_of(all), std::vector<double>(members.begin(), members.end()));
  EXPECT_EQ(values_of(everybody), list(1000, [&](int64_t i) { return reduced(ReduceOp::sum, me.size, i); }));

  const auto alone = part->split(part->rank(), 0, "alone");
  EXPECT_EQ(alone->size(), 1);
  alone->all_reduce(me.stream, mine);
  EXPECT_EQ(values_of(mine), std::vector<double>{static_cast<double>(me.rank)});
}

/// Half of the ranks wait for what is under way on two groups in the other order.
void conform_groups_end_in_any_order(Communicator& comm) {
  ConformanceRank me(comm);
  const auto a = comm.split(0, me.rank, "a"), b = comm.split(0, me.rank, "b");
  const Tensor x = me.make(DType::f32, 4001, [&](int64_t i) { return sample(me.rank, i); });
  const Tensor y = me.make(DType::f32, 4001, [&](int64_t i) { return sample(me.rank, i); });
  WorkPtr works[] = {a->all_reduce_async(me.stream, x), b->all_reduce_async(me.stream, y)};
  if (me.rank % 2 == 1) std::swap(works[0], works[1]);
  for (const WorkPtr& work : works) work->wait();
  const auto expected = list(4001, [&](int64_t i) { return reduced(ReduceOp::sum, me.size, i); });
  EXPECT_EQ(values_of(x), expected);
  EXPECT_EQ(values_of(y), expected);
}

/// Operations under way on two groups do not wait for each other: half of the ranks begin them in the other
/// order.
void conform_groups_begin_in_any_order(Communicator& comm) {
  ConformanceRank me(comm);
  const auto a = comm.split(0, me.rank, "a"), b = comm.split(0, me.rank, "b");
  const Tensor x = me.make(DType::f32, 4001, [&](int64_t i) { return sample(me.rank, i); });
  const Tensor y = me.make(DType::f32, 4001, [&](int64_t i) { return sample(me.rank, i); });
  Communicator& first = me.rank % 2 == 0 ? *a : *b;
  Communicator& second = me.rank % 2 == 0 ? *b : *a;
  const WorkPtr w = first.all_reduce_async(me.stream, x);
  second.all_reduce(me.stream, y);
  w->wait();
  const auto expected = list(4001, [&](int64_t i) { return reduced(ReduceOp::sum, me.size, i); });
  EXPECT_EQ(values_of(x), expected);
  EXPECT_EQ(values_of(y), expected);
}

/// Sums of numbers of very different sizes: equal bits on all ranks and again.
void conform_determinism(Communicator& comm) {
  ConformanceRank me(comm);
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (const int64_t n : {1, 1000, 20011}) {
      SCOPED_TRACE(describe(dtype, n));
      std::vector<std::byte> bits[2];
      for (auto& run : bits) {
        const Tensor t = me.make(dtype, n, [&](int64_t i) {
          const auto z = philox_normal4(static_cast<uint64_t>(me.rank), static_cast<uint64_t>(i), 0);
          return z[0] * std::exp2(std::floor(3.0f * z[1]));
        });
        comm.all_reduce(me.stream, t);
        const Tensor as_bytes = Tensor::borrow(t.raw(), {t.bytes()}, DType::u8, t.device());
        const Tensor all = me.zeros(DType::u8, t.bytes() * me.size);
        comm.all_gather(me.stream, as_bytes, all);
        run.resize(static_cast<size_t>(all.bytes()));
        copy_memory(all, run.data(), all.raw());
      }
      EXPECT_TRUE(bits[0] == bits[1]) << "two runs differ";
      const auto length = static_cast<ptrdiff_t>(bits[0].size()) / me.size;
      for (int r = 1; r < me.size; ++r) {
        EXPECT_TRUE(std::equal(bits[0].begin(), bits[0].begin() + length, bits[0].begin() + r * length))
            << "rank " << r << " differs";
      }
    }
  }
}

/// Half types: the fp32 sum in the order of the ranks, rounded once.
template <class T>
void conform_half_sums(Communicator& comm) {
  ConformanceRank me(comm);
  constexpr int64_t n = 1003;
  const auto value = [](int rank, int64_t i) {
    const auto z = philox_normal4(static_cast<uint64_t>(rank) + 99, static_cast<uint64_t>(i), 0);
    // Element 0: a large number and ones, which a sum rounded at each step would lose.
    return T(i == 0 ? (rank == 0 ? 2048.0f : 1.0f) : z[0] * std::exp2(std::floor(3.0f * z[1])));
  };
  std::vector<double> expected;
  for (int64_t i = 0; i < n; ++i) {
    float sum = value(0, i);
    for (int r = 1; r < me.size; ++r) sum += value(r, i);
    expected.push_back(T(sum));
  }
  const Tensor t = me.make(DTypeOf<T>::value, n, [&](int64_t i) { return value(me.rank, i); });
  comm.all_reduce(me.stream, t);
  EXPECT_EQ(values_of(t), expected);

  const int64_t part = n / me.size;
  const Tensor in = me.make(DTypeOf<T>::value, part * me.size, [&](int64_t i) { return value(me.rank, i); });
  const Tensor out = me.zeros(DTypeOf<T>::value, part);
  comm.reduce_scatter(me.stream, in, out);
  EXPECT_EQ(values_of(out),
            list(part, [&](int64_t i) { return expected[static_cast<size_t>(me.rank * part + i)]; }));
}

/// Arguments that break the contract are refused before anything is sent: the group works afterwards.
void conform_bad_arguments(Communicator& comm) {
  ConformanceRank me(comm);
  const Tensor t = me.zeros(DType::f32, 6 * me.size), part = me.zeros(DType::f32, 6),
               bytes = me.zeros(DType::u8, 6 * me.size);
  const auto counts = std::vector<int64_t>(static_cast<size_t>(me.size), 6);
  auto negative = counts;
  negative.back() = -6;
  EXPECT_THROW(comm.all_reduce(me.stream, Tensor()), InternalError);
  EXPECT_THROW(comm.all_reduce(me.stream, bytes), InternalError);
  EXPECT_THROW(comm.all_gather(me.stream, part, bytes), InternalError);
  EXPECT_THROW(comm.all_gather(me.stream, part, t.slice(1, 6 * me.size)), InternalError);
  EXPECT_THROW(comm.reduce_scatter(me.stream, t, part.slice(0, 5)), InternalError);
  EXPECT_THROW(comm.reduce_scatter(me.stream, bytes, bytes.slice(6 * me.rank, 6 * me.rank + 6)),
               InternalError);
  EXPECT_THROW(comm.broadcast(me.stream, t, me.size), InternalError);
  EXPECT_THROW(comm.broadcast(me.stream, t, -1), InternalError);
  EXPECT_THROW(comm.all_to_all(me.stream, t, t), InternalError);
  EXPECT_THROW(comm.all_to_all_v(me.stream, t, negative, me.zeros(DType::f32, 6 * me.size), counts),
               InternalError);
  EXPECT_THROW(comm.all_to_all_v(me.stream, t, {counts.data(), counts.size() - 1},
                                 me.zeros(DType::f32, 6 * me.size), counts),
               InternalError);
  EXPECT_THROW(comm.send(me.stream, t, me.rank), InternalError);
  EXPECT_THROW(comm.receive(me.stream, t, me.size), InternalError);
  EXPECT_THROW((void)comm.split(-1, 0, "none"), InternalError);
  const Tensor elsewhere =
      Tensor::borrow(t.raw(), t.shape(), DType::f32, {.type = DeviceType::cuda, .index = 5});
  EXPECT_THROW(comm.all_reduce(me.stream, elsewhere), InternalError);
  const Tensor two_parts = me.zeros(DType::f32, 6 * me.size + 1);
  EXPECT_THROW(comm.all_gather(me.stream, two_parts.flat_slice(6 * me.rank + 1, {6}),
                               two_parts.flat_slice(0, {6 * me.size})),
               InternalError);

  const Tensor ok = me.make(DType::f32, 3, [&](int64_t i) { return sample(me.rank, i); });
  comm.all_reduce(me.stream, ok);
  EXPECT_EQ(values_of(ok), list(3, [&](int64_t i) { return reduced(ReduceOp::sum, me.size, i); }));
}

}  // namespace

std::vector<ConformanceCase> conformance_cases(bool strict) {
  std::vector<ConformanceCase> cases = {
      {"all_reduce", conform_all_reduce},
      {"integer_sums_are_exact", conform_integer_sums_are_exact},
      {"all_gather", conform_all_gather},
      {"reduce_scatter", conform_reduce_scatter},
      {"broadcast", conform_broadcast},
      {"all_to_all", conform_all_to_all},
      {"all_to_all_v", conform_all_to_all_v},
      {"rings", conform_rings},
      {"messages_keep_their_order", conform_messages_keep_their_order},
      {"blocking_chain", conform_blocking_chain},
      {"asynchronous_order", conform_asynchronous_order},
      {"operations_follow_each_other", conform_operations_follow_each_other},
      {"split", conform_split},
      {"groups_end_in_any_order", conform_groups_end_in_any_order},
      {"determinism", conform_determinism},
      {"bad_arguments", conform_bad_arguments}};
  if (strict) {
    cases.push_back({"groups_begin_in_any_order", conform_groups_begin_in_any_order});
    cases.push_back({"bf16_sums", conform_half_sums<bf16>});
    cases.push_back({"f16_sums", conform_half_sums<fp16>});
  }
  return cases;
}

}  // namespace trireme::test
