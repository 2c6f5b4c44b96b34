// How tokens choose experts, and where they queue.
#pragma once

#include "runtime/ops/dispatch.h"

namespace trireme::ops {

struct RouteOptions {
  bool sigmoid =
      false;           ///< scores are sigmoids of the logits (arXiv 2412.19437, section 2.1.2); else softmax
  int num_groups = 1;  ///< groups of neighbouring experts; divides their number
  int groups_per_token =
      1;  ///< a token chooses within this many groups: those with the largest sum of two scores
  bool normalize = true;  ///< the gates of a token sum to gate_scale (Mixtral, arXiv 2401.04088)
  float gate_scale = 1.0f;
};

/// From logits[N,E]: probabilities[N,E] (the scores, which under sigmoid are divided by the row's sum),
/// log_sum[N] (log of the sum of exp(logits)), chosen[N,k] i32 (the experts with the largest score + bias,
/// largest first, the lower index where they are equal) and gates[N,k] (their scores without bias, normalised
/// and scaled). bias[E] may be absent. f32 but where said.
void route(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& bias,
           const Tensor& probabilities, const Tensor& log_sum, const Tensor& chosen, const Tensor& gates);
TRIREME_OP_BODIES(route, Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& bias,
                  const Tensor& probabilities, const Tensor& log_sum, const Tensor& chosen,
                  const Tensor& gates)

/// dlogits[N,E] from dgates[N,k] and two terms of balance, given for each of S runs of N / S rows:
/// dprobabilities[S,E], the gradient of every row's probabilities, and dsquares[S], that of every row's
/// log_sum^2. Both absent: none. The choice itself has no gradient. f32; chosen i32.
void route_backward(Context& ctx, const RouteOptions& options, const Tensor& logits, const Tensor& log_sum,
                    const Tensor& chosen, const Tensor& dgates, const Tensor& dprobabilities,
                    const Tensor& dsquares, const Tensor& dlogits);
TRIREME_OP_BODIES(route_backward, Context& ctx, const RouteOptions& options, const Tensor& logits,
                  const Tensor& log_sum, const Tensor& chosen, const Tensor& dgates,
                  const Tensor& dprobabilities, const Tensor& dsquares, const Tensor& dlogits)

/// counts[G,E] i64: how often the tokens of each of G equal runs of rows of chosen[N,k] chose each expert.
void count_choices(Context& ctx, const Tensor& chosen, const Tensor& counts);
TRIREME_OP_BODIES(count_choices, Context& ctx, const Tensor& chosen, const Tensor& counts)

/// Tokens queue for their experts in the order of the rows. slots[N,k] i32: of the q-th choice of expert e in
/// run g it is base[g,e] + q, but -1 ("dropped") where ahead[g,e] + q >= capacity: ahead counts who stands
/// before the run. base, ahead: [G,E] i64.
void assign_slots(Context& ctx, const Tensor& chosen, const Tensor& base, const Tensor& ahead,
                  int64_t capacity, const Tensor& slots);
TRIREME_OP_BODIES(assign_slots, Context& ctx, const Tensor& chosen, const Tensor& base, const Tensor& ahead,
                  int64_t capacity, const Tensor& slots)

}  // namespace trireme::ops
