// What every communicator must do: one list of cases for all backends and group sizes. A case is called by
// all ranks of a group; it only EXPECTs, so that ranks stay together when one finds a fault.
#pragma once

#include <algorithm>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/tensor/element_type.h"
#include "tests/support/tensors.h"
#include "tests/support/test_device.h"

namespace trireme::test {

/// A rank under test and the tensors it makes.
struct ConformanceRank {
  explicit ConformanceRank(Communicator& c) : comm(c), rank(c.rank()), size(c.size()) {}

  Communicator& comm;
  const int rank;
  const int size;
  Context ctx{test_device()};
  Stream& stream = ctx.stream();

  Tensor make(DType dtype, int64_t n, const std::function<double(int64_t)>& value) {
    const Tensor t = Tensor::empty(ctx, {n}, dtype);
    with_element_type(dtype, [&]<class T>(T) {
      std::vector<T> values;
      for (int64_t i = 0; i < n; ++i) values.push_back(to_element<T>(value(i)));
      write(t, values);
    });
    return t;
  }
  Tensor zeros(DType dtype, int64_t n) {
    return make(dtype, n, [](int64_t) { return 0.0; });
  }
};

inline std::vector<double> values_of(const Tensor& t) {
  std::vector<double> values(static_cast<size_t>(t.numel()));
  with_element_type(t.dtype(), [&]<class T>(T) {
    const std::vector<T> in = read<T>(t);
    std::ranges::transform(in, values.begin(), from_element<T>);
  });
  return values;
}

inline std::vector<double> list(int64_t n, const std::function<double(int64_t)>& value) {
  std::vector<double> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(value(i));
  return values;
}

/// Element i of rank r: small integers, whose sums over up to 20 ranks every type holds exactly.
inline double sample(int rank, int64_t i) { return static_cast<double>((i * 7 + rank * 3) % 11) + 1.0; }

inline double reduced(ReduceOp op, int num_ranks, int64_t i) {
  double result = sample(0, i);
  for (int r = 1; r < num_ranks; ++r) {
    const double next = sample(r, i);
    result = op == ReduceOp::sum   ? result + next
             : op == ReduceOp::max ? std::max(result, next)
                                   : std::min(result, next);
  }
  return result;
}

struct ConformanceCase {
  std::string name;
  void (*body)(Communicator&);
};
inline void PrintTo(const ConformanceCase& c, std::ostream* out) { *out << c.name; }

/// `strict`: sums are in the order of ranks and groups begin in any order, as the contract says of all
/// backends but NCCL.
std::vector<ConformanceCase> conformance_cases(bool strict = true);

}  // namespace trireme::test
