// ExitStreams: in training, the streams behind some blocks on their way to the head.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "models/config/exit_config.h"
#include "parallel/module/micro_batch.h"
#include "parallel/tensor_parallel/tensor_parallel.h"

namespace trireme {

/// What the layers of one virtual stage share. A micro-batch in training keeps `slots` streams as large as
/// the one between its layers, one below the other; over a pipeline they travel behind it.
class ExitStreams {
 public:
  /// Exits behind blocks `exits` of `num_blocks`.
  ExitStreams(std::vector<int64_t> exits, int64_t num_blocks, const ExitConfig& config,
              const TensorParallel& tensor);

  /// 0: nothing is kept.
  int64_t slots() const { return slots_; }
  bool keeps(const TokenBatch& mb) const { return slots_ > 0 && mb.training; }

  /// The rows of the stream x behind block `blocks`, an exit, of the samples that have it.
  void keep(Context& ctx, const TokenBatch& mb, int64_t blocks, const Tensor& x);
  /// dx + the gradient of what was kept of that stream.
  Tensor add_gradient(Context& ctx, const TokenBatch& mb, int64_t blocks, const Tensor& dx) const;

  /// [x; kept streams], which are forgotten here, and back.
  Tensor join(Context& ctx, const TokenBatch& mb, const Tensor& x);
  Tensor split(const TokenBatch& mb, const Tensor& joined);
  /// The same of gradients, which stay until forget().
  Tensor join_gradient(Context& ctx, const TokenBatch& mb, const Tensor& dx) const;
  Tensor split_gradient(int64_t first_sample, const Tensor& joined);
  void forget(const TokenBatch& mb) { gradients_.erase(mb.first_sample); }

  /// Weights of the losses of all rows of a slot, those of `mb` included: [rows] f32.
  Tensor weights(Context& ctx, const MicroBatch& mb, int64_t slot) const;

  /// The rows of the rank's part of a micro-batch with a sample: its number in the batch, [begin, end).
  template <class F>
  static void for_samples(const TensorParallel& tensor, const TokenBatch& mb, F&& f) {
    const bool sharded = tensor.shards_rows(mb);
    const int64_t rows = mb.rows() / (sharded ? tensor.size() : 1),
                  first = sharded ? tensor.rank() * rows : 0;
    for (int64_t b = 0; b < mb.batch; ++b) {
      const int64_t begin = std::max(b * mb.seq_len, first) - first;
      const int64_t end = std::min((b + 1) * mb.seq_len, first + rows) - first;
      if (begin < end) f(b, begin, end);
    }
  }

 private:
  int64_t number_of(int64_t blocks) const;
  bool has(int64_t sample, int64_t exit) const;
  Tensor joined(Context& ctx, const Tensor& x, const Tensor& kept) const;

  std::vector<int64_t> exits_;
  int64_t num_blocks_;
  ExitConfig config_;
  TensorParallel tensor_;
  int64_t slots_;
  bool has_all_;                    // each sample has every exit, in a slot of its own
  std::map<int64_t, Tensor> kept_;  // by the micro-batch's first sample
  std::map<int64_t, Tensor> gradients_;
};

}  // namespace trireme
