// Reduces a configuration to a small model of the same structure.
#pragma once

#include "launch/config/run_config.h"

namespace trireme::launch {

/// The configuration with its model, sequences and batch made small. What decides whether a layout fits is
/// kept: family and kinds of layers, heads and key-value heads, remainders of the vocabulary and of the
/// feed-forward width by 64, micro-batches per replica (as many as a schedule's file has; else at most two a
/// stage, and two where the run has only one), layers (at most two, or one per virtual stage, or as many that
/// one shares weights), and whether logits are made in parts. Numbers that are
/// small already stay as they are.
RunConfig small_run(const RunConfig& config);

}  // namespace trireme::launch
