// The tokens of a run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "launch/config/run_config.h"
#include "runtime/comm/communicator.h"
#include "runtime/data/tokenizer/tokenizer.h"
#include "runtime/data/tokens/token_source.h"

namespace trireme::launch {

struct TrainingData {
  std::shared_ptr<const Tokenizer>
      tokenizer;  ///< on rank 0, where text was tokenized or a tokenizer was named; may be null
  std::shared_ptr<const TokenSource> train;
  std::shared_ptr<const TokenSource> validation;  ///< null when nothing is kept for evaluation
  int64_t vocab_size = 0;
  std::optional<int32_t> end_of_text;  ///< where documents are kept apart: the token that ends one
  uint64_t fingerprint = 0;  ///< of the tokenizer that made the ids (of text: on rank 0); 0: not known
  /// What was read, for the banner: format, width of a token, how many tokens and documents, and what is
  /// missing.
  std::string description = {};
};

/// Text is tokenized once, by rank 0, and sent to the others; token files are mapped by every rank, and those
/// of training and validation were made with one tokenizer (else UserError, bad_input). Every rank of `world`
/// calls it. `model_vocab` is the size that the user asked for (0: the data's). UserError when it is too
/// small for the data, or when nobody knows it; where documents are to be kept apart, also when no token is
/// known that ends one.
TrainingData load_training_data(Context& ctx, Communicator& world, const DataConfig& config,
                                int64_t model_vocab);

/// Ids mean to weights what they meant when those were trained: UserError (bad_input) where the
/// tokenizer.json beside the file of weights is not the tokenizer of the data. What is not known is not
/// compared.
void check_tokenizer_of_weights(const TrainingData& data, const std::string& weights);

}  // namespace trireme::launch
