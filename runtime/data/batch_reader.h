// Samples for a step, checked before a model sees them.
#pragma once

#include <memory>
#include <optional>

#include "runtime/data/sample_order.h"
#include "runtime/data/tokens/token_source.h"

namespace trireme {

/// Immutable; reads are safe from several threads at once.
class BatchReader {
 public:
  /// `order` must be made for source->num_tokens(). Ids must lie in [0, vocab_size). With `end_of_text` the
  /// documents of a sample, which it ends, are to be kept apart by whoever reads.
  BatchReader(std::shared_ptr<const TokenSource> source, SampleOrder order, int64_t vocab_size,
              std::optional<int32_t> end_of_text = std::nullopt)
      : source_(std::move(source)), order_(order), vocab_size_(vocab_size), end_of_text_(end_of_text) {}

  const SampleOrder& order() const { return order_; }
  const TokenSource& source() const { return *source_; }
  std::optional<int32_t> end_of_text() const { return end_of_text_; }

  /// Fills inputs[T] and targets[T] (T = order().seq_len()): targets[t] is the token after inputs[t].
  /// UserError(bad_input) naming file, position and value for an id outside the vocabulary.
  void read_sample(int64_t global_sample_index, int32_t* inputs, int32_t* targets) const;

 private:
  std::shared_ptr<const TokenSource> source_;
  SampleOrder order_;
  int64_t vocab_size_;
  std::optional<int32_t> end_of_text_;
};

}  // namespace trireme
