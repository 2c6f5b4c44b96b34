// TokenExchange: dispatches tokens to the ranks of their experts and combines the results (all-to-all).
#pragma once

#include <span>
#include <vector>

#include "parallel/expert_parallel/expert_parallel.h"

namespace trireme {

/// Rows that are in flight.
struct RowsInFlight {
  Tensor rows;
  WorkPtr work;
};

/// The way of one micro-batch through one layer, in chunks, each of which is for some of the experts of every
/// rank. On this rank's side ("here") rows lie expert by expert over all experts of the model, in the order
/// of ExpertParallel::order(); on the experts' side ("there") over those that the rank holds, and of an
/// expert in the order of the ranks they come from. An expert's rows are never divided, so the number of
/// chunks changes no product. Every call is made by all ranks of the group in the same order, however few
/// rows they have. Each direction is the other's backward pass.
class TokenExchange {
 public:
  /// `counts`: this rank's rows for each expert of the model, by its number.
  TokenExchange(Context& ctx, const ExpertParallel& experts, std::span<const int64_t> counts);

  int num_chunks() const { return static_cast<int>(chunks_.size()); }
  /// Of this rank's experts those of a chunk.
  const Part& experts(int chunk) const { return at(chunk).experts; }
  /// The rows of a chunk there.
  const Part& there(int chunk) const { return at(chunk).there; }
  /// Rows for each expert that this rank holds, from all ranks; those of a chunk's.
  std::span<const int64_t> counts() const { return counts_; }
  std::span<const int64_t> counts(int chunk) const {
    return counts().subspan(static_cast<size_t>(experts(chunk).begin),
                            static_cast<size_t>(experts(chunk).size()));
  }
  int64_t num_sent() const { return chunks_.back().here.end; }
  int64_t num_received() const { return chunks_.back().there.end; }

  /// Sends a chunk of the rows `here`; finish writes it to `there`, both of all chunks.
  [[nodiscard]] RowsInFlight start_to_experts(Context& ctx, int chunk, const Tensor& here,
                                              const Tensor& there) const;
  void finish_to_experts(Context& ctx, int chunk, const RowsInFlight& arriving, const Tensor& there) const;

  /// Sends a chunk of the rows `there` back; they are in `here` once the work was waited for.
  [[nodiscard]] WorkPtr start_from_experts(Context& ctx, int chunk, const Tensor& there,
                                           const Tensor& here) const;

 private:
  struct Chunk {
    Part experts;                         // of the rank's
    std::vector<int64_t> sent, received;  // rows, one per rank
    Part here, there;                     // its rows on both sides
    Tensor places;  // where each row that arrives lies among the chunk's; undefined where it lies there
  };
  const Chunk& at(int chunk) const { return chunks_[static_cast<size_t>(chunk)]; }

  Communicator* group_;
  std::vector<int64_t> counts_;
  std::vector<Chunk> chunks_;
};

}  // namespace trireme
