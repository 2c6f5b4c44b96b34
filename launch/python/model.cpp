#include "launch/python/model.h"

#include <filesystem>

#include "launch/checkpoint/agreed.h"
#include "launch/config/attention_choice.h"
#include "launch/config/session_options.h"
#include "launch/run/rank_trainer.h"
#include "runtime/base/error.h"
#include "runtime/data/tokenizer/tokenizer_factory.h"
#include "runtime/data/tokenizer_kind.h"

namespace trireme::launch::python {

namespace {

/// What the first rank knows of the tokenizer.
struct Known {
  int64_t vocab_size = 0;    ///< 0: nothing
  int64_t end_of_text = -1;  ///< the token that ends documents, where they are kept apart; -1: none
};

}  // namespace

Model::Model(std::shared_ptr<Ranks> ranks, const std::string& directory, const RunConfig& config)
    : ranks_(std::move(ranks)), config_(config) {
  job_ = std::make_unique<RankJob>(config_, ranks_->place());
  const Job& job = job_->job;
  Communicator& world = *job.world;
  ctx_.emplace(job.device, threads_of_rank(config_, job), choose_op_settings(config_.run, job.device));
  Known known{config_.model.vocab_size, -1};
  together(world, [&] {
    const std::string file = (std::filesystem::path(directory) / "tokenizer.json").string();
    if (world.rank() != 0 || !std::filesystem::exists(file)) return;
    const bool is_named = tokenizer_kind(config_.data.tokenizer) == TokenizerKind::file;
    tokenizer_ = load_tokenizer(file, is_named ? config_.data.end_of_text : "");
    if (known.vocab_size == 0) known.vocab_size = tokenizer_->vocab_size();
    if (config_.data.documents == DocumentsKind::separate)
      known.end_of_text = tokenizer_->end_of_text().value_or(-1);
  });
  int64_t numbers[] = {known.vocab_size, known.end_of_text};
  world.broadcast(ctx_->host_stream(), Tensor::borrow(numbers, {2}, DType::i64), 0);
  if (numbers[0] == 0)  // of the token files alone
    numbers[0] = load_training_data(*ctx_, world, config_.data, 0).vocab_size;
  config_.model.vocab_size = numbers[0];
  if (numbers[1] >= 0) end_of_text_ = static_cast<int32_t>(numbers[1]);
  session_.emplace(*ctx_, world, config_.parallel, config_.model, session_options(config_));
}

TextModel Model::text_model() {
  if (!session_) throw_usage("this model is closed");
  return {*session_, *job_->job.world, tokenizer_.get(), config_, end_of_text_};
}

std::vector<WholeParameter> Model::weights(const Wanted& wanted) {
  const std::lock_guard lock(calls_);
  const TextModel model = text_model();
  return gather(model.session, model.world, ParameterState::master, 1, wanted);
}

TextLoss Model::evaluate(const std::string& text) {
  const std::lock_guard lock(calls_);
  return evaluate_text(text_model(), text);
}

std::string Model::sample(const std::string& prompt, int64_t num_tokens, double temperature, uint64_t seed) {
  const std::lock_guard lock(calls_);
  return sample_of(text_model(), {prompt, num_tokens, temperature, seed});
}

void Model::close() {
  const std::lock_guard lock(calls_);
  session_.reset();
  ctx_.reset();
  job_.reset();
  ranks_.reset();
}

}  // namespace trireme::launch::python
