// ModelQuantizer: one run of quantize_model().
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "models/compress/calibration_passes.h"
#include "models/compress/folded_weights.h"
#include "models/compress/folds.h"
#include "models/compress/held_weights.h"
#include "models/compress/input_groups.h"
#include "models/compress/quantize_model.h"
#include "models/compress/rank_groups.h"
#include "models/compress/shared_rounding.h"
#include "models/spec/weight_holders.h"

namespace trireme {

/// Units are the embedding, each block, and the head. All ranks go through all of them: where another
/// pipeline rank has the layer a rank waits for its results, so that rank 0 has them in their order.
class ModelQuantizer {
 public:
  ModelQuantizer(Context& ctx, InferenceModel& model, const WeightSource& source,
                 const QuantizeModelOptions& options, QuantizationSink& sink);

  std::vector<MatrixOutcome> run();

 private:
  /// By the names of groups: of one matrix, or of each expert here.
  using Statistics = std::map<std::string, std::vector<InputStatistics>>;

  MatrixPlan plan_of(const std::string& name) const;
  std::optional<RoundingOptions> rounding_of(const std::string& name) const { return plan_of(name).rounding; }
  bool is_planned(const std::string& name) const { return bool(plan_of(name)); }
  bool is_changed(const std::string& name) const;
  bool is_planned(const InputGroup& group) const;
  bool is_head_tied_late() const;  // the token table is rounded as the head, with its statistics
  void check_plan() const;
  int64_t num_units_of_block(int64_t block) const;
  int64_t num_units_of_work() const;
  void begin_work(const std::string& at);

  void run_unit(int place);
  void round_embedding();
  void round_block(int64_t block);
  void round_head();
  void restore(int place);
  void finish(int place);
  void give_rest(int place);  // on rank 0

  bool is_here(int place) const { return pipeline_rank_of(place) == groups_.parallel().pipeline().rank(); }
  int pipeline_rank_of(int place) const { return holders_.rank_of(place); }
  Statistics measure(int place, std::span<const CalibrationStep> steps);
  Statistics measure_head(const InputGroup& head);
  void round_step(int place, const CalibrationStep& step, const Statistics& statistics);
  void take_result(const Parameter& p, const QuantizedMatrix& result);

  void scale_inputs(int64_t block, std::span<const CalibrationStep> steps);
  std::set<std::string> names_of_codes(std::span<const CalibrationStep> steps) const;
  InputScales scales_of(const FoldPlace& place, std::span<const CalibrationStep> steps,
                        const Statistics& statistics);
  InputStatistics statistics_of_readers(const FoldPlace& place, std::span<const CalibrationStep> steps,
                                        const Statistics& statistics);

  Context& ctx_;
  InferenceModel& model_;
  const QuantizeModelOptions& options_;
  QuantizationSink& sink_;
  ModelSpec spec_;
  RankGroups groups_;
  WeightHolders holders_;
  FoldedWeights weights_;
  HeldWeights held_;
  std::optional<CalibrationPasses> passes_;  // none where nothing is measured
  std::set<std::string> given_;              // tensors that the sink has
  std::vector<MatrixOutcome> outcomes_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace trireme
