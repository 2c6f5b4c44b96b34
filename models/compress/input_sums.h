// InputSums: statistics of what goes through a block's matrices, as forward passes show it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/compress/input_statistics.h"
#include "parallel/module/parameter.h"
#include "parallel/module/weight_view.h"
#include "runtime/comm/communicator.h"

namespace trireme {

/// Ranks that are shown equal rows, and which of the inputs each has: all of them, or a part (row-parallel
/// layers). Each sums a share of the rows over all inputs.
struct SharedRows {
  Communicator* ranks;
  int64_t inputs;             ///< of the whole matrix
  std::vector<Part> columns;  ///< of each rank

  bool has_parts() const { return columns.front().size() < inputs; }
};

/// Sums x x^T in fp32 over 256 rows at a time, eight such sums in fp32 on the device, and these in fp64 on
/// the host, so that layouts, which cut rows otherwise, agree to about 2e-7 of the largest entry. Holds
/// inputs^2 numbers of fp64 on the host and of fp32 on the device for each matrix.
class InputSums final : public InputObserver {
 public:
  /// Of `num_matrices` matrices, as InputObserver::inputs counts them. `all_rows`: every one sees all rows
  /// (sees_all_rows()); then `same_inputs` says that these are the same for all, which are summed once.
  InputSums(SharedRows rows, int64_t num_matrices, bool all_rows = false, bool same_inputs = false);

  void inputs(Context& ctx, const Tensor& x, std::span<const int64_t> counts) override;
  bool sees_all_rows() const override { return all_rows_; }

  /// Of each matrix the sums over all ranks of `holders`, which hold the same matrices and have seen other
  /// rows, or shares of the same; equal on all of them bit for bit. All call it, once.
  std::vector<InputStatistics> reduce(Context& ctx, Communicator& holders);

 private:
  struct Sums {
    InputStatistics statistics;
    Tensor pending, product;  // rows, and products of rows, that were not added yet
    int64_t num_pending = 0, num_products = 0;
  };
  Tensor own_rows(Context& ctx, const Tensor& x, const Part& rows) const;
  void take(Context& ctx, const Tensor& x, Sums& sums);
  void add_pending(Context& ctx, Sums& sums);
  void add_products(Context& ctx, Sums& sums);

  SharedRows rows_;
  bool all_rows_, same_inputs_;
  std::vector<Sums> sums_;
};

/// What the statistics become where the inputs are divided by `scales` [inputs].
void divide_inputs(InputStatistics& statistics, std::span<const float> scales);

}  // namespace trireme
