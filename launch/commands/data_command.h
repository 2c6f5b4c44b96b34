// `trireme data`: builds token files from text, and inspects token files.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "runtime/data/text_documents.h"
#include "runtime/data/tokens/token_format.h"

namespace trireme::launch {

struct DataBuildOptions {
  TextInput input;                   ///< text and JSONL files, in this order
  std::string tokenizer = "byte";    ///< byte, char, bpe (trained on the input), or the path of one
  std::string end_of_text;           ///< token of a tokenizer's file between documents; empty: by its name
  int64_t bpe_vocab = 4096;          ///< size of a bpe vocabulary trained here
  double validation_fraction = 0.1;  ///< last part of the input's bytes, kept for evaluation; 0: none
  std::string out_dir;               ///< made if it is not there
  int num_threads = 1;
};

/// Writes tokenizer.json, train.tok and (unless the fraction is 0) validation.tok into out_dir and says on
/// `out` what they hold. UserError(usage) without input or out_dir, UserError(bad_input) for text that cannot
/// be used or leaves one of the files empty, EnvironmentError for a full disk; then no token file is left
/// behind.
void run_data_build(const DataBuildOptions& options, std::FILE* out);

struct DataInspectOptions {
  std::string file;
  TokenFormat format = TokenFormat::automatic;
  std::string
      tokenizer;  ///< byte or a path; decodes the first tokens and gives the vocabulary to check against
  int64_t show_tokens = 64;  ///< how many are decoded
};

/// Checks header and ids of a token file and says on `out` what is in it. UserError(bad_input) naming file,
/// position and value of what is wrong.
void run_data_inspect(const DataInspectOptions& options, std::FILE* out);

}  // namespace trireme::launch
