#include "parallel/optimizer/gradient_norm.h"

#include "parallel/data_parallel/divided_state.h"
#include "runtime/base/error.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

Tensor sum_of_squared_gradients(Context& ctx, ParameterStorage& storage, const ParallelContext& parallel) {
  Communicator& tensor = parallel.tensor();
  const Tensor squares = Tensor::empty(ctx, {1}, DType::f64, MemoryCategory::buffers);
  ops::fill(ctx, squares, 0);
  for (const ParameterGroup& group : storage.groups()) {
    if (group.parts > 1) {
      TRIREME_CHECK(tensor.size() == 1, "ZeRO beside tensor parallelism");
      add_sum_of_squares(ctx, parallel.gradients(), group, squares);
      continue;
    }
    const auto add_run = [&](int64_t begin, int64_t end) {
      if (begin < end) ops::add_sum_of_squares(ctx, group.gradients.slice(begin, end), squares);
    };
    // Runs between the copies that an earlier rank counts; the padding in them is zero.
    int64_t begin = 0;
    for (const auto& place : group.places) {
      int64_t at = place.begin;
      for (const Parameter& p : place.block->members) {
        if (tensor.rank() % p.num_copies != 0) {
          add_run(begin, at);
          begin = at + p.shape.numel();
        }
        at += p.shape.numel();
      }
    }
    add_run(begin, group.numel);
  }
  tensor.all_reduce(ctx.stream(), squares);
  return squares;
}

}  // namespace trireme
