#include "parallel/tensor_parallel/tensor_parallel.h"

#include <algorithm>

#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

// n rows in this many chunks, none of them empty.
std::vector<Part> cut(int64_t n, int num_chunks) {
  const int64_t count = std::clamp<int64_t>(n, 1, num_chunks);
  std::vector<Part> chunks;
  for (int64_t c = 0; c < count; ++c) chunks.push_back({n * c / count, n * (c + 1) / count});
  return chunks;
}

}  // namespace

bool TensorParallel::shards_rows(const TokenBatch& batch) const {
  if (!sequence_ || batch.paged || batch.like_paged) return false;
  const bool divides = batch.rows() % size() == 0;
  TRIREME_CHECK(divides || !batch.training, "{} rows do not divide by {} tensor ranks", batch.rows(), size());
  return divides;
}

Tensor TensorParallel::gather(Context& ctx, const Tensor& x, bool sharded) const {
  if (!sharded) return x;
  const Tensor all = Tensor::empty(ctx, {x.dim(0) * size(), x.dim(1)}, x.dtype());
  group_->all_gather(ctx.stream(), x, all);
  return all;
}

Tensor TensorParallel::reduce(Context& ctx, const Tensor& y, bool sharded) const {
  if (!sharded) {
    group_->all_reduce(ctx.stream(), y);
    return y;
  }
  const Tensor own = Tensor::empty(ctx, {y.dim(0) / size(), y.dim(1)}, y.dtype());
  group_->reduce_scatter(ctx.stream(), y, own);
  return own;
}

Tensor TensorParallel::reduce_product(Context& ctx, const Shape& y, DType dtype, bool sharded,
                                      const RowsProduct& make) const {
  if (num_chunks_ > 1) return sharded ? scatter_chunks(ctx, y, dtype, make) : sum_chunks(ctx, y, dtype, make);
  const Tensor all = Tensor::empty(ctx, y, dtype);
  make({0, y[0]}, all);
  return reduce(ctx, all, sharded);
}

Tensor TensorParallel::gather_product(Context& ctx, const Tensor& x, bool sharded, bool keep,
                                      const RowsProduct& use) const {
  if (sharded && num_chunks_ > 1) return gather_chunks(ctx, x, keep, use);
  const Tensor all = gather(ctx, x, sharded);
  use({0, all.dim(0)}, all);
  return keep ? all : Tensor();
}

Tensor TensorParallel::sum_chunks(Context& ctx, const Shape& y, DType dtype, const RowsProduct& make) const {
  const Tensor all = Tensor::empty(ctx, y, dtype);
  std::vector<WorkPtr> sums;
  for (const Part& chunk : cut(y[0], num_chunks_)) {
    const Tensor rows = all.slice(chunk.begin, chunk.end);
    make(chunk, rows);
    sums.push_back(group_->all_reduce_async(ctx.stream(), rows));
  }
  for (const WorkPtr& sum : sums) sum->wait();
  return all;
}

// A chunk is the same share of every rank's rows, one rank's after the other.
Tensor TensorParallel::scatter_chunks(Context& ctx, const Shape& y, DType dtype,
                                      const RowsProduct& make) const {
  const int64_t num_own = y[0] / size();
  const Tensor own = Tensor::empty(ctx, {num_own, y[1]}, dtype);
  WorkPtr sum;  // of the chunk before: two are in memory
  for (const Part& chunk : cut(num_own, num_chunks_)) {
    const Tensor terms = Tensor::empty(ctx, {chunk.size() * size(), y[1]}, dtype);
    for (int r = 0; r < size(); ++r) {
      make({r * num_own + chunk.begin, r * num_own + chunk.end},
           terms.slice(r * chunk.size(), (r + 1) * chunk.size()));
    }
    if (sum) sum->wait();
    sum = group_->reduce_scatter_async(ctx.stream(), terms, own.slice(chunk.begin, chunk.end));
  }
  sum->wait();
  return own;
}

Tensor TensorParallel::gather_chunks(Context& ctx, const Tensor& x, bool keep, const RowsProduct& use) const {
  const int64_t num_own = x.dim(0);
  const Tensor whole = keep ? Tensor::empty(ctx, {num_own * size(), x.dim(1)}, x.dtype()) : Tensor();
  const auto hand_over = [&](int of_rank, const Part& chunk, const Tensor& values) {
    const Part rows{of_rank * num_own + chunk.begin, of_rank * num_own + chunk.end};
    if (keep) ops::copy(ctx, values, whole.slice(rows.begin, rows.end));
    use(rows, values);
  };
  struct Gathering {
    Tensor rows;
    WorkPtr work;
  };
  const std::vector<Part> chunks = cut(num_own, num_chunks_);
  const auto gather = [&](const Part& chunk) -> Gathering {
    const Tensor rows = Tensor::empty(ctx, {chunk.size() * size(), x.dim(1)}, x.dtype());
    return {rows, group_->all_gather_async(ctx.stream(), x.slice(chunk.begin, chunk.end), rows)};
  };
  Gathering next = gather(chunks[0]);
  hand_over(rank(), {0, num_own}, x);
  for (size_t c = 0; c < chunks.size(); ++c) {
    const Gathering current = std::move(next);
    if (c + 1 < chunks.size()) next = gather(chunks[c + 1]);
    current.work->wait();
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) continue;
      hand_over(r, chunks[c], current.rows.slice(r * chunks[c].size(), (r + 1) * chunks[c].size()));
    }
  }
  return whole;
}

}  // namespace trireme
