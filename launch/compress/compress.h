// Makes a model small by a recipe: `trireme compress`.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "launch/compress/recipe.h"
#include "launch/generate/inference_arguments.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme::launch {

/// On what steps are measured.
struct MeasuringOptions {
  std::string text;           ///< file; empty: the run's validation part, else held out of the calibration's
  int64_t tokens = 16384;     ///< of it, at most
  int64_t seq_len = 0;        ///< of a window; 0: that of the run's training, else 512, at most the model's
  int64_t decode_tokens = 0;  ///< whose speed is measured; 0: by the model's size
};

struct CompressArguments {
  InferenceArguments model;
  std::string out;
  Recipe recipe;  ///< with the gates of the command line
  MeasuringOptions measuring;
  bool restarts = false;  ///< what an earlier attempt left is thrown away
};

/// Carries the recipe out: OUT appears, whole, when the last step has passed its gate and what was read back
/// computes the same; until then all is in OUT.partial, from which a second call goes on. All ranks of
/// `world` call it with equal, complete arguments; `local_ranks` of them share this host. Rank 0 writes to
/// `out` what is predicted, each step's figures beside the base's, and progress.
///
/// AgreedEnd with `gate` where a step exceeds one, and with `numerics` where what was read back computes
/// something else: nothing is left then. With `resumable` after a signal, at the next block. UserError
/// (usage, bad_input) of files, recipe and layout.
void compress(Context& ctx, Communicator& world, const CompressArguments& arguments, int local_ranks,
              std::FILE* out);

}  // namespace trireme::launch
