#include "launch/python/run.h"

#include "launch/cli/config_file.h"
#include "launch/python/text.h"
#include "runtime/base/error.h"

namespace trireme::launch::python {

Run::Run(std::shared_ptr<Ranks> ranks, const RunArguments& given, bool screen)
    : ranks_(std::move(ranks)), config_(given.config), config_ini_(write_config(config_)) {
  if (!screen) nowhere_.reset(std::fopen("/dev/null", "w"));
  std::FILE* out = nowhere_ ? nowhere_.get() : stdout;
  if (screen && ranks_->rank() == 0) {
    for (const std::string& note : given.notes) fmt::print("note: {}\n", note);
  }
  job_ = std::make_unique<RankJob>(config_, ranks_->place());
  run_.emplace(config_, config_ini_, job_->job, out);
}

Run::~Run() { close(); }

SteppedRun& Run::readable() {
  if (!run_ || run_->has_failed()) throw_usage("this run has ended");
  return *run_;
}

SteppedRun& Run::between() {
  SteppedRun& run = readable();
  if (run.is_in_flight()) throw_usage("a step is in flight: update() ends it");
  return run;
}

SteppedRun& Run::open() {
  SteppedRun& run = between();
  if (run.has_ended()) throw_usage("this run is finished");
  return run;
}

bool Run::is_open() {
  const std::lock_guard lock(calls_);
  return run_ && !run_->has_ended();
}

bool Run::is_done() {
  const std::lock_guard lock(calls_);
  return readable().is_done() && !run_->is_in_flight();
}

int64_t Run::steps_done() {
  const std::lock_guard lock(calls_);
  return readable().trainer().steps_done();
}

double Run::learning_rate() {
  const std::lock_guard lock(calls_);
  return readable().trainer().learning_rate();
}

double Run::loss_scale() {
  const std::lock_guard lock(calls_);
  return readable().trainer().loss_scale();
}

std::string Run::directory() {
  const std::lock_guard lock(calls_);
  return readable().trainer().directory();
}

Passes Run::forward_backward() {
  const std::lock_guard lock(calls_);
  SteppedRun& run = open();
  if (run.is_done()) throw_usage("all {} steps are done: finish() ends the run", num_steps());
  return Passes(run.forward_backward());
}

StepMetrics Run::update() {
  const std::lock_guard lock(calls_);
  if (!readable().is_in_flight()) throw_usage("no step is in flight: forward_backward() begins one");
  return run_->update();
}

StepMetrics Run::step() {
  const std::lock_guard lock(calls_);
  SteppedRun& run = open();
  if (run.is_done()) throw_usage("all {} steps are done: finish() ends the run", num_steps());
  run.forward_backward();
  return run.update();
}

std::vector<WholeParameter> Run::weights(const Wanted& wanted) {
  const std::lock_guard lock(calls_);
  TrainingSession& session = readable().trainer().session();
  return gather(session, *job_->job.world, ParameterState::master, 1, wanted);
}

std::vector<WholeParameter> Run::gradients(const Wanted& wanted) {
  const std::lock_guard lock(calls_);
  Trainer& trainer = readable().trainer();
  if (trainer.in_flight() == nullptr)
    throw_usage("gradients are there between forward_backward() and update()");
  const BatchTotals totals = trainer.in_flight()->numbers.totals();
  const auto factor = static_cast<float>(1 / (totals.divisor() * totals.loss_scale));
  return gather(trainer.session(), *job_->job.world, ParameterState::gradient, factor, wanted);
}

TextLoss Run::evaluate(const std::string& text) {
  const std::lock_guard lock(calls_);
  Trainer& trainer = between().trainer();
  return evaluate_text({trainer.session(), *job_->job.world, trainer.data().tokenizer.get(), config_,
                        trainer.data().end_of_text},
                       text);
}

std::string Run::sample(const std::string& prompt, int64_t num_tokens, double temperature, uint64_t seed) {
  const std::lock_guard lock(calls_);
  Trainer& trainer = between().trainer();
  return sample_of({trainer.session(), *job_->job.world, trainer.data().tokenizer.get(), config_,
                    trainer.data().end_of_text},
                   {prompt, num_tokens, temperature, seed});
}

std::string Run::save_checkpoint() {
  const std::lock_guard lock(calls_);
  return open().save_checkpoint();
}

void Run::save_weights(const std::filesystem::path& path) {
  const std::lock_guard lock(calls_);
  between().trainer().session().save(path.string());
}

void Run::finish() {
  const std::lock_guard lock(calls_);
  SteppedRun& run = open();
  if (!run.is_done()) {
    throw_usage("{} of {} steps are done: close() ends the run as it is", run.trainer().steps_done(),
                num_steps());
  }
  run.finish();
}

void Run::close() {
  const std::lock_guard lock(calls_);
  if (run_ && !run_->has_ended()) {
    run_->trainer().end_log(fmt::format("closed after step {} of {}; what was saved by then stays",
                                        run_->trainer().steps_done(), num_steps()),
                            false);
  }
  run_.reset();
  job_.reset();
  ranks_.reset();
}

}  // namespace trireme::launch::python
