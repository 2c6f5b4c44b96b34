// TokenExchange: rows of tokens travel to the ranks that hold their experts, and back.
#pragma once

#include <span>
#include <vector>

#include "parallel/expert_parallel/expert_parallel.h"

namespace trireme {

/// Rows that are under way.
struct RowsUnderWay {
  Tensor rows;
  WorkPtr work;
};

/// The way of one micro-batch through one layer. On this rank's side rows lie expert by expert over all
/// experts of the model; on the experts' side over those that the rank holds, and of an expert in the order
/// of the ranks they come from. Every call is made by all ranks of the group in the same order, however few
/// rows they have. Each direction is the other's backward pass.
class TokenExchange {
 public:
  /// `counts`: this rank's rows for each expert of the model.
  TokenExchange(Context& ctx, const ExpertParallel& experts, std::span<const int64_t> counts);

  /// Rows for each expert that this rank holds, from all ranks.
  std::span<const int64_t> counts() const { return counts_; }
  int64_t num_sent() const { return num_sent_; }
  int64_t num_received() const { return num_received_; }

  [[nodiscard]] RowsUnderWay start_to_experts(Context& ctx, const Tensor& rows) const;
  Tensor finish_to_experts(Context& ctx, const RowsUnderWay& arriving) const;

  [[nodiscard]] RowsUnderWay start_from_experts(Context& ctx, const Tensor& rows) const;
  Tensor finish_from_experts(Context& ctx, const RowsUnderWay& arriving) const;

 private:
  Communicator* group_;
  std::vector<int64_t> sent_, received_;  // rows, one a rank
  std::vector<int64_t> counts_;
  int64_t num_sent_ = 0, num_received_ = 0;
  Tensor
      places_;  // where each row that arrives lies among those of its expert; undefined where it lies there
};

}  // namespace trireme
