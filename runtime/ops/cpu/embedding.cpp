#include "runtime/ops/embedding.h"

#include <vector>

#include "runtime/ops/cpu/support.h"

namespace trireme::ops::cpu {

void embedding(Context& ctx, const Tensor& ids, const Tensor& token_table, const TablePart& part,
               const Tensor& positions, const Tensor& position_table, const Tensor& out) {
  const int64_t width = out.dim(1), num_here = token_table.dim(0);
  expect_indices("embedding", "ids", ids, part.total);
  if (positions) expect_indices("embedding", "positions", positions, position_table.dim(0));
  const auto *id = ids.data<int32_t>(), *position = data_or_null<int32_t>(positions);
  with_compute_type(out.dtype(), [&]<class T>(T) {
    const T *tokens = token_table.data<T>(), *places = data_or_null<T>(position_table);
    const std::vector<T> zeros(static_cast<size_t>(width));
    T* rows = out.data<T>();
    parallel_for(ctx.num_threads(), out.dim(0), row_grain(width), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const int64_t row = id[n] - part.first;
        const T* token = row >= 0 && row < num_here ? tokens + row * width : zeros.data();
        if (position != nullptr) {
          add_range(token, places + position[n] * width, rows + n * width, width);
        } else {
          std::copy(token, token + width, rows + n * width);
        }
      }
    });
  });
}

void embedding_backward(Context& ctx, const Tensor& ids, const Tensor& dout, const TablePart& part,
                        const Tensor& dtable) {
  const int64_t num_rows = dout.dim(0), width = dout.dim(1), num_here = dtable.dim(0);
  expect_indices("embedding_backward", "ids", ids, part.total);
  const auto* id = ids.data<int32_t>();
  auto* table = dtable.data<float>();
  with_compute_type(dout.dtype(), [&]<class T>(T) {
    const T* rows = dout.data<T>();
    // Each thread owns the table's rows of some residues, so that frequent ids (often small ones) are spread,
    // and meets the gradient's rows in order: no two threads add to one element. Splitting the columns
    // instead was four times slower on two threads.
    constexpr int64_t kResidues = 64;
    const int64_t grain = kResidues * kGrain / std::max<int64_t>(1, dout.numel());
    parallel_for(ctx.num_threads(), kResidues, grain, [&](int64_t begin, int64_t end) {
      for (int64_t n = 0; n < num_rows; ++n) {
        const int64_t row = id[n] - part.first, residue = id[n] % kResidues;
        if (residue < begin || residue >= end || row < 0 || row >= num_here) continue;
        accumulate_range(rows + n * width, table + row * width, width);
      }
    });
  });
}

}  // namespace trireme::ops::cpu
