#include "launch/run/run_teacher.h"

#include "models/formats/open_weights.h"
#include "models/formats/trained_codes.h"

namespace trireme::launch {

DistillBatches distill_batches(const RunConfig& config, const BatchReader& reader) {
  const TrainConfig& train = config.train;
  return {train.seq_len, train.micro_batch, train.global_batch, reader.end_of_text()};
}

ReadSample read_samples(const BatchReader& reader) {
  return [&reader](int64_t sample, int32_t* inputs, int32_t* following) {
    reader.read_sample(sample, inputs, following);
  };
}

RunTeacher::RunTeacher(Context& ctx, Communicator& job, const RunConfig& config, const FoundTeacher& found,
                       const BatchReader& reader, TrainingSession& session)
    : ctx_(ctx), session_(session), files_(found.tokens) {
  if (!files_) read_model(job, config, found, reader);
}

void RunTeacher::read_model(Communicator& job, const RunConfig& config, const FoundTeacher& found,
                            const BatchReader& reader) {
  const ModelConfig& model = found.model;
  const auto source = trained_codes(open_weights(find_weights(found.path), model), model.quantization);
  const ParallelContext& student = session_.parallel();
  const DistillBatches batches = distill_batches(config, reader);
  StatePlace place;
  if (config.distill.ranks == 0) {
    group_ = job.split(0, job.rank(), "teacher");
    model_.emplace(ctx_, *group_, *source, model, found.options);
    rounds_.emplace(*model_, batches, read_samples(reader));
    place = teacher_place(model_->parallel());
  }
  routes_.emplace(ctx_, job, student_place(student, place));
  if (routes_->here().student >= 0) {
    head_.emplace(ctx_, TensorParallel(student), *source, model, session_.model().spec().vocab_size,
                  found.common_vocab, config.train.precision);
  }
  steps_.emplace(job, *routes_, student, rounds_ ? &*rounds_ : nullptr, head_ ? &*head_ : nullptr, batches,
                 model.hidden_size, config.distill.precision);
  const DistillConfig& loss = config.distill.loss;
  if (loss.tokens != TeacherTokens::all)
    few_ = {loss.tokens, loss.num_tokens, loss.temperature, config.train.seed};
  ctx_.stream().synchronize();  // the source goes
}

void RunTeacher::attach(std::span<MicroBatch> micro_batches) {
  if (steps_) steps_->attach(ctx_, micro_batches);
  const ParallelContext& student = session_.parallel();
  const bool has_head = session_.model().head() != nullptr;
  for (MicroBatch& mb : micro_batches) {
    if (!has_head) continue;
    if (files_) mb.teacher = files_->rows_of(ctx_, mb, session_.share());
    if (few_)
      mb.teacher = std::make_shared<FewTokens>(mb.teacher, TensorParallel(student),
                                               session_.model().spec().vocab_size, *few_, mb);
  }
}

}  // namespace trireme::launch
