// Options of speculative decoding, and the drafts that they ask for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "launch/cli/plain_arguments.h"
#include "launch/generate/exit_options.h"
#include "launch/generate/inference_arguments.h"
#include "launch/generate/model_files.h"
#include "models/inference/draft_source.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/context.h"

namespace trireme::launch {

struct SpeculationArguments {
  int64_t tokens = 0;       ///< of a draft at most; 0: no speculation
  std::string draft_model;  ///< empty: drafts are n-grams of the text; kSelfDrafts: of its first blocks

  bool is_self() const { return draft_model == kSelfDrafts; }
};

/// Rows for help and parser; `arguments` outlives them.
std::vector<PlainOption> speculation_options(SpeculationArguments& arguments);

/// Options without effect.
std::vector<std::string> errors_of(const SpeculationArguments& arguments);

/// What GeneratorOptions::drafts takes: as many drafts as pay (of kSelfDrafts as were right), on rank 0 of
/// `world`, which has the draft model by itself with as many tokens of cache as `cache_tokens`; null on the
/// others, and without speculation. All ranks call it. `files` and `model` are of the model that checks,
/// whose first `vocab_size` tokens may be drawn. AgreedEnd (usage) for a draft model of another vocabulary;
/// errors of InferenceModel.
std::unique_ptr<DraftSource> make_drafts(Context& ctx, Communicator& world,
                                         const SpeculationArguments& arguments,
                                         const InferenceArguments& model, const ModelFiles& files,
                                         int64_t vocab_size, int64_t cache_tokens);

}  // namespace trireme::launch
