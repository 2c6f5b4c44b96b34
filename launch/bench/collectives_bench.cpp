#include "launch/bench/collectives_bench.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>

#include <fmt/format.h>

#include "runtime/ops/host_copy.h"
#include "runtime/tensor/element_type.h"

namespace trireme::launch {

namespace {

/// Small whole numbers, whose sums every type holds exactly for a few dozen ranks.
double sample(int rank, int64_t i) { return static_cast<double>((i * 7 + rank * 3) % 5); }

Tensor filled(Context& ctx, DType dtype, int64_t count, const std::function<double(int64_t)>& value) {
  Tensor t;
  with_element_type(dtype, [&]<class T>(T) {
    std::vector<T> values(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = to_element<T>(value(i));
    t = ops::to_device(ctx, values, {count});
  });
  return t;
}

/// One operation at one size.
struct Case {
  Tensor in, out;
  std::function<void()> call;
  std::function<double(int64_t)> expected;  // of an element of `out`
  double bus_factor;
};

double reduced(ReduceOp op, int num_ranks, int64_t i) {
  double result = sample(0, i);
  for (int rank = 1; rank < num_ranks; ++rank) {
    const double next = sample(rank, i);
    result = op == ReduceOp::sum   ? result + next
             : op == ReduceOp::max ? std::max(result, next)
                                   : std::min(result, next);
  }
  return result;
}

// The number of elements of `in` and `out` where the larger has `bytes` bytes.
std::pair<int64_t, int64_t> counts_of(const std::string& operation, int64_t bytes, DType dtype, int size) {
  const int64_t part = bytes / static_cast<int64_t>(size_of(dtype)) / size, whole = part * size;
  if (operation == "all_gather") return {part, whole};
  if (operation == "reduce_scatter") return {whole, part};
  return {whole, whole};
}

Case make_case(Context& ctx, Communicator& comm, const CollectivesBenchOptions& options,
               const std::string& operation, int64_t bytes) {
  const int size = comm.size(), rank = comm.rank();
  const auto [num_in, num_out] = counts_of(operation, bytes, options.dtype, size);
  const auto own = [rank](int64_t i) { return sample(rank, i); };
  Case c{filled(ctx, options.dtype, num_in, own),
         filled(ctx, options.dtype, num_out, [](int64_t) { return 0.0; }),
         {},
         {},
         1};
  Stream& stream = ctx.stream();
  const double others = static_cast<double>(size - 1) / size;
  const int64_t part = num_in / size;
  if (operation == "all_reduce") {
    c.out = c.in;
    c.bus_factor = 2 * others;
    c.call = [&comm, &stream, op = options.op, t = c.in] { comm.all_reduce(stream, t, op); };
    c.expected = [op = options.op, size](int64_t i) { return reduced(op, size, i); };
  } else if (operation == "all_gather") {
    c.bus_factor = others;
    c.call = [&comm, &stream, in = c.in, out = c.out] { comm.all_gather(stream, in, out); };
    c.expected = [n = std::max<int64_t>(num_in, 1)](int64_t i) {
      return sample(static_cast<int>(i / n), i % n);
    };
  } else if (operation == "reduce_scatter") {
    c.bus_factor = others;
    c.call = [&comm, &stream, op = options.op, in = c.in, out = c.out] {
      comm.reduce_scatter(stream, in, out, op);
    };
    c.expected = [op = options.op, size, first = rank * num_out](int64_t i) {
      return reduced(op, size, first + i);
    };
  } else if (operation == "broadcast") {
    c.out = c.in;
    c.call = [&comm, &stream, t = c.in] { comm.broadcast(stream, t, 0); };
    c.expected = [](int64_t i) { return sample(0, i); };
  } else if (operation == "all_to_all") {
    c.bus_factor = others;
    c.call = [&comm, &stream, in = c.in, out = c.out] { comm.all_to_all(stream, in, out); };
    c.expected = [part, rank](int64_t i) {
      const int64_t n = std::max<int64_t>(part, 1);
      return sample(static_cast<int>(i / n), rank * n + i % n);
    };
  } else {
    const int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    c.call = [&comm, &stream, next, previous, in = c.in, out = c.out] {
      const WorkPtr sent = comm.send_async(stream, in, next),
                    received = comm.receive_async(stream, out, previous);
      received->wait();
      sent->wait();
    };
    c.expected = [previous](int64_t i) { return sample(previous, i); };
  }
  return c;
}

double max_over_ranks(Context& ctx, Communicator& comm, double value) {
  comm.all_reduce(ctx.host_stream(), Tensor::borrow(&value, {1}, DType::f64), ReduceOp::max);
  return value;
}

double seconds_of_call(Context& ctx, Communicator& comm, const CollectivesBenchOptions& options,
                       const Case& c) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < options.warmup; ++i) c.call();
  ctx.stream().synchronize();
  comm.barrier(ctx.stream());
  const auto begin = Clock::now();
  for (int i = 0; i < options.iterations; ++i) c.call();
  ctx.stream().synchronize();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return max_over_ranks(ctx, comm, seconds / options.iterations);
}

// Elements of each rank that are wrong after one call on fresh inputs.
std::vector<int64_t> count_wrong(Context& ctx, Communicator& comm, const Case& c) {
  c.call();
  int64_t num_wrong = 0;
  with_element_type(c.out.dtype(), [&]<class T>(T) {
    const std::vector<T> values = ops::to_host<T>(ctx, c.out);
    for (size_t i = 0; i < values.size(); ++i) {
      num_wrong += from_element(values[i]) != c.expected(static_cast<int64_t>(i));
    }
  });
  std::vector<int64_t> by_rank(static_cast<size_t>(comm.size()));
  comm.all_gather(ctx.host_stream(), Tensor::borrow(&num_wrong, {1}, DType::i64),
                  Tensor::borrow(by_rank.data(), {comm.size()}, DType::i64));
  return by_rank;
}

}  // namespace

std::span<const std::string> collective_names() {
  static const std::array<std::string, 6> kNames = {"all_reduce", "all_gather", "reduce_scatter",
                                                    "broadcast",  "all_to_all", "send_receive"};
  return kNames;
}

std::vector<CollectiveTime> run_collectives_bench(Context& ctx, Communicator& comm,
                                                  const CollectivesBenchOptions& options) {
  std::vector<CollectiveTime> times;
  for (const std::string& operation : collective_names()) {
    if (options.operation != "all" && options.operation != operation) continue;
    if (operation == "send_receive" && comm.size() == 1) continue;
    for (int64_t bytes = options.min_bytes; bytes <= options.max_bytes; bytes *= options.factor) {
      CollectiveTime t{.operation = operation};
      const Case timed = make_case(ctx, comm, options, operation, bytes);
      t.bytes = std::max(timed.in.bytes(), timed.out.bytes());
      t.count = std::min(timed.in.numel(), timed.out.numel());
      const std::vector<int64_t> wrong = count_wrong(ctx, comm, timed);
      for (size_t rank = 0; rank < wrong.size(); ++rank) {
        t.num_wrong += wrong[rank];
        if (wrong[rank] > 0) t.wrong_ranks.push_back(static_cast<int>(rank));
      }
      t.seconds = seconds_of_call(ctx, comm, options, timed);
      t.algorithm_bandwidth = static_cast<double>(t.bytes) / t.seconds;
      t.bus_bandwidth = t.algorithm_bandwidth * timed.bus_factor;
      times.push_back(t);
    }
  }
  return times;
}

void print_collectives(std::FILE* out, const CollectivesBenchOptions& options,
                       std::span<const CollectiveTime> times) {
  fmt::print(out, "{:<16} {:>12} {:>12} {:>6} {:>6} {:>12} {:>9} {:>9} {:>8}\n", "#", "size", "count", "type",
             "redop", "time", "algbw", "busbw", "#wrong");
  fmt::print(out, "{:<16} {:>12} {:>12} {:>6} {:>6} {:>12} {:>9} {:>9} {:>8}\n", "# operation", "(B)",
             "(elements)", "", "", "(us)", "(GB/s)", "(GB/s)", "");
  for (const CollectiveTime& t : times) {
    const bool reduces = t.operation == "all_reduce" || t.operation == "reduce_scatter";
    fmt::print(out, "{:<16} {:>12} {:>12} {:>6} {:>6} {:>12.2f} {:>9.3f} {:>9.3f} {:>8}\n", t.operation,
               t.bytes, t.count, to_string(options.dtype), reduces ? to_string(options.op) : "none",
               t.seconds * 1e6, t.algorithm_bandwidth * 1e-9, t.bus_bandwidth * 1e-9, t.num_wrong);
  }
}

}  // namespace trireme::launch
