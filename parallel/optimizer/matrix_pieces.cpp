#include "parallel/optimizer/matrix_pieces.h"

#include <algorithm>
#include <utility>

#include "parallel/module/local_ranges.h"
#include "runtime/ops/elementwise.h"

namespace trireme {

namespace {

constexpr int64_t kPieceNumbers = 6;

MatrixPiece piece_of(const ParameterView& view) {
  const Parameter& p = *view.parameter;
  const LocalRange own = own_range(view, BufferExtent::sharded);
  return {p.offset[0], p.offset[1], p.shape[0], p.shape[1], own.first, own.size()};
}

/// Calls f(rows [from, to), columns [begin, end) of the block, where its elements begin in the piece) for the
/// at most three rectangles that make up a piece: the end of a row, whole rows, the begin of a row.
template <class F>
void for_each_rectangle(const MatrixPiece& piece, const F& f) {
  const int64_t end = piece.first + piece.size;
  for (int64_t at = piece.first; at < end;) {
    const int64_t row = at / piece.columns, column = at % piece.columns;
    const bool whole_rows = column == 0 && end - at >= piece.columns;
    const int64_t rows = whole_rows ? (end - at) / piece.columns : 1;
    const int64_t columns = whole_rows ? piece.columns : std::min(piece.columns - column, end - at);
    f(row, rows, column, columns, at - piece.first);
    at += rows * columns;
  }
}

/// The rectangles as columns: of the packed elements and of the whole matrix.
template <class Copy>
void for_each_copy(const MatrixPiece& piece, const Tensor& elements, const Tensor& whole, const Copy& copy) {
  for_each_rectangle(piece, [&](int64_t row, int64_t rows, int64_t column, int64_t columns, int64_t at) {
    const Tensor packed = elements.flat_slice(at, {rows, columns});
    const int64_t top = piece.row + row;
    copy(ops::Columns(packed), ops::Columns(whole.slice(top, top + rows), piece.column + column, columns));
  });
}

/// Where parts of these sizes begin when they lie one after the other.
class Packing {
 public:
  void add(int64_t size) {
    counts_.push_back(size);
    begins_.push_back(total_);
    total_ += size;
  }
  const std::vector<int64_t>& counts() const { return counts_; }
  int64_t total() const { return total_; }
  Tensor part(const Tensor& packed, size_t i) const {
    return packed.slice(begins_[i], begins_[i] + counts_[i]);
  }

 private:
  std::vector<int64_t> counts_, begins_;
  int64_t total_ = 0;
};

ParameterKind kind_of(bool of_experts) { return of_experts ? ParameterKind::expert : ParameterKind::dense; }

std::unique_ptr<Communicator> make_team(const ParallelContext& parallel, bool of_experts, int num_shards) {
  const int among_experts = of_experts ? parallel.experts().rank() : 0;
  const int num_experts = of_experts ? parallel.experts().size() : 1;
  const Communicator& all = parallel.replicas(kind_of(of_experts)).all();
  const int num_teams = all.size() / num_shards;
  const int holders = parallel.pipeline().rank() * num_experts + among_experts;
  return parallel.world().split(holders * num_teams + all.rank() / num_shards, parallel.world().rank(),
                                of_experts ? "expert-matrices" : "matrices");
}

}  // namespace

void paste(Context& ctx, const MatrixPiece& piece, const Tensor& elements, const Tensor& whole) {
  for_each_copy(piece, elements, whole, [&](const ops::Columns& packed, const ops::Columns& place) {
    ops::copy_columns(ctx, packed, place);
  });
}

void cut(Context& ctx, const MatrixPiece& piece, const Tensor& whole, const Tensor& elements) {
  for_each_copy(piece, elements, whole, [&](const ops::Columns& packed, const ops::Columns& place) {
    ops::copy_columns(ctx, place, packed);
  });
}

MatrixPieces::MatrixPieces(Context& ctx, const ParallelContext& parallel, bool of_experts,
                           const ShardingSpec& sharding, std::vector<const ParameterView*> views)
    : views_(std::move(views)) {
  const int num_shards = of_experts ? sharding.num_expert_shards : sharding.num_shards;
  const ReplicaGroups& replicas = parallel.replicas(kind_of(of_experts));
  team_ = make_team(parallel, of_experts, num_shards);
  copies_ = num_shards == 1 ? &replicas.all() : &replicas.replicate();
  std::vector<int64_t> own{of_experts ? parallel.expert_tensor().rank() : parallel.tensor().rank()};
  for (const ParameterView* view : views_) {
    const MatrixPiece p = piece_of(*view);
    own.insert(own.end(), {p.row, p.column, p.rows, p.columns, p.first, p.size});
  }
  const auto numbers = static_cast<int64_t>(own.size());
  std::vector<int64_t> all(own.size() * static_cast<size_t>(team_->size()));
  team_->all_gather(ctx.host_stream(), Tensor::borrow(own.data(), {numbers}, DType::i64),
                    Tensor::borrow(all.data(), {numbers * team_->size()}, DType::i64));
  for (auto next = all.begin(); next != all.end();) {
    width_ranks_.push_back(*next++);
    for (size_t i = 0; i < views_.size(); ++i, next += kPieceNumbers)
      pieces_.push_back({next[0], next[1], next[2], next[3], next[4], next[5]});
  }
}

bool MatrixPieces::is_source(size_t matrix, int rank, int owner) const {
  const MatrixPiece& own = piece(matrix, rank);
  const auto width_rank = [&](int r) { return width_ranks_[static_cast<size_t>(r)]; };
  int64_t taken = width_rank(rank);
  for (int r = 0; r < team_->size(); ++r) {
    if (piece(matrix, r).is_of_block(own)) taken = std::min(taken, width_rank(r));
  }
  if (piece(matrix, owner).is_of_block(own)) taken = width_rank(owner);
  return width_rank(rank) == taken;
}

Tensor MatrixPieces::gather(Context& ctx, const std::vector<int>& matrices, const Tensor& own) const {
  const int rank = team_->rank();
  Packing sent, received;
  for (int r = 0; r < team_->size(); ++r) {
    const auto size_for = [&](int from, int owner) -> int64_t {
      const int matrix = matrices[static_cast<size_t>(owner)];
      if (matrix < 0 || !is_source(static_cast<size_t>(matrix), from, owner)) return 0;
      return piece(static_cast<size_t>(matrix), from).size;
    };
    sent.add(size_for(rank, r));
    received.add(size_for(r, rank));
  }
  const Tensor pieces = Tensor::empty(ctx, {received.total()}, DType::f32, MemoryCategory::buffers);
  team_->all_to_all_v(ctx.stream(), own, sent.counts(), pieces, received.counts());
  const int matrix = matrices[static_cast<size_t>(rank)];
  if (matrix < 0) return {};
  const auto index = static_cast<size_t>(matrix);
  const Tensor whole =
      Tensor::empty(ctx, view(index).parameter->global_shape, DType::f32, MemoryCategory::buffers);
  for (int r = 0; r < team_->size(); ++r) {
    const auto from = static_cast<size_t>(r);
    if (received.counts()[from] > 0) paste(ctx, piece(index, r), received.part(pieces, from), whole);
  }
  return whole;
}

Tensor MatrixPieces::scatter(Context& ctx, const std::vector<int>& matrices, const Tensor& whole,
                             DType dtype) const {
  Packing sent, received;
  const int matrix = matrices[static_cast<size_t>(team_->rank())];
  for (int r = 0; r < team_->size(); ++r) {
    sent.add(matrix < 0 ? 0 : piece(static_cast<size_t>(matrix), r).size);
    const int other = matrices[static_cast<size_t>(r)];
    received.add(other < 0 ? 0 : own_piece(static_cast<size_t>(other)).size);
  }
  const Tensor pieces = Tensor::empty(ctx, {sent.total()}, dtype, MemoryCategory::buffers);
  for (int r = 0; r < team_->size(); ++r) {
    const auto to = static_cast<size_t>(r);
    if (sent.counts()[to] > 0) cut(ctx, piece(static_cast<size_t>(matrix), r), whole, sent.part(pieces, to));
  }
  const Tensor own = Tensor::empty(ctx, {received.total()}, dtype, MemoryCategory::buffers);
  team_->all_to_all_v(ctx.stream(), pieces, sent.counts(), own, received.counts());
  return own;
}

}  // namespace trireme
