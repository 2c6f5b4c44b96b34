// A whole model to codes, layer by layer, over the ranks of any layout.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/compress/input_scales.h"
#include "models/compress/prune_matrix.h"
#include "models/compress/quantize_matrix.h"
#include "models/inference/inference_model.h"
#include "parallel/checkpoint/weights/weight_source.h"

namespace trireme {

/// What happens to a matrix: it is rounded, or made sparse; neither: it stays as it is.
struct MatrixPlan {
  std::optional<RoundingOptions> rounding = {};
  std::optional<PruneOptions> pruning = {};
  bool is_measured = false;  ///< it stays, but QuantizeModelOptions::measured is told of its inputs

  explicit operator bool() const { return rounding || pruning || is_measured; }
};

struct QuantizationPlan {
  InputScaling scaling = InputScaling::none;
  double strength = 0.5;                                   ///< of SmoothQuant
  ops::Activations activations = ops::Activations::exact;  ///< with which quantized layers calibrate
  bool sequential = true;    ///< layers are calibrated on what the quantized ones before them give
  bool all_experts = false;  ///< every expert is calibrated on all tokens; outputs stay those of the routed
  /// Of the matrix of this name ("layers.3.ffn.up.weight"); of all ranks alike.
  std::function<MatrixPlan(const std::string& name)> plan_of;
};

/// What became of a matrix or a fold, for report and log.
struct MatrixOutcome {
  std::string name;
  std::string what;  ///< "int4 in groups of 64, gptq", "50% zero, wanda"
  int64_t tokens = 0;
  RoundingReport report;
};

/// Results, whole, on rank 0 alone, in the order in which they are made.
class QuantizationSink {
 public:
  virtual ~QuantizationSink() = default;
  virtual void matrix(const std::string& name, const ops::CodedMatrix& whole) = 0;
  /// A matrix that was pruned, a tensor that scales were folded into, or one that stays, [shape] f32.
  virtual void values(const std::string& name, const Shape& shape, std::span<const float> whole) = 0;
  /// All of block `index` was given (-1: embeddings; num_layers: what comes behind the blocks).
  virtual void block_done(int64_t index) = 0;
};

struct QuantizationProgress {
  int64_t done = 0, total = 0;  ///< units of work that take about the same time
  std::string at;               ///< "layers.3.ffn"
};

struct QuantizeModelOptions {
  QuantizationPlan plan;
  /// Samples of equal length, the same on all ranks, which divide them among their data-parallel replicas.
  std::vector<std::vector<int32_t>> samples;
  /// Ends documents within samples, which do not see each other then.
  std::optional<int32_t> end_of_text = {};
  /// What an earlier attempt finished: results of its first `num_finished_blocks` calls of block_done (the
  /// embeddings' is the first), read instead of computed, and not given to the sink again. A matrix that was
  /// given as values has to be there as f32. Null: nothing.
  const WeightSource* finished = nullptr;
  int64_t num_finished_blocks = 0;
  std::function<void(const QuantizationProgress&)> progress = {};  ///< on rank 0
  /// What each matrix was rounded with, on all ranks that hold some of it.
  std::function<void(const std::string& name, const InputStatistics&)> measured = {};
};

/// Quantizes or prunes the matrices of `model` in place: afterwards it computes with the codes, by the
/// kernels that a server uses, or with the values in its compute type, and the sink has what rebuilds it.
/// `source` has its weights, of any format. All ranks call it alike; rank 0 has the outcomes. Samples may be
/// absent where nothing needs them: rounding to nearest that does not clip. A token table is rounded to
/// nearest, or pruned by magnitude, before all else; one that is the head too, and is to be made with
/// statistics, as the head at the end, while blocks calibrate on the table as it was. Blocks that use
/// another's weights change nothing in what these were calibrated on. Folds go where a model has a place for
/// them (models/compress/folds.h); statistics of all layouts are those of one rank up to the order of sums.
/// UserError (usage) for groups that do not divide, (bad_input) for samples that do not fit the model.
std::vector<MatrixOutcome> quantize_model(Context& ctx, InferenceModel& model, const WeightSource& source,
                                          const QuantizeModelOptions& options, QuantizationSink& sink);

}  // namespace trireme
