#include "launch/compress/compression.h"

#include <algorithm>
#include <filesystem>

#include "launch/compress/step_files.h"
#include "launch/generate/shared_requests.h"
#include "launch/process/stop_request.h"
#include "models/cost/model_size.h"
#include "models/formats/open_weights.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

int64_t bytes_of_folder(const fs::path& folder) {
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && entry.path().extension() == ".safetensors")
      bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

void add_zeros(Compression& c, StepRecord& record) {
  together(c.world, [&] {
    if (c.is_first()) record.zeros = zeros_of(*c.source, c.config);
  });
  record.figures.zeros = record.zeros.contains("") ? record.zeros.at("") : 0;
  record.zeros.erase("");
  c.say(fmt::format("{}: {:.1f} % of the weights of layers are zeros", record.figures.name,
                    100 * record.figures.zeros));
}

}  // namespace

InferenceOptions Compression::model_options(ops::Activations activations) const {
  InferenceOptions options = arguments.model.model;
  options.weights.reset();
  options.activations = activations;
  const int64_t longest_sample = samples.empty() ? 0 : std::ssize(samples.front());
  options.max_seq_len = samples.empty() ? config.max_positions : std::max(longest_sample, measuring.seq_len);
  return options;
}

StepFigures Compression::measured(InferenceModel& model) {
  StepFigures figures = measure_loss(ctx, model, &model == base.get() ? nullptr : base.get(), measuring);
  double speed = decode_speed(ctx, model, measuring);
  world.broadcast(ctx.host_stream(), Tensor::borrow(&speed, {1}, DType::f64), 0);
  figures.tokens_per_second = speed;
  figures.fp32_bytes = fp32_bytes(files.config);
  return figures;
}

void Compression::end_if_asked() {
  const auto signal = static_cast<int>(share_number(world, is_first() ? StopRequest::signal() : 0));
  if (signal == 0) return;
  throw AgreedEnd(ExitCode::resumable,
                  fmt::format("ended by {}: what is done is kept in {}; the same command "
                              "goes on",
                              signal_name(signal), work.path()));
}

int64_t fp32_bytes(const ModelConfig& config) { return 4 * size_of(config).parameters; }

int64_t stored_bytes(const std::string& path, const ModelConfig& config) {
  const WeightPlace place = find_weights(path);
  if (place.format == ModelFormat::checkpoint) return fp32_bytes(config);  // beside the optimizer's state
  std::error_code ignored;
  if (fs::is_directory(place.path, ignored)) return bytes_of_folder(place.path);
  if (place.format == ModelFormat::hugging_face) return bytes_of_folder(fs::path(place.path).parent_path());
  return static_cast<int64_t>(fs::file_size(place.path));
}

void measure_file(Compression& c, size_t index, ops::Activations activations, StepRecord& record) {
  const RecipeStep& step = c.arguments.recipe.steps[index];
  const std::string file = c.work.step_file(index);
  together(c.world, [&] { c.source = open_weights(find_weights(file), c.config); });
  {
    InferenceModel model(c.ctx, c.world, *c.source, c.config, c.model_options(activations));
    record.figures = c.measured(model);
  }
  record.figures.name = step.name;
  record.figures.what = describe(step);
  together(c.world, [&] { record.figures.bytes = static_cast<int64_t>(fs::file_size(file)); });
  if (is_sparse_before(c.arguments.recipe, index + 1)) add_zeros(c, record);
}

void pass_gate(Compression& c, const RecipeStep& step, const StepFigures& figures) {
  c.say(figures_line(figures, *c.state.base));
  // All ranks have the same figures but for the speed, which no gate looks at.
  const auto why = exceeded(step.gate, *c.state.base, figures);
  if (!why) return;
  together(c.world, [&] {
    if (c.is_first()) c.work.remove();
  });
  throw AgreedEnd(ExitCode::gate,
                  fmt::format("step {} does not pass its gate: {}. Nothing was kept", step.name, *why));
}

}  // namespace trireme::launch
