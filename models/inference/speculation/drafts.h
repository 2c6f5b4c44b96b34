// Sources of drafts: n-grams of the text itself, or a small model.
#pragma once

#include <cstdint>
#include <memory>

#include "models/inference/draft_source.h"
#include "models/inference/inference_model.h"

namespace trireme {

/// What followed the last occurrence of the text's last tokens (prompt lookup decoding, Saxena 2023;
/// llama.cpp's lookup): the longest n-gram of `longest` down to `shortest` tokens that was there before.
struct NgramOptions {
  int64_t longest = 4, shortest = 2;
};
std::unique_ptr<DraftSource> ngram_drafts(const NgramOptions& options);

/// Greedy texts of a model with the same tokens, alone on this rank. `model` outlives it; `cache_blocks`
/// blocks hold its keys and values. UserError (usage) where its vocabulary is smaller than `vocab_size`.
std::unique_ptr<DraftSource> model_drafts(Context& ctx, InferenceModel& model, int64_t vocab_size,
                                          int64_t cache_blocks);

/// Tokens that the generator itself should find (GeneratorOptions::draft_blocks): as many as it likes, seldom
/// of texts of which few were right.
std::unique_ptr<DraftSource> unwritten_drafts();

/// `source` as far as it pays: how many tokens are drafted for a sequence follows from how many of its drafts
/// were accepted, and what passes of more tokens were measured to take; none where it would be slower.
std::unique_ptr<DraftSource> paying_drafts(std::unique_ptr<DraftSource> source);

}  // namespace trireme
