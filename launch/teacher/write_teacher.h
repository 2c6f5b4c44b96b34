// Writes what a teacher says of the samples of a training into files: `trireme teacher`.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "launch/config/run_config.h"
#include "launch/generate/inference_arguments.h"
#include "models/config/distill_config.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme::launch {

struct TeacherArguments {
  InferenceArguments model;
  std::string out;
  RunConfig run;  ///< data, and of train seq_len (0: as the teacher was trained), micro_batch and seed
  TeacherTokens kind = TeacherTokens::top_k;
  int64_t num_tokens = 64;
  double temperature = 1;
  std::optional<uint64_t>
      draw_seed;        ///< nothing: that of the training, with which a teacher in the job draws
  int64_t samples = 0;  ///< the first ones of the order; 0: an epoch
  int64_t shard_tokens = 65536;
  bool restarts = false;
};

/// What does not go together.
std::vector<std::string> errors_of(const TeacherArguments& arguments);

/// OUT appears, whole, when all shards are there; until then they are in OUT.partial, from which a second
/// call goes on. All ranks of `world` call it with equal, complete arguments; each replica writes shards of
/// its own. Rank 0 writes to `out` what is predicted, and progress. AgreedEnd with `resumable` after a
/// signal. UserError (usage, bad_input) of model, data and layout, (numerics) for logits that are no numbers.
void write_teacher(Context& ctx, Communicator& world, const TeacherArguments& arguments, std::FILE* out);

}  // namespace trireme::launch
