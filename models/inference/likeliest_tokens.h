// Which tokens the filters of SamplingOptions keep.
#pragma once

#include <cstdint>
#include <span>

#include "models/inference/sampling.h"
#include "runtime/ops/cpu/likeliest_logits.h"

namespace trireme {

using ops::cpu::is_likelier;
using ops::cpu::kKeepAll;
using ops::cpu::likeliest_tokens;
using ops::cpu::RankedToken;
using ops::cpu::select_likeliest;
using ops::cpu::tokens_from;

/// The last token in the order that top-k, top-p (of what top-k left) and min-p keep, or a place after it and
/// before the next; kKeepAll: all are kept. `largest` is the largest logit; there is no NaN. Takes no sort of
/// the vocabulary: a pass or two over it, and selection among what can be kept.
RankedToken last_kept(std::span<const float> logits, float largest, const SamplingOptions& options);

}  // namespace trireme
