// What the steps of a compression share.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "launch/checkpoint/agreed.h"
#include "launch/compress/compress.h"
#include "launch/compress/measure.h"
#include "launch/compress/prediction.h"
#include "launch/compress/token_texts.h"
#include "launch/compress/work_directory.h"
#include "launch/compress/work_line.h"
#include "launch/generate/model_files.h"
#include "models/inference/inference_model.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme::launch {

/// Equal on all ranks but for the line, which rank 0 shows.
struct Compression {
  Context& ctx;
  Communicator& world;
  const CompressArguments& arguments;
  ModelFiles files;    ///< of the base, with its config
  ModelConfig config;  ///< as the last step left it; vocab_size is the rows of the token table
  TokenTexts texts;
  std::vector<std::vector<int32_t>> samples;
  Measuring measuring;
  WorkDirectory work;
  WorkState state;  ///< with all outcomes on rank 0 alone
  WorkLine line;
  std::FILE* out;  ///< on which the line is
  int local_ranks = 1;
  std::shared_ptr<const WeightSource> source = {};  ///< weights as the last step left them
  std::unique_ptr<InferenceModel> base = {};  ///< with the weights as they came, exactly; null in training
  QuantizationConfig quantization = {};       ///< that the base was trained through

  bool is_first() const { return world.rank() == 0; }
  /// On rank 0.
  void say(const std::string& line_text) {
    if (is_first()) line.note(line_text);
  }
  /// How a model of these weights is loaded.
  InferenceOptions model_options(ops::Activations activations) const;
  /// Perplexity and distance from the base, and the speed as rank 0 has it.
  StepFigures measured(InferenceModel& model);
  /// AgreedEnd (resumable) on all ranks where rank 0 was asked to stop.
  void end_if_asked();
};

std::string without_slash(std::string path);
/// UserError (usage) where the result cannot be put there.
void check_out(const std::string& out);

std::shared_ptr<const WeightSource> base_weights(const Compression& c);
/// Compression::base.
void load_base(Compression& c);

/// Finds the model and opens its weights. UserError (usage) of the recipe for this model, of the layout, and
/// as check_out().
void read_model(Compression& c);
/// Texts, samples, what is measured, and the base; the tokens of a sample.
int64_t prepare_texts(Compression& c);
/// Rates of the base: of a forward pass, after one that warms up.
WorkLoad measure_rates(Compression& c, int64_t seq_len);

/// Bytes of the weights that a path holds, as files have them.
int64_t stored_bytes(const std::string& path, const ModelConfig& config);
int64_t fp32_bytes(const ModelConfig& config);

/// Quantizes what Compression::source has by step `index` of the recipe, into the file of that step, which
/// becomes the source; the figures are those of the model in memory.
StepRecord quantize_step(Compression& c, size_t index);

/// The same by other rules than the recipe's step has.
StepRecord quantize_step(Compression& c, size_t index, const QuantizeStep& step);

/// The file of step `index` becomes the source, and the record has the figures of what is read from it; in a
/// chain with a step that prunes, its zeros too.
void measure_file(Compression& c, size_t index, ops::Activations activations, StepRecord& record);

/// Makes weights zero by step `index`, block by block as quantize_step().
StepRecord prune_step(Compression& c, size_t index);

/// Leaves units out of the model: Compression::config becomes that of the smaller one, and its weights the
/// source. What was measured is kept, so that an attempt that was interrupted goes on behind it.
StepRecord cut_step(Compression& c, size_t index);

/// Folds layers into sets that share weights, chosen by how like their outputs are: as cut_step(). What has
/// been measured is kept set by set.
StepRecord share_step(Compression& c, size_t index);

/// Trains what the steps before made (launch/run) in OUT.partial/train-N, with the base as a teacher or
/// alone; zeros stay. A signal ends it as a training run, to be gone on with. UserError (usage) of the
/// options of train.
StepRecord train_step(Compression& c, size_t index);

/// Trains through the formats of the step before `index`, from its values, and rounds what was trained to the
/// nearest. As train_step(); UserError (usage) where the steps before have several formats, too.
StepRecord qat_step(Compression& c, size_t index);

/// Puts the result together, reads it back and exports it as the recipe says; adds to the state what exports
/// measured. AgreedEnd (numerics) where what was read back computes something else, (gate) where an export
/// exceeds its gate.
void write_result(Compression& c);

/// Throws AgreedEnd (gate) where a step exceeds its gate; the line of figures is printed first.
void pass_gate(Compression& c, const RecipeStep& step, const StepFigures& figures);

}  // namespace trireme::launch
