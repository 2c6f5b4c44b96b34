#include "launch/compress/step_files.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/quantized_files.h"
#include "parallel/checkpoint/weights/router_biases.h"
#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"

namespace trireme::launch {

namespace {

Parameter whole_tensor(const std::string& name, const Shape& shape) {
  return Parameter::whole(name, shape, 0, 0);
}

bool is_matrix_of_layer(const Parameter& p) {
  return p.global_shape.rank() == 2 && p.name.starts_with("layers.") && !p.name.ends_with(kRouterWeight);
}

/// All tensors of the model, in the order of the forward pass, as the step's file has them.
std::vector<QuantizedTensor> file_tensors(const ModelConfig& config, const WeightSource& source,
                                          bool is_sparse) {
  std::vector<QuantizedTensor> tensors;
  for (const Parameter& p : parameters_of(config))
    tensors.push_back(
        {p.name, p.global_shape, source.coded_spec(p.name, p), is_sparse && is_matrix_of_layer(p)});
  for (const auto& [name, kind] : source.kinds()) {
    if (name.ends_with(kRouterBias)) tensors.push_back({name, kind.shape, std::nullopt});
  }
  return tensors;
}

}  // namespace

void write_step(const std::string& file, const ModelConfig& config, const WeightSource& source,
                const StepFormats& formats) {
  std::map<std::string, Shape> shapes;
  const std::vector<QuantizedTensor> tensors = file_tensors(config, source, formats.is_sparse);
  for (const QuantizedTensor& tensor : tensors) shapes.insert({tensor.name, tensor.shape});
  const QuantizedContent content{[&](const std::string& name) {
                                   auto codes = source.coded(name, whole_tensor(name, shapes.at(name)));
                                   TRIREME_CHECK(codes.has_value(), "no codes of {}", name);
                                   return *std::move(codes);
                                 },
                                 [&](const std::string& name) {
                                   const Shape& shape = shapes.at(name);
                                   std::vector<float> values(static_cast<size_t>(shape.numel()));
                                   source.read(name, whole_tensor(name, shape), values);
                                   return values;
                                 }};
  FileCalls calls;
  remove_file(calls, file + ".unfinished");
  write_quantized(file + ".unfinished", config, tensors, content,
                  {.values_type = formats.values, .activations = formats.activations});
  rename_path(calls, file + ".unfinished", file);
}

DType values_type(const WeightSource& source, const ModelConfig& config) {
  const auto kinds = source.kinds();
  const bool are_bf16 = std::ranges::all_of(parameters_of(config), [&](const Parameter& p) {
    const auto kind = kinds.find(p.name);
    return p.global_shape.rank() != 2 || kind == kinds.end() || kind->second.dtype == DType::bf16;
  });
  return are_bf16 ? DType::bf16 : DType::f32;
}

std::map<std::string, double> zeros_of(const WeightSource& source, const ModelConfig& config) {
  std::map<std::string, double> zeros;
  double all = 0, weights = 0;
  std::vector<float> values;
  for (const Parameter& p : parameters_of(config)) {
    if (!is_matrix_of_layer(p)) continue;
    values.resize(static_cast<size_t>(p.global_shape.numel()));
    source.read(p.name, whole_tensor(p.name, p.global_shape), values);
    const auto count = static_cast<double>(std::ranges::count(values, 0.0f));
    zeros[p.name] = count / static_cast<double>(values.size());
    all += count;
    weights += static_cast<double>(values.size());
  }
  zeros[""] = weights > 0 ? all / weights : 0;
  return zeros;
}

}  // namespace trireme::launch
