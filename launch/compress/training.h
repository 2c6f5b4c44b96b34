// Steps that train: what trireme train would be called with, and the run.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "launch/cli/run_arguments.h"
#include "launch/compress/compression.h"
#include "launch/compress/prediction.h"

namespace trireme::launch {

/// What step `index` trains with: the configuration of the run that the base is of, for the model as it is
/// then, in the layout of the compression; the step's own options go over it. `goes_on`: from a checkpoint of
/// an attempt before. UserError (usage) naming the step, of the options, and where there is no text to train
/// on. Files of plan_trainings() are there; the weights to begin with may come later.
RunArguments training_arguments(const Compression& c, size_t index, bool goes_on);

/// Of the steps that train, by their places: checked, before any step is made.
std::map<size_t, TrainingLoad> plan_trainings(Compression& c);

/// Trains what Compression::source has, or goes on with what an attempt before has trained; the weights'
/// file. The base is out of memory meanwhile. All ranks call it.
std::string train_model(Compression& c, size_t index);

/// The formats of the step before `index` as options of training through them. UserError (usage) where there
/// are several.
std::vector<std::string> format_options(const Recipe& recipe, size_t index);

/// Losses of a run, at most some hundred of them; empty where none can be read.
std::vector<TrainedStep> losses_of(const std::string& run_directory);

}  // namespace trireme::launch
