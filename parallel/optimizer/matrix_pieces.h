// Gathers full matrices from the shards that ranks hold, and scatters them again.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/module/parameter_storage.h"
#include "parallel/plan/parallel_context.h"

namespace trireme {

/// What a rank holds of a matrix: elements [first, first + size) of the row-major block of `rows` x `columns`
/// at (row, column).
struct MatrixPiece {
  int64_t row = 0, column = 0, rows = 0, columns = 0;
  int64_t first = 0, size = 0;

  bool is_of_block(const MatrixPiece& other) const {
    return row == other.row && column == other.column && rows == other.rows && columns == other.columns;
  }
};

/// Copies the elements of a piece (one after the other, f32 or a compute type) to their places in the whole
/// matrix of the same type; and back.
void paste(Context& ctx, const MatrixPiece& piece, const Tensor& elements, const Tensor& whole);
void cut(Context& ctx, const MatrixPiece& piece, const Tensor& whole, const Tensor& elements);

/// What several ranks hold of some parameters that are matrices, and exchange of it. Two groups of ranks:
/// team(), which together hold every matrix once, but for copies on the tensor axis: ZeRO's shards times the
/// tensor-parallel ranks (of experts: those that hold the same experts); and copies(), the ranks that hold
/// the same pieces in other teams.
class MatrixPieces {
 public:
  /// Of these views, which are of matrices, of experts or none, and the same on all ranks that hold pieces of
  /// them. Arguments outlive it; every rank of the world makes one, be it of no views.
  MatrixPieces(Context& ctx, const ParallelContext& parallel, bool of_experts, const ShardingSpec& sharding,
               std::vector<const ParameterView*> views);

  Communicator& team() const { return *team_; }
  Communicator& copies() const { return *copies_; }
  size_t size() const { return views_.size(); }
  const ParameterView& view(size_t matrix) const { return *views_[matrix]; }
  /// What a rank of the team holds of a matrix.
  const MatrixPiece& piece(size_t matrix, int rank) const {
    return pieces_[static_cast<size_t>(rank) * views_.size() + matrix];
  }
  const MatrixPiece& own_piece(size_t matrix) const { return piece(matrix, team_->rank()); }
  /// Whether a rank's piece is one of those from which `owner` puts the matrix together: together they are
  /// all of it, each element once. Of blocks that several tensor-parallel ranks hold, the owner's own is
  /// taken where it has one.
  bool is_source(size_t matrix, int rank, int owner) const;

  /// Every rank of the team takes part: matrices[r] goes to rank r, or nothing where it is negative. `own`:
  /// what this rank is a source of (f32), one after the other in the order of the owners. The whole matrix of
  /// this rank; undefined without one.
  Tensor gather(Context& ctx, const std::vector<int>& matrices, const Tensor& own) const;
  /// The way back: every rank passes the whole matrix that is its (undefined without one) and gets its piece
  /// of each in the order of the owners, packed; of the matrices' type.
  Tensor scatter(Context& ctx, const std::vector<int>& matrices, const Tensor& whole, DType dtype) const;

 private:
  std::vector<const ParameterView*> views_;
  std::unique_ptr<Communicator> team_;
  Communicator* copies_;
  std::vector<int64_t> width_ranks_;  // of the team's ranks: their place on the tensor axis
  std::vector<MatrixPiece> pieces_;   // rank by rank
};

}  // namespace trireme
