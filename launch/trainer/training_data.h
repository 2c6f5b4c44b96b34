// The tokens of a run.
#pragma once

#include <memory>

#include "launch/trainer/run_config.h"
#include "runtime/comm/communicator.h"
#include "runtime/data/token_source.h"
#include "runtime/data/tokenizer.h"

namespace trireme {

struct TrainingData {
  std::shared_ptr<const Tokenizer>
      tokenizer;  ///< on rank 0, where text was tokenized or a tokenizer was named; may be null
  std::shared_ptr<const TokenSource> train;
  std::shared_ptr<const TokenSource> validation;  ///< null when nothing is kept for evaluation
  int64_t vocab_size = 0;
};

/// Text is tokenized once, by rank 0, and sent to the others; token files are mapped by every rank. Every
/// rank of `world` calls it. `model_vocab` is the size that the user asked for (0: the data's). UserError
/// when it is too small for the data, or when nobody knows it.
TrainingData load_training_data(Context& ctx, Communicator& world, const DataConfig& config,
                                int64_t model_vocab);

}  // namespace trireme
