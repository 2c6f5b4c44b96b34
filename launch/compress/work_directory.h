// OUT.partial: what a compression has done so far, so that a second start goes on from there.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/compress/cut_outcome.h"
#include "launch/compress/gates.h"
#include "launch/compress/share_outcome.h"
#include "models/compress/quantize_model.h"
#include "runtime/io/files/directory_lock.h"

namespace trireme::launch {

/// What an attempt is of, by names for people: "recipe", "model", "--calibration.text", ...
using WorkIdentity = std::map<std::string, std::string>;

/// A step of training, or an evaluation between two (loss NaN).
struct TrainedStep {
  int64_t step = 0;
  double loss = 0, valid_loss = 0;  ///< NaN: not measured
};

/// A step that is done.
struct StepRecord {
  StepFigures figures;
  std::vector<MatrixOutcome> outcomes = {};  ///< of steps that quantize or prune
  std::optional<CutOutcome> cut = {};
  std::optional<ShareOutcome> shared = {};
  std::map<std::string, double> zeros = {};  ///< share of each matrix, where a step made some
  std::vector<TrainedStep> training = {};
};

struct WorkState {
  WorkIdentity identity;
  std::optional<StepFigures> base;
  std::vector<StepRecord> steps;
};

nlohmann::ordered_json json_of(const MatrixOutcome& outcome);
nlohmann::ordered_json json_of(const WorkState& state);
/// UserError (bad_input) naming `where` for what is none.
WorkState state_of(const nlohmann::json& json, const std::string& where);

/// Sentences on what differs, each naming both values; empty: nothing.
std::vector<std::string> differences(const WorkIdentity& before, const WorkIdentity& now);

/// On rank 0. It has one user at a time.
class WorkDirectory {
 public:
  explicit WorkDirectory(std::string path) : path_(std::move(path)) {}

  /// Makes the directory, or goes on with what is there. UserError (usage) naming what differs, and
  /// --restart, where that is of another compression; and for directories of other kinds.
  WorkState open(const WorkIdentity& identity, bool restarts);
  /// What lies in it, of an attempt that open() has taken.
  WorkState read() const;
  void write(const WorkState& state) const;
  /// Leaves nothing of it.
  void remove();

  const std::string& path() const { return path_; }
  /// For the blocks of a step.
  std::string step_directory(size_t step) const { return fmt::format("{}/step-{}", path_, step + 1); }
  void make_step_directory(size_t step) const;
  std::string step_file(size_t step) const;
  /// Of a training.
  std::string run_directory(size_t step) const { return fmt::format("{}/train-{}", path_, step + 1); }
  /// Where the result is put together.
  std::string result() const { return path_ + "/result"; }

 private:
  std::string state_file() const { return path_ + "/state.json"; }

  std::string path_;
  std::optional<DirectoryLock> lock_;
};

}  // namespace trireme::launch
