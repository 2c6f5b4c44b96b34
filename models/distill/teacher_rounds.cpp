#include "models/distill/teacher_rounds.h"

#include <algorithm>
#include <vector>

#include "parallel/context_parallel/make_micro_batch.h"
#include "runtime/comm/record/recorder.h"

namespace trireme {

Tensor TeacherRounds::states(Context& ctx, int64_t first_sample) const {
  const int64_t n = batches_.micro_batch, length = batches_.seq_len;
  std::vector<int32_t> inputs(static_cast<size_t>(n * length)), following(inputs.size());
  for (int64_t b = 0; b < n; ++b)
    read_(first_sample + b, inputs.data() + b * length, following.data() + b * length);
  TokenBatch batch = make_micro_batch(ctx, n, length, inputs, {}, {}, batches_.end_of_text);
  batch.first_sample = first_sample;
  batch.training = false;
  batch.like_paged = true;  // what a row is does not depend on what else is in the batch
  return model_.model().last_states(ctx, batch);
}

Tensor TeacherRounds::states_of_round(Context& ctx, int64_t first_sample, int64_t round) const {
  const Communicator& data = model_.parallel().data();
  const int64_t turn = std::min(round * data.size() + data.rank(), batches_.num_micro_batches() - 1);
  if (ctx.recorder() != nullptr) ctx.recorder()->set_micro_batch(static_cast<int32_t>(round));
  const Tensor states = this->states(ctx, first_sample + turn * batches_.micro_batch);
  if (ctx.recorder() != nullptr) ctx.recorder()->set_layer(-1);
  return states;
}

}  // namespace trireme
