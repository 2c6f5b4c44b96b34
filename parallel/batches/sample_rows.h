// The rows of a micro-batch that a rank holds.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "parallel/context_parallel/context_parallel.h"
#include "runtime/data/batch_reader.h"

namespace trireme {

/// The samples of a micro-batch.
struct SampleRun {
  int64_t first = 0;
  int64_t count = 0;
  bool is_counted = true;  ///< false: none of its targets counts
};

/// A row of micro-batches, to be trained on or evaluated in order.
struct SampleRow {
  int64_t num_batches = 0;
  int64_t largest = 0;  ///< most samples of one
  /// Of number i, from 0. Owns what it uses, and asks nobody.
  std::function<SampleRun(int64_t)> at;
};

/// Where rows go, one element a token.
struct RowMemory {
  int32_t* tokens = nullptr;
  int32_t* targets = nullptr;
  // Where documents are kept apart: places in documents, and where those begin.
  int32_t* positions = nullptr;
  int32_t* first_keys = nullptr;
};

/// What the host has to know of rows that were read.
struct RowFacts {
  int64_t num_targets = 0;                 ///< that count, of this rank's tokens
  std::vector<int64_t> targets_of_sample;  ///< of each sample as a whole
  std::vector<int32_t> chunk_first_keys;   ///< MicroBatch's
};

/// Reads samples, of each the tokens that a context-parallel rank holds. By one thread at a time.
class SampleRows {
 public:
  SampleRows(const BatchReader& reader, const ContextShare& share) : reader_(reader), share_(share) {}

  int64_t seq_len() const { return reader_.order().seq_len(); }  ///< of a whole sample
  int64_t rows_a_sample() const { return seq_len() / share_.size; }
  const ContextShare& share() const { return share_; }

  /// Whether positions and first keys are read too.
  bool separates_documents() const { return reader_.end_of_text().has_value(); }
  /// Fills run.count * rows_a_sample() elements of each, sample by sample. As BatchReader::read_sample().
  /// After each sample it asks `goes_on`, and leaves the rest as it was where it does not.
  RowFacts read(
      const SampleRun& run, RowMemory to, const std::function<bool()>& goes_on = [] { return true; });
  /// The place of each row of `count` samples in its sequence.
  std::vector<int32_t> positions(int64_t count) const;

 private:
  BatchReader reader_;
  ContextShare share_;
  // Of one whole sample:
  std::vector<int32_t> inputs_, following_, document_positions_, first_keys_;
};

}  // namespace trireme
