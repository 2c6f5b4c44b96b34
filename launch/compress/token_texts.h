// The texts of a compression as token ids: on which it calibrates, and on which it measures.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "launch/compress/compress.h"
#include "launch/generate/model_files.h"
#include "models/inference/inference_model.h"

namespace trireme::launch {

/// Equal on all ranks.
struct TokenTexts {
  std::vector<int32_t> calibration, evaluation;
  std::string calibration_from, evaluation_from;  ///< for people
  bool is_written = false;                        ///< by the model: texts as long as a sample
  std::string note;                               ///< why it is not the run's own text; empty: nothing to say

  /// None was named or found: the model has to write its own (write_texts()).
  bool is_empty() const { return calibration.empty(); }
};

/// What the options name; else of a run the text that it trained on, and its validation part, where these are
/// there still. Rank 0 reads and tells the others. UserError (usage, bad_input) as AgreedEnd.
TokenTexts find_texts(Communicator& world, const CompressArguments& arguments, const ModelFiles& files);

/// Texts that the model writes itself, drawn at temperature 1 from a first token that is drawn evenly
/// (data-free calibration: arXiv 2305.17888, section 3.1); `samples` of them of `seq_len` tokens to calibrate
/// on, and an eighth as many, but at least four, to measure on. Equal on all ranks.
TokenTexts write_texts(Context& ctx, InferenceModel& model, const ModelFiles& files,
                       const Calibration& calibration, int64_t seq_len);

/// `calibration.samples` samples of `seq_len` tokens from drawn places. UserError (usage) naming the options
/// where the text is shorter than one; (bad_input) for ids outside of the vocabulary.
std::vector<std::vector<int32_t>> draw_samples(std::span<const int32_t> ids, const Calibration& calibration,
                                               int64_t seq_len, int64_t vocab_size, const std::string& from);

/// Texts of `seq_len` tokens one behind the other, each as a sample.
std::vector<std::vector<int32_t>> whole_samples(std::span<const int32_t> ids, int64_t seq_len);

}  // namespace trireme::launch
