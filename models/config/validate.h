// Whether a model can be trained in a layout: every rule, in one place. Pure functions of numbers; no file is
// read, no device asked.
#pragma once

#include <string>
#include <vector>

#include "models/config/batch_spec.h"
#include "models/config/model_config.h"
#include "parallel/plan/parallel_plan.h"

namespace trireme {

/// Every error of a model that is trained with such batches in a layout whose data degree is set, each with
/// its numbers and the nearest values that work; empty: it can be. Options are named as on the command line.
/// Whoever trains, predicts or plans asks this. What it has no word about: how many ranks were started
/// (fit_to_world()), and what is no part of its arguments.
std::vector<std::string> validate(const ModelConfig& model, const ParallelPlan& plan, const BatchSpec& batch);

// Its two parts, for who looks for another layout ---------------------------------------------------------

/// What no layout mends: of the model alone, and of its batches.
std::vector<std::string> model_errors(const ModelConfig& model, const BatchSpec& batch);
/// What another layout may not have. Of a model with errors of its own (`model_is_sound` false) the plan and
/// the division of the batch are looked at, not what divides the model.
std::vector<std::string> layout_errors(const ModelConfig& model, const ParallelPlan& plan,
                                       const BatchSpec& batch, bool model_is_sound = true);
/// Whether a model with such batches may be divided: it has no errors, and its numbers can be counted.
bool is_sound(const ModelConfig& model, const BatchSpec& batch);

}  // namespace trireme
