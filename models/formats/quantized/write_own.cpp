#include "models/formats/quantized/write_own.h"

#include <algorithm>
#include <cmath>

#include "models/formats/quantized/coded_file.h"
#include "models/formats/quantized/encoded_tensor.h"
#include "models/formats/quantized/own_quantization.h"
#include "runtime/base/error.h"

namespace trireme {

namespace {

std::string module_of_own(const QuantizedTensor& tensor) {
  TRIREME_CHECK(tensor.name.ends_with(kWeight) && tensor.shape.rank() == 2, "{} is no matrix", tensor.name);
  return tensor.name.substr(0, tensor.name.size() - kWeight.size());
}

DType type_of_own(const QuantizedTensor& tensor, const QuantizedWriteOptions& options) {
  return tensor.shape.rank() < 2 ? DType::f32 : options.values_type;
}

std::vector<EncodedTensor> encoded_values(const QuantizedTensor& tensor, const std::vector<float>& values,
                                          const QuantizedWriteOptions& options) {
  const auto type = type_of_own(tensor, options);
  std::vector<EncodedTensor> parts;
  if (tensor.sparse) parts = encode_sparse(module_of_own(tensor), tensor.shape, values, type);
  if (parts.empty()) parts.push_back(encoded_floats(tensor.name, tensor.shape, values, type));
  return parts;
}

std::vector<EncodedTensor> encoded_codes(const QuantizedTensor& tensor, const ops::CodedMatrix& matrix) {
  const std::string module = module_of_own(tensor);
  std::vector<EncodedTensor> parts;
  if (tensor.sparse) parts = encode_sparse(module, matrix, DType::bf16);
  if (!parts.empty()) return parts;
  return encode_compressed(module, matrix, tensor.spec->format == ops::PackedFormat::int4, DType::bf16);
}

}  // namespace

ops::CodedMatrix matrix_of(const QuantizedTensor& tensor, const QuantizedContent& content) {
  ops::CodedMatrix matrix = content.matrix(tensor.name);
  TRIREME_CHECK(matrix.outputs == tensor.shape[0] && matrix.inputs == tensor.shape[1] &&
                    matrix.spec == tensor.spec && std::ssize(matrix.codes) == tensor.shape.numel() &&
                    std::ssize(matrix.scales) == matrix.outputs * matrix.groups() &&
                    matrix.zeros.empty() == matrix.spec.symmetric,
                "{}: {} of [{}, {}] instead of {}", tensor.name, ops::to_string(matrix.spec), matrix.outputs,
                matrix.inputs, to_string(tensor.shape));
  return matrix;
}

std::vector<float> values_of(const QuantizedTensor& tensor, const QuantizedContent& content) {
  std::vector<float> values = content.values(tensor.name);
  TRIREME_CHECK(std::ssize(values) == tensor.shape.numel(), "{} values of {}", values.size(), tensor.name);
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
    throw_bad_input("{} has values that are not finite", tensor.name);
  return values;
}

void write_own_quantized(const std::string& path, const std::vector<QuantizedTensor>& tensors,
                         const QuantizedContent& content, const QuantizedWriteOptions& options) {
  OwnQuantization quantization{.activations = options.activations, .matrices = {}};
  std::vector<TensorSpec> most;
  for (const QuantizedTensor& tensor : tensors) {
    if (tensor.sparse) {
      const auto some = most_of_sparse(module_of_own(tensor), tensor.shape, tensor.spec.has_value());
      most.insert(most.end(), some.begin(), some.end());
    }
    if (!tensor.spec) {
      most.push_back({tensor.name, type_of_own(tensor, options), tensor.shape});
      continue;
    }
    quantization.matrices.insert({tensor.name, *tensor.spec});
    const auto some = most_of_compressed(module_of_own(tensor), tensor.shape, *tensor.spec);
    most.insert(most.end(), some.begin(), some.end());
  }
  CodedFileWriter file(
      path, most,
      {{"format", "trireme"}, {std::string(kOwnQuantization), write_own_quantization(quantization)}});
  for (const QuantizedTensor& tensor : tensors) {
    const auto parts = tensor.spec ? encoded_codes(tensor, matrix_of(tensor, content))
                                   : encoded_values(tensor, values_of(tensor, content), options);
    for (const EncodedTensor& part : parts) file.add(part.spec, part.bytes);
  }
  file.commit();
}

}  // namespace trireme
