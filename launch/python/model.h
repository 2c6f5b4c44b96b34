// The model of a run that has ended, as Python has it.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "launch/commands/rank_job.h"
#include "launch/python/ranks.h"
#include "launch/python/text.h"
#include "launch/python/whole_parameters.h"

namespace trireme::launch::python {

/// All ranks make the same calls; from any thread, one at a time.
class Model {
 public:
  /// `config`: of load_run() for these ranks. The run's tokenizer.json, if it has one.
  Model(std::shared_ptr<Ranks> ranks, const std::string& directory, const RunConfig& config);

  std::vector<WholeParameter> weights(const Wanted& wanted);
  TextLoss evaluate(const std::string& text);
  std::string sample(const std::string& prompt, int64_t num_tokens, double temperature, uint64_t seed);
  void close();

 private:
  TextModel text_model();

  std::shared_ptr<Ranks> ranks_;
  RunConfig config_;
  std::unique_ptr<const Tokenizer> tokenizer_;  // on the first rank
  std::optional<int32_t> end_of_text_;
  std::mutex calls_;
  std::unique_ptr<RankJob> job_;
  std::optional<Context> ctx_;
  std::optional<TrainingSession> session_;
};

}  // namespace trireme::launch::python
