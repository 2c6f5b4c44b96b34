#include "parallel/context_parallel/neighbour_rows.h"

#include <utility>
#include <vector>

#include "parallel/context_parallel/ring_support.h"
#include "runtime/ops/elementwise.h"
#include "runtime/ops/zeros.h"

namespace trireme {

namespace {

// Rank r has chunk r, whose neighbours the ranks r - 1 and r + 1 have, and chunk 2n - 1 - r, whose neighbours
// are theirs too, in the other order. The two in the middle are one rank's.

/// Of the early and the late chunk of each sequence: [batch * count, width] each.
struct OfChunks {
  Tensor early, late;
};

OfChunks split(Context& ctx, const Tensor& t, int64_t batch, int64_t chunk, int64_t begin, int64_t count) {
  const auto rows = [&](int64_t which) {
    const Tensor out = ring::buffer(ctx, {batch * count, t.dim(1)}, t.dtype());
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t from = (2 * b + which) * chunk + begin;
      ops::copy(ctx, t.slice(from, from + count), out.slice(b * count, (b + 1) * count));
    }
    return out;
  };
  return {rows(0), rows(1)};
}

Tensor joined(Context& ctx, const OfChunks& chunks, int64_t batch) {
  const int64_t count = chunks.early.dim(0) / batch;
  const Tensor out = Tensor::empty(ctx, {2 * batch * count, chunks.early.dim(1)}, chunks.early.dtype());
  for (int64_t b = 0; b < batch; ++b) {
    const auto put = [&](const Tensor& from, int64_t which) {
      ops::copy(ctx, from.slice(b * count, (b + 1) * count),
                out.slice((2 * b + which) * count, (2 * b + which + 1) * count));
    };
    put(chunks.early, 0);
    put(chunks.late, 1);
  }
  return out;
}

/// Gives to the ranks before and behind this one, and takes of them as much; undefined at the ends of the
/// row of ranks.
std::pair<Tensor, Tensor> exchange(Context& ctx, Communicator& group, const Tensor& to_previous,
                                   const Tensor& to_next) {
  const int rank = group.rank(), size = group.size();
  const bool has_previous = rank > 0, has_next = rank + 1 < size;
  const int64_t rows = to_next.dim(0), width = to_next.dim(1),
                parts = (has_previous ? 1 : 0) + (has_next ? 1 : 0);
  const Tensor out = ring::buffer(ctx, {parts * rows, width}, to_next.dtype()),
               in = ring::buffer(ctx, {parts * rows, width}, to_next.dtype());
  std::vector<int64_t> counts(static_cast<size_t>(size), 0);
  if (has_previous) {
    counts[static_cast<size_t>(rank - 1)] = rows * width;
    ops::copy(ctx, to_previous, out.slice(0, rows));
  }
  if (has_next) {
    counts[static_cast<size_t>(rank + 1)] = rows * width;
    ops::copy(ctx, to_next, out.slice((parts - 1) * rows, parts * rows));
  }
  group.all_to_all_v(ctx.stream(), out, counts, in, counts);
  return {has_previous ? in.slice(0, rows) : Tensor(),
          has_next ? in.slice((parts - 1) * rows, parts * rows) : Tensor()};
}

}  // namespace

Tensor rows_before_chunks(Context& ctx, const ContextParallel& context, int64_t batch, const Tensor& held,
                          int64_t count) {
  const int64_t chunk = held.dim(0) / (2 * batch);
  TRIREME_CHECK(chunk >= count, "{} rows before chunks of {}", count, chunk);
  const OfChunks last = split(ctx, held, batch, chunk, chunk - count, count);
  const auto [previous, next] = exchange(ctx, context.group(), last.late, last.early);
  const Tensor nothing =
      previous ? previous : ops::zeros(ctx, last.early.shape(), held.dtype(), MemoryCategory::buffers);
  return joined(ctx, {nothing, next ? next : last.early}, batch);
}

Tensor sums_behind_chunks(Context& ctx, const ContextParallel& context, int64_t batch, const Tensor& sums) {
  const int64_t count = sums.dim(0) / (2 * batch);
  const OfChunks before = split(ctx, sums, batch, count, 0, count);
  const auto [previous, next] = exchange(ctx, context.group(), before.early, before.late);
  const Tensor nothing =
      previous ? previous : ops::zeros(ctx, before.early.shape(), sums.dtype(), MemoryCategory::buffers);
  return joined(ctx, {next ? next : before.late, nothing}, batch);
}

}  // namespace trireme
