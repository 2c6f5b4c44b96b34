// What the scripts beside this ask of the methods (built by --target compress_tool). Each line of JSON on
// standard input is a job:
//
//   {"in": FILE, "out": FILE, "job": "round" | "awq" | "smooth_quant", "weights": [NAME, ...], "format":
//   "int4",
//    "group": 64, "symmetric": true, "method": "gptq", "order": "as_is", "damping": 0.01, "clips": false,
//    "strength": 0.5}
//
// in: safetensors with the weights f32 [outputs, inputs], "hessian" f64, "magnitudes" f64, "largest" f32 and
// "tokens" i64 [1]. out: codes/NAME u8, scales/NAME f32, zeros/NAME u8 (asymmetric), order i32 [inputs] (may
// be empty), or "scales" f32 [inputs]. A line of JSON with the reports answers each job.
//
//   {"job": "prune", "in": FILE, "out": FILE, "weights": [NAME], "method": "wanda", "sparsity": 0.5, "zeros":
//   0, "of": 0,
//    "damping": 0.01, "block": 128}
//   {"job": "prune_model", "in": MODEL, "samples": FILE, "out": FILE, as above}
//
// out of the first: values f32; of the second the tensors of the model, whose matrices in blocks are pruned
// one after the other on the samples, "samples" i32 [count, length].
#include <cstring>
#include <iostream>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "models/compress/input_scales.h"
#include "models/compress/quantize_model.h"
#include "models/formats/open_weights.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {
namespace {

using nlohmann::ordered_json;

template <class T>
std::vector<T> values_of(const SafetensorsReader& file, const std::string& name) {
  const StoredTensor& tensor = file.at(name);
  TRIREME_CHECK(tensor.dtype == DTypeOf<T>::value, "{} has another type", name);
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

InputStatistics read_statistics(const SafetensorsReader& file) {
  InputStatistics s;
  s.tokens = values_of<int64_t>(file, "tokens").at(0);
  s.hessian = values_of<double>(file, "hessian");
  s.magnitudes = values_of<double>(file, "magnitudes");
  s.largest = values_of<float>(file, "largest");
  s.inputs = std::ssize(s.largest);
  return s;
}

RoundingOptions options_of(const ordered_json& job) {
  RoundingOptions options;
  options.spec.format = job.at("format") == "int8" ? ops::PackedFormat::int8 : ops::PackedFormat::int4;
  options.spec.group = job.at("group");
  options.spec.symmetric = job.value("symmetric", true);
  options.method = job.value("method", "nearest") == "gptq" ? RoundingMethod::gptq : RoundingMethod::nearest;
  const std::string order = job.value("order", "as_is");
  options.order = order == "groups"          ? ColumnOrder::groups
                  : order == "static_groups" ? ColumnOrder::static_groups
                                             : ColumnOrder::as_is;
  options.damping = job.value("damping", 0.01);
  options.clips = job.value("clips", false);
  return options;
}

void write_matrix(const std::string& path, const ops::CodedMatrix& m) {
  const int64_t groups = std::ssize(m.scales) / m.outputs;
  std::vector<TensorSpec> specs = {{"order", DType::i32, Shape{std::ssize(m.order)}},
                                   {"scales", DType::f32, Shape{m.outputs, groups}},
                                   {"codes", DType::u8, Shape{m.outputs, m.inputs}}};
  if (!m.zeros.empty()) specs.push_back({"zeros", DType::u8, Shape{m.outputs, groups}});
  SafetensorsWriter writer(path, specs);
  writer.write("order", bytes_of(m.order));
  writer.write("scales", bytes_of(m.scales));
  writer.write("codes", bytes_of(m.codes));
  if (!m.zeros.empty()) writer.write("zeros", bytes_of(m.zeros));
  writer.commit();
}

ordered_json round(Context& ctx, const SafetensorsReader& file, const ordered_json& job) {
  const std::string name = job.at("weights").at(0);
  const InputStatistics statistics = read_statistics(file);
  const std::vector<float> w = values_of<float>(file, name);
  const RoundedMatrix rounded = quantize_matrix(ctx, w, std::ssize(w) / statistics.inputs, statistics.inputs,
                                                statistics, options_of(job));
  write_matrix(job.at("out"), rounded.matrix);
  const RoundingReport& report = rounded.report;
  return {{"error", report.error}, {"damping", report.damping}, {"dead", report.dead}, {"note", report.note}};
}

ordered_json scale(Context& ctx, const SafetensorsReader& file, const ordered_json& job) {
  const InputStatistics statistics = read_statistics(file);
  std::vector<std::vector<float>> weights;
  std::vector<ScaledMatrix> matrices;
  for (const std::string name : job.at("weights")) weights.push_back(values_of<float>(file, name));
  for (const auto& w : weights) matrices.push_back({w, std::ssize(w) / statistics.inputs, options_of(job)});
  const InputScales result =
      input_scales(ctx, job.at("job") == "awq" ? InputScaling::awq : InputScaling::smooth_quant, matrices,
                   statistics, job.value("strength", 0.5));
  SafetensorsWriter writer(job.at("out"), {{"scales", DType::f32, Shape{statistics.inputs}}});
  writer.write("scales", bytes_of(result.scales));
  writer.commit();
  return {{"strength", result.strength}, {"error", result.error}, {"error_before", result.error_before}};
}

PruneOptions pruning_of(const ordered_json& job) {
  PruneOptions options;
  const std::string method = job.at("method");
  options.method = method == "sparsegpt" ? PruneMethod::sparsegpt
                   : method == "wanda"   ? PruneMethod::wanda
                                         : PruneMethod::magnitude;
  options.sparsity = job.value("sparsity", 0.5);
  options.zeros = job.value("zeros", 0);
  options.of = job.value("of", 0);
  options.damping = job.value("damping", 0.01);
  options.block = job.value("block", 128);
  return options;
}

ordered_json prune(Context& ctx, const SafetensorsReader& file, const ordered_json& job) {
  const InputStatistics statistics = read_statistics(file);
  const std::vector<float> w = values_of<float>(file, job.at("weights").at(0));
  const int64_t outputs = std::ssize(w) / statistics.inputs;
  const PrunedMatrix pruned = prune_matrix(ctx, w, outputs, statistics.inputs, statistics, pruning_of(job));
  SafetensorsWriter writer(job.at("out"), {{"values", DType::f32, Shape{outputs, statistics.inputs}}});
  writer.write("values", bytes_of(pruned.values));
  writer.commit();
  const RoundingReport& report = pruned.report;
  return {{"error", report.error}, {"damping", report.damping}, {"dead", report.dead}, {"note", report.note}};
}

struct KeptTensors final : QuantizationSink {
  void matrix(const std::string& name, const ops::CodedMatrix&) override {
    TRIREME_CHECK(false, "{} has codes", name);
  }
  void values(const std::string& name, const Shape& shape, std::span<const float> whole) override {
    specs.push_back({name, DType::f32, shape});
    tensors[name].assign(whole.begin(), whole.end());
  }
  void block_done(int64_t) override {}

  std::vector<TensorSpec> specs;
  std::map<std::string, std::vector<float>> tensors;
};

ordered_json prune_model(Context& ctx, const ordered_json& job) {
  const SafetensorsReader file(job.at("samples"));
  const std::vector<int32_t> tokens = values_of<int32_t>(file, "samples");
  const int64_t length = file.at("samples").shape[1];
  QuantizeModelOptions options;
  for (auto at = tokens.begin(); at != tokens.end(); at += length)
    options.samples.emplace_back(at, at + length);
  options.plan.plan_of = [pruning = pruning_of(job)](const std::string& name) -> MatrixPlan {
    if (!name.starts_with("layers.")) return {};
    return {.pruning = pruning};
  };
  const WeightPlace place = find_weights(job.at("in"));
  const ModelConfig config = model_of(place).value();
  const auto self = make_self_communicator();
  const auto source = open_weights(place, config);
  InferenceModel model(ctx, *self, *source, config, {.activations = ops::Activations::exact});
  KeptTensors kept;
  double error = 0;
  for (const MatrixOutcome& outcome : quantize_model(ctx, model, *source, options, kept)) {
    if (!outcome.report.note.empty()) std::cerr << outcome.name << ": " << outcome.report.note << '\n';
    error = std::max(error, outcome.report.error);
  }
  SafetensorsWriter writer(job.at("out"), kept.specs);
  for (const TensorSpec& spec : kept.specs) writer.write(spec.name, bytes_of(kept.tensors.at(spec.name)));
  writer.commit();
  return {{"error", error}};
}

ordered_json answer_to(Context& ctx, const ordered_json& job) {
  if (job.at("job") == "prune_model") return prune_model(ctx, job);
  const SafetensorsReader file(job.at("in"));
  if (job.at("job") == "prune") return prune(ctx, file, job);
  return job.at("job") == "round" ? round(ctx, file, job) : scale(ctx, file, job);
}

int run() {
  Context ctx({}, 2);
  std::string line;
  while (std::getline(std::cin, line))
    std::cout << answer_to(ctx, ordered_json::parse(line)).dump() << std::endl;
  return 0;
}

}  // namespace
}  // namespace trireme

int main() {
  try {
    return trireme::run();
  } catch (const std::exception& error) {
    std::cerr << "compress_tool: " << error.what() << '\n';
    return 1;
  }
}
