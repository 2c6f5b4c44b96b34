#include "launch/export/exported_model.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include <fmt/ranges.h>

#include "launch/checkpoint/checkpoint_tools.h"
#include "launch/export/own_model.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/own_quantization.h"
#include "models/formats/quantized/quantized_files.h"
#include "models/formats/quantized/stored_sparse.h"
#include "models/spec/describe.h"
#include "parallel/checkpoint/format/checkpoint_directory.h"
#include "parallel/checkpoint/state_slices.h"
#include "parallel/checkpoint/weights/load_weights.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "parallel/checkpoint/weights/whole_tensors.h"
#include "runtime/base/error.h"
#include "runtime/base/half.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme::launch {

namespace {

namespace fs = std::filesystem;

using StoredKinds = std::map<std::string, StoredKind, std::less<>>;

template <class Element>
std::vector<float> widened_to_f32(std::span<const std::byte> bytes) {
  std::vector<float> values(bytes.size() / sizeof(Element));
  for (size_t i = 0; i < values.size(); ++i) {
    Element element;
    std::memcpy(&element, bytes.data() + i * sizeof element, sizeof element);
    values[i] = static_cast<float>(element);
  }
  return values;
}

std::vector<float> f32_of(std::span<const std::byte> bytes, DType dtype) {
  if (dtype == DType::bf16) return widened_to_f32<bf16>(bytes);
  if (dtype == DType::f16) return widened_to_f32<fp16>(bytes);
  return widened_to_f32<float>(bytes);
}

/// Gives the model the vocabulary that its token table has, and compares the rest.
void check_weights(ExportedModel& model, const StoredKinds& kinds) {
  const auto tokens = kinds.find("embedding.tokens.weight");
  if (tokens != kinds.end() && tokens->second.shape.rank() == 2)
    model.config.vocab_size = tokens->second.shape[0];
  const std::vector<std::string> errors = errors_of(model.config);
  if (!errors.empty()) throw_bad_input("{}: {}", model.path, fmt::join(errors, "; "));
  check_weights_fit(kinds, model.path, parameters_by_layer(spec_of(model.config)), false);
  for (const auto& [name, kind] : kinds) {
    if (name.ends_with(kRouterBias)) {
      throw_usage(
          "{}: {} balances experts (moe.bias-rate), and no other program's file has a place for it; --format "
          "trireme keeps it",
          model.path, name);
    }
  }
}

void open_checkpoint(ExportedModel& model, const std::string& path) {
  const auto tensors = std::make_shared<const WholeTensors>(path);
  model.path = model.checkpoint = path;
  model.config = model_of_options(tensors->manifest().state.config, path);
  StoredKinds kinds;
  for (const auto& [name, tensor] : tensors->tensors()) {
    if (!is_optimizer_state(name)) kinds.insert({name, {tensor.shape, tensor.dtype}});
  }
  for (const auto& [router, biases] : tensors->manifest().state.router_biases)
    kinds.insert(
        {router.ends_with(kRouterBias) ? router : router + ".bias", {{std::ssize(biases)}, DType::f32}});
  check_weights(model, kinds);
  model.values = [tensors](const std::string& name) {
    return f32_of(tensors->read(name), tensors->tensors().find(name)->second.dtype);
  };
}

/// Values and codes of a source, which lives as long as they are asked for.
void read_from(ExportedModel& model, std::shared_ptr<const WeightSource> weights) {
  auto parameters = std::make_shared<std::map<std::string, Parameter>>();
  for (const auto& layer : parameters_by_layer(spec_of(model.config))) {
    for (const Parameter& p : layer) parameters->emplace(p.name, p);
  }
  model.values = [weights, parameters](const std::string& name) {
    const Parameter& p = parameters->at(name);
    std::vector<float> values(static_cast<size_t>(p.global_shape.numel()));
    weights->read(name, p, values);
    return values;
  };
  model.codes.spec = [weights, parameters](const std::string& name) {
    return weights->coded_spec(name, parameters->at(name));
  };
  model.codes.matrix = [weights, parameters](const std::string& name) {
    return weights->coded(name, parameters->at(name));
  };
}

/// Matrices of codes as their values.
void open_quantized_of_run(ExportedModel& model, const SafetensorsReader& file) {
  model.config.vocab_size = token_table_rows(file).value_or(model.config.vocab_size);
  model.activations = read_own_quantization(file)->activations;
  const std::shared_ptr<const WeightSource> source = open_quantized(model.path, model.config);
  check_weights(model, source->kinds());
  model.quantized = source;
  read_from(model, source);
}

/// Values of which some are without their zeros.
void open_sparse_of_run(ExportedModel& model, const SafetensorsReader& file) {
  model.config.vocab_size = token_table_rows(file).value_or(model.config.vocab_size);
  const std::shared_ptr<const WeightSource> source = open_quantized(model.path, model.config);
  check_weights(model, source->kinds());
  read_from(model, source);
}

void open_weights_of_run(ExportedModel& model, const fs::path& run) {
  const auto file = std::make_shared<const SafetensorsReader>((run / "model.safetensors").string());
  model.path = file->path();
  model.config = model_of_ini((run / "config.ini").string());
  const auto quantization = read_own_quantization(*file);
  if (quantization && !quantization->matrices.empty()) return open_quantized_of_run(model, *file);
  if (quantization && !sparse_modules(file->tensors(), file->path()).empty())
    return open_sparse_of_run(model, *file);
  StoredKinds kinds;
  for (const auto& [name, tensor] : file->tensors()) kinds.insert({name, {tensor.shape, tensor.dtype}});
  check_weights(model, kinds);
  model.values = [file](const std::string& name) {
    const StoredTensor& tensor = file->at(name);
    return f32_of(tensor.bytes, tensor.dtype);
  };
}

bool has_weights_alone(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path / "config.ini", ignored) && fs::exists(path / "model.safetensors", ignored) &&
         checkpoint_steps((path / "checkpoints").string()).empty();
}

}  // namespace

ExportedModel open_exported(const std::string& path, const std::string& source) {
  ExportedModel model;
  std::error_code ignored;
  fs::path run;
  if (has_weights_alone(path)) {
    run = path;
    open_weights_of_run(model, run);
  } else {
    open_checkpoint(model, find_checkpoints(path).front());
    run = run_of(model.path);
  }
  if (!source.empty() && !fs::is_directory(source, ignored))
    throw_usage("--source {}: it is no directory; give one with config.json, a tokenizer and the like",
                source);
  model.source = source;
  if (source.empty() && !run.empty() && fs::is_directory(run / "source", ignored))
    model.source = (run / "source").string();
  if (!run.empty() && fs::exists(run / "tokenizer.json", ignored))
    model.tokenizer = (run / "tokenizer.json").string();
  return model;
}

ExportedModel exported_from(std::shared_ptr<const WeightSource> weights, const ModelConfig& config,
                            const std::string& path, const std::string& source,
                            const std::string& tokenizer) {
  ExportedModel model;
  model.path = path;
  model.config = config;
  model.source = source;
  model.tokenizer = tokenizer;
  check_weights(model, weights->kinds());
  read_from(model, std::move(weights));
  return model;
}

}  // namespace trireme::launch
