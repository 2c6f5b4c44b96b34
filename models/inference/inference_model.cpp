#include "models/inference/inference_model.h"

#include <chrono>

#include <fmt/ranges.h>

#include "models/config/validate.h"
#include "models/formats/open_weights.h"
#include "models/formats/trained_codes.h"
#include "models/inference/packed_loader.h"
#include "models/transformer/checkpointed_transformer.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

ParallelPlan inference_plan(ParallelPlan plan, int world_size) {
  std::vector<std::string> errors = resolve(plan, world_size);
  if (plan.context > 1)
    errors.push_back(fmt::format("parallel.context {}: inference shards no sequences; use 1", plan.context));
  if (plan.zero_stage > 0)
    errors.push_back(
        fmt::format("parallel.zero-stage {}: inference has no state to shard; use 0", plan.zero_stage));
  if (!errors.empty()) throw_usage("{}", fmt::join(errors, "\n"));
  return plan;
}

int64_t longest_sequence(const ModelConfig& model, const InferenceOptions& options) {
  if (options.max_seq_len > model.max_positions) {
    throw_usage("sequences of {} tokens are longer than the model's {} positions (model.max-positions)",
                options.max_seq_len, model.max_positions);
  }
  return options.max_seq_len > 0 ? options.max_seq_len : model.max_positions;
}

// The copy of a tied one on another pipeline rank than the embedding's too.
bool is_of_head_alone(const ParameterBlock& block) {
  const Parameter& p = block.members.front();
  return p.name == "head.weight" || (p.name == "embedding.tokens.weight" && p.is_tied_copy);
}

}  // namespace

InferenceModel::InferenceModel(Context& ctx, Communicator& world, const std::string& path,
                               const ModelConfig& config, const InferenceOptions& options)
    : parallel_(world, inference_plan(options.plan, world.size())) {
  const auto begin = std::chrono::steady_clock::now();
  const WeightPlace place = find_weights(path);
  const ModelConfig model = model_of(place).value_or(config);
  load(ctx, *trained_codes(open_weights(place, model), model.quantization), model, options);
  loaded_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

InferenceModel::InferenceModel(Context& ctx, Communicator& world, const WeightSource& source,
                               const ModelConfig& config, const InferenceOptions& options)
    : parallel_(world, inference_plan(options.plan, world.size())) {
  const auto begin = std::chrono::steady_clock::now();
  load(ctx, source, config, options);
  loaded_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void InferenceModel::load(Context& ctx, const WeightSource& source, const ModelConfig& config,
                          const InferenceOptions& options) {
  const int64_t max_seq_len = longest_sequence(config, options);
  model_ = std::make_unique<Transformer>(
      ctx, parallel_, config,
      TransformerOptions{
          .max_seq_len = max_seq_len, .compute_type = options.compute_type, .inference = true});
  const CheckpointedModel files = checkpointed(*model_);
  check_weights_fit(source.kinds(), source.path(), files.layers, false);
  PackedLoader loader(ctx, source, options);
  std::vector<ParameterBlock*> blocks = model_->part().blocks();
  if (options.without_head)
    std::erase_if(blocks, [](const ParameterBlock* b) { return is_of_head_alone(*b); });
  if (options.before_loading) options.before_loading(model_->spec(), loader.forecast(blocks));
  for (ParameterBlock* block : blocks) {
    loader.load(*block);
    source.release_pages();
  }
  load_router_biases(source, files);
  ctx.stream().synchronize();  // the source goes
  loaded_ = loader.report();
}

}  // namespace trireme
