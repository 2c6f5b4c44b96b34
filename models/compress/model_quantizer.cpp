#include "models/compress/model_quantizer.h"

#include <algorithm>
#include <utility>

#include "models/spec/describe.h"
#include "parallel/checkpoint/vote.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"

namespace trireme {

namespace {

constexpr const char* kTokens = "embedding.tokens.weight";

bool needs_statistics(const MatrixPlan& plan) {
  if (plan.is_measured) return true;
  if (plan.pruning) return plan.pruning->method != PruneMethod::magnitude;
  return plan.rounding && (plan.rounding->method != RoundingMethod::nearest || plan.rounding->clips);
}

InputGroup head_group(const ModelSpec& spec) {
  const ParameterDescription description(spec);
  const ParameterBlock weight =
      spec.head.tied ? description.embedding().tokens : description.head(true).weight;
  return {.name = "head", .matrices = weight.members};
}

// Each matrix that may be quantized.
template <class Visit>
void for_each_matrix(const ModelSpec& spec, const Visit& visit) {
  const EmbeddingParameters embedding = ParameterDescription(spec).embedding();
  visit(embedding.tokens.members.front());
  for (int64_t i = 0; i < spec.num_blocks(); ++i) {
    if (spec.weights_of(i) != i) continue;
    for (const CalibrationStep& step : calibration_steps(spec, i)) {
      for (const InputGroup& group : step) std::ranges::for_each(group.matrices, visit);
    }
  }
  if (!spec.head.tied) visit(head_group(spec).matrices.front());
}

}  // namespace

ModelQuantizer::ModelQuantizer(Context& ctx, InferenceModel& model, const WeightSource& source,
                               const QuantizeModelOptions& options, QuantizationSink& sink)
    : ctx_(ctx),
      model_(model),
      options_(options),
      sink_(sink),
      spec_(model.model().spec()),
      groups_(ctx, model.parallel()),
      holders_(spec_, model.model().placement(), model.parallel().pipeline().size()),
      weights_(source),
      held_(ctx, model, weights_, options.plan.activations) {
  check_plan();
  bool measures = !options.samples.empty() || options.plan.scaling != InputScaling::none;
  for_each_matrix(spec_, [&](const Parameter& p) {
    if (needs_statistics(plan_of(p.name))) measures = true;
  });
  if (measures) passes_.emplace(ctx, model.parallel(), model.model(), options.samples, options.end_of_text);
  total_ = num_units_of_work();
}

MatrixPlan ModelQuantizer::plan_of(const std::string& name) const {
  if (!options_.plan.plan_of) return {};
  MatrixPlan plan = options_.plan.plan_of(name);
  TRIREME_CHECK(!plan.rounding || !plan.pruning, "{} is to be rounded and pruned at once", name);
  if (name == kTokens && !spec_.head.tied) {
    // The table is only looked up in: there are no products whose errors statistics could weigh.
    if (plan.rounding) {
      plan.rounding->method = RoundingMethod::nearest;
      plan.rounding->clips = false;
    }
    if (plan.pruning) plan.pruning->method = PruneMethod::magnitude;
  }
  return plan;
}

bool ModelQuantizer::is_changed(const std::string& name) const {
  const MatrixPlan plan = plan_of(name);
  return plan.rounding || plan.pruning;
}

bool ModelQuantizer::is_planned(const InputGroup& group) const {
  return std::ranges::any_of(group.matrices, [&](const Parameter& p) { return is_planned(p.name); });
}

bool ModelQuantizer::is_head_tied_late() const {
  return spec_.head.tied && needs_statistics(plan_of(kTokens));
}

void ModelQuantizer::check_plan() const {
  for_each_matrix(spec_, [&](const Parameter& p) {
    const MatrixPlan plan = plan_of(p.name);
    if (plan.pruning) {
      const std::string trouble = trouble_with(*plan.pruning);
      if (!trouble.empty()) throw_usage("{}: pruning has {}", p.name, trouble);
    }
    if (!plan.rounding) return;
    const int64_t group = plan.rounding->spec.group, inputs = p.global_shape[1];
    if (group == 0 || inputs % group == 0) return;
    std::string fitting = "0 (one scale for each output)";
    for (const int64_t other : {32, 64, 128}) {
      if (inputs % other == 0) fitting += fmt::format(", {}", other);
    }
    throw_usage("{}: groups of {} do not divide its {} inputs; groups that do: {}; or leave it out (skip)",
                p.name, group, inputs, fitting);
  });
}

int64_t ModelQuantizer::num_units_of_block(int64_t block) const {
  return spec_.weights_of(block) == block ? std::ssize(calibration_steps(spec_, block)) : 1;
}

int64_t ModelQuantizer::num_units_of_work() const {
  int64_t total = 2;  // embedding, head
  for (int64_t i = 0; i < spec_.num_blocks(); ++i) total += num_units_of_block(i);
  return total;
}

void ModelQuantizer::begin_work(const std::string& at) {
  if (options_.progress && groups_.world().rank() == 0) options_.progress({done_, total_, at});
  ++done_;
}

std::vector<MatrixOutcome> ModelQuantizer::run() {
  for (int place = 0; place <= spec_.num_blocks() + 1; ++place) run_unit(place);
  ctx_.stream().synchronize();
  if (options_.progress && groups_.world().rank() == 0) options_.progress({total_, total_, ""});
  return std::move(outcomes_);
}

void ModelQuantizer::run_unit(int place) {
  if (passes_) passes_->arrive(ctx_, place);
  const bool is_block = place > 0 && place <= spec_.num_blocks();
  const bool has_own = !is_block || spec_.weights_of(place - 1) == place - 1;
  if (place < options_.num_finished_blocks) {
    if (has_own) restore(place);
    begin_work("earlier results");
    if (is_block) done_ += num_units_of_block(place - 1) - 1;
  } else if (place == 0) {
    round_embedding();
    finish(place);
  } else if (!is_block) {
    round_head();
    finish(place);
  } else {
    if (has_own)
      round_block(place - 1);
    else
      begin_work(block_name(place - 1));
    finish(place);
  }
  const bool is_last = place == spec_.num_blocks() + 1;
  if (passes_ && !is_last && is_here(place)) passes_->forward(ctx_, place, true);
}

void ModelQuantizer::round_embedding() {
  begin_work("embedding");
  if (!is_planned(kTokens) || is_head_tied_late()) return;
  InputGroup table{.name = "embedding", .matrices = ParameterDescription(spec_).embedding().tokens.members};
  round_step(0, {std::move(table)}, {});
}

void ModelQuantizer::round_block(int64_t block) {
  const int place = static_cast<int>(block) + 1;
  const std::vector<CalibrationStep> steps = calibration_steps(spec_, block);
  if (options_.plan.scaling != InputScaling::none) scale_inputs(block, steps);
  Statistics statistics;
  if (!options_.plan.sequential) statistics = measure(place, steps);
  for (const CalibrationStep& step : steps) {
    begin_work(step.front().name);
    if (options_.plan.sequential) statistics = measure(place, {&step, 1});
    round_step(place, step, statistics);
  }
}

void ModelQuantizer::round_head() {
  const int place = static_cast<int>(spec_.num_blocks()) + 1;
  begin_work("head");
  const InputGroup head = head_group(spec_);
  if (!is_planned(head) || (spec_.head.tied && !is_head_tied_late())) return;
  round_step(place, {head}, passes_ && is_here(place) ? measure_head(head) : Statistics());
}

// Everything here, that came before, as an earlier attempt left it.
void ModelQuantizer::restore(int place) {
  TRIREME_CHECK(options_.finished != nullptr, "{} finished units of no file", options_.num_finished_blocks);
  std::vector<Parameter> parameters = parameters_of_place(spec_, place);
  if (place == 0 && is_head_tied_late()) std::erase_if(parameters, [](auto& p) { return p.name == kTokens; });
  if (place > spec_.num_blocks() && is_head_tied_late())
    parameters.push_back(head_group(spec_).matrices.front());
  for (const Parameter& p : parameters) held_.set_from(p.name, *options_.finished);
  for (const Parameter& p : parameters) {
    if (held_.has_news(p.name)) held_.refresh(p.name);
  }
}

// What the sink throws, a full disk or a wish to stop, all ranks throw: the others would wait for its rank.
void ModelQuantizer::finish(int place) {
  Communicator& world = groups_.world();
  std::string words;
  auto code = static_cast<int64_t>(ExitCode::internal);
  if (world.rank() == 0) {
    try {
      give_rest(place);
    } catch (const Error& error) {
      words = error.what();
      code = static_cast<int64_t>(error.code());
    } catch (const std::exception& error) {
      words = error.what();
    }
  }
  words = first_words(world, words);
  if (words.empty()) return;
  world.broadcast(ctx_.host_stream(), Tensor::borrow(&code, {1}, DType::i64), 0);
  throw AgreedEnd(static_cast<ExitCode>(code), words);
}

// What the sink has not had of a unit.
void ModelQuantizer::give_rest(int place) {
  for (const Parameter& p : parameters_of_place(spec_, place)) {
    if (given_.contains(p.name) || (p.name == kTokens && is_head_tied_late())) continue;
    sink_.values(p.name, p.global_shape, weights_.whole(p));
  }
  if (place > 0 && place <= spec_.num_blocks()) {
    const std::string bias = router_name(place - 1) + ".bias";
    const auto kinds = weights_.source().kinds();
    if (const auto found = kinds.find(bias); found != kinds.end())
      sink_.values(bias, found->second.shape,
                   weights_.whole(Parameter::whole(bias, found->second.shape, 0, 0)));
  }
  sink_.block_done(place - 1);
}

void ModelQuantizer::round_step(int place, const CalibrationStep& step, const Statistics& statistics) {
  const InputStatistics none;
  const auto statistics_of = [&](const InputGroup& group, const Parameter& p) -> const InputStatistics& {
    const auto found = statistics.find(group.name);
    if (found == statistics.end()) return none;
    const auto& all = found->second;
    if (all.size() == 1) return all.front();
    const Parameter& first = held_.find(p.name)->members.front();
    return all[static_cast<size_t>(p.expert - first.expert)];
  };
  std::map<std::string, QuantizedMatrix> results;
  for (const InputGroup& group : step) {
    for (const Parameter& p : group.matrices) {
      const MatrixPlan plan = plan_of(p.name);
      if (!plan || !is_here(place) || held_.find(p.name) == nullptr) continue;
      const InputStatistics& inputs = statistics_of(group, p);
      if (options_.measured) options_.measured(p.name, inputs);
      if (!is_changed(p.name)) continue;
      Communicator& ranks = groups_.holders(p.expert);
      results[p.name] = plan.pruning ? prune_together(ctx_, ranks, p, weights_, inputs, *plan.pruning)
                                     : quantize_together(ctx_, ranks, p, weights_, inputs, *plan.rounding);
    }
  }
  const int64_t num_experts = model_.config().moe.num_experts;
  for (const InputGroup& group : step) {
    for (const Parameter& p : group.matrices) {
      if (!is_changed(p.name)) continue;
      const int root = groups_.leader(pipeline_rank_of(place), p.expert, num_experts);
      const bool is_copied = holders_.set_of(holders_.first_user(place)) > 0;
      std::optional<QuantizedMatrix> own;
      if (const auto found = results.find(p.name); found != results.end()) own = std::move(found->second);
      const auto result = deliver(ctx_, groups_.world(), root, is_copied, std::move(own));
      if (result) take_result(p, *result);
    }
    if (!is_planned(group)) continue;
    for (const Parameter& p : group.matrices) {
      if (held_.has_news(p.name)) held_.refresh(p.name);
    }
  }
}

void ModelQuantizer::take_result(const Parameter& p, const QuantizedMatrix& result) {
  const bool has_codes = result.values.empty();
  if (has_codes)
    held_.set(p.name, result.matrix);
  else
    held_.set(p.name, std::span(result.values));
  if (groups_.world().rank() != 0) return;
  if (has_codes)
    sink_.matrix(p.name, result.matrix);
  else
    sink_.values(p.name, p.global_shape, result.values);
  given_.insert(p.name);
  outcomes_.push_back(result.outcome);
}

std::vector<MatrixOutcome> quantize_model(Context& ctx, InferenceModel& model, const WeightSource& source,
                                          const QuantizeModelOptions& options, QuantizationSink& sink) {
  return ModelQuantizer(ctx, model, source, options, sink).run();
}

}  // namespace trireme
