// A run of trireme train, a step at a time, as Python has it.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "launch/cli/run_arguments.h"
#include "launch/commands/rank_job.h"
#include "launch/python/passes.h"
#include "launch/python/ranks.h"
#include "launch/python/whole_parameters.h"
#include "launch/run/stepped_run.h"
#include "launch/run/text_loss.h"

namespace trireme::launch::python {

/// All ranks make the same calls, each between the steps; from any thread, one at a time. What the calls do
/// is in trireme/_core.pyi. UserError (usage) for one that does not fit the state of the run.
class Run {
 public:
  /// `given`: of parse_config() for these ranks; its warnings are the caller's.
  Run(std::shared_ptr<Ranks> ranks, const RunArguments& given, bool screen);
  ~Run();

  bool is_done();
  bool is_open();  ///< neither finished nor closed, and no error has ended it
  int64_t steps_done();
  double learning_rate();
  double loss_scale();
  std::string directory();
  const std::string& config_ini() const { return config_ini_; }
  int64_t num_steps() const { return config_.train.steps; }

  Passes forward_backward();
  StepMetrics update();
  StepMetrics step();
  std::vector<WholeParameter> weights(const Wanted& wanted);
  std::vector<WholeParameter> gradients(const Wanted& wanted);
  TextLoss evaluate(const std::string& text);
  std::string sample(const std::string& prompt, int64_t num_tokens, double temperature, uint64_t seed);
  std::string save_checkpoint();
  void save_weights(const std::filesystem::path& path);
  void finish();
  /// Ends it where it is: of its steps stays what was saved.
  void close();

 private:
  struct NoFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  SteppedRun& readable();  // neither closed nor ended by an error
  SteppedRun& between();   // and has no step in flight
  SteppedRun& open();      // and is not finished

  std::shared_ptr<Ranks> ranks_;
  RunConfig config_;
  std::string config_ini_;
  std::unique_ptr<std::FILE, NoFile> nowhere_;
  std::mutex calls_;
  std::unique_ptr<RankJob> job_;
  std::optional<SteppedRun> run_;
};

}  // namespace trireme::launch::python
