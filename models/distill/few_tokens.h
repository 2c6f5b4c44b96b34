// The few tokens of a row of teacher's logits that a student learns from: the likeliest, or drawn ones.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "models/config/distill_config.h"
#include "parallel/module/micro_batch.h"
#include "parallel/module/teacher_rows.h"
#include "parallel/tensor_parallel/tensor_parallel.h"
#include "runtime/device/context.h"

namespace trireme {

struct FewTokensOptions {
  TeacherTokens kind = TeacherTokens::top_k;  ///< top_k or sampled
  int64_t num_tokens = 0;                     ///< k, or draws: 1 to ops::kMostFewTokens
  /// Of the distribution that is written or drawn from; the probabilities are of this temperature too.
  double temperature = 1;
  uint64_t seed = 0;  ///< of draws
};

/// Which rows these are: row r is of sample first_sample + r / rows_a_sample of the stream of samples, at
/// place places[r] in it. `places` may be absent where nothing is drawn.
struct RowPlaces {
  Tensor places = {};  ///< [rows] i32
  int64_t first_sample = 0;
  int64_t rows_a_sample = 1;
  int64_t first_row = 0;  ///< places[0] is that of this row

  static RowPlaces of(const TokenBatch& batch) {
    return {batch.places_in_sequence(), batch.first_sample, batch.seq_len, 0};
  }
  RowPlaces slice(int64_t begin, int64_t end) const {
    return {places ? places.slice(begin, end) : Tensor(), first_sample, rows_a_sample, first_row + begin};
  }
};

/// From logits over a vocabulary of `vocab_size` tokens, of which each rank of `tensor` has its part's
/// columns, to ids and probabilities, the same bits on all of them, which call it together. The soft cap and
/// columns of -inf are heeded; states stay. A row with a NaN, or without a finite logit: probability NaN.
/// top_k: the k likeliest, the likeliest first (of equal ones: the first ids), has_rest unless k >=
/// vocab_size. sampled: num_tokens independent draws, merged, in the order of the ids; an id's probability is
/// its part of the draws, so that the expectation of any sum over them is that over the distribution (random
/// sampling distillation, arXiv 2503.16870). Draws depend on seed, sample, place and draw alone: no layout,
/// and no cut of rows into parts, changes them but by the rounding of logits. k ids a row, min(num_tokens,
/// vocab_size) of top_k, -1 where there are fewer tokens. Nobody waits for the device.
RowTeacher few_tokens(Context& ctx, const TensorParallel& tensor, const RowTeacher& logits,
                      int64_t vocab_size, const FewTokensOptions& options, const RowPlaces& rows);

/// few_tokens() of what another one says, row by row.
class FewTokens final : public TeacherRows {
 public:
  /// `batch`: whose rows these are.
  FewTokens(std::shared_ptr<const TeacherRows> all, const TensorParallel& tensor, int64_t vocab_size,
            const FewTokensOptions& options, const TokenBatch& batch)
      : all_(std::move(all)),
        tensor_(tensor),
        vocab_size_(vocab_size),
        options_(options),
        places_(RowPlaces::of(batch)) {}

  RowTeacher rows(Context& ctx, int64_t begin, int64_t end) const override {
    return few_tokens(ctx, tensor_, all_->rows(ctx, begin, end), vocab_size_, options_,
                      places_.slice(begin, end));
  }

 private:
  std::shared_ptr<const TeacherRows> all_;
  TensorParallel tensor_;
  int64_t vocab_size_;
  FewTokensOptions options_;
  RowPlaces places_;
};

}  // namespace trireme
