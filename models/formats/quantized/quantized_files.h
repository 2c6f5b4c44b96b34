// Files of quantized weights: our own, and those of compressed-tensors, GPTQ and AWQ, read and written.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "parallel/checkpoint/weights/weight_source.h"
#include "runtime/ops/packed/coded_matrix.h"
#include "runtime/tensor/shape.h"

namespace trireme {

/// own: one safetensors file by our parameters' names, where matrices are encoded as compressed-tensors does
/// (NAME_packed, NAME_scale, NAME_zero_point, NAME_g_idx, NAME_shape) and the header's metadata has the spec
/// of each. Sparse matrices are NAME_mask, u8 [outputs, ceil(inputs / 8)], bit i % 8 of byte i / 8 for input
/// i, and NAME_values: those whose bit is set, row by row (f32, bf16, f16; of int8 the numbers, beside
/// NAME_scale). The others: a directory of transformers.
enum class QuantizedFormat : uint8_t { own, compressed_tensors, gptq, awq };

/// A tensor to be written: codes, or values.
struct QuantizedTensor {
  std::string name;                     ///< of the parameter
  Shape shape;                          ///< whole
  std::optional<ops::PackedSpec> spec;  ///< nothing: values
  /// own: a matrix whose zeros are left out (NAME_mask, NAME_values) where 3 of 10 weights or more are zeros,
  /// and where there are sparse weights of its format (values, symmetric int8); else it is written as it is.
  bool sparse = false;
};

/// Gives a tensor's content, whole, when it is its turn.
struct QuantizedContent {
  std::function<ops::CodedMatrix(const std::string& name)> matrix;
  std::function<std::vector<float>(const std::string& name)> values;
};

struct QuantizedWriteOptions {
  QuantizedFormat format = QuantizedFormat::own;
  DType values_type = DType::bf16;  ///< of matrices that are not quantized; vectors are f32 in our own
  ops::Activations activations = ops::Activations::exact;  ///< said in quantization_config
  int64_t shard_bytes = 5'000'000'000;
};

/// Why a format cannot hold these tensors, each reason with the tensor's name and what would work; empty: it
/// can. (GPTQ: symmetric, outputs by 8 and inputs by 8, ...)
std::vector<std::string> cannot_write(QuantizedFormat format, const ModelConfig& config,
                                      const std::vector<QuantizedTensor>& tensors);

/// What a user should know of an export in this format: matrices that become numbers (token tables of
/// transformers, which are rounded as values are), shapes that fast kernels of servers do not take.
/// Sentences.
std::vector<std::string> notes_on_writing(QuantizedFormat format, const ModelConfig& config,
                                          const std::vector<QuantizedTensor>& tensors);

/// Writes weights and, of formats of transformers, returns what config.json has as "quantization_config"
/// (JSON text). own: `path` is the file; else the directory, which exists, and whose config.json, if there is
/// one, says which class of transformers it is. Holds one tensor at a time, or those that one of transformers
/// is made of. UserError (usage) as cannot_write(), and for what only the codes show: scales that are no fp16
/// numbers (GPTQ, AWQ), an activation order (compressed-tensors, AWQ).
std::string write_quantized(const std::string& path, const ModelConfig& config,
                            const std::vector<QuantizedTensor>& tensors, const QuantizedContent& content,
                            const QuantizedWriteOptions& options);

/// What open_weights() opens for such files: a source whose coded() gives the codes. UserError (bad_input)
/// naming file, tensor, and what is not supported of the quantization_config.
std::unique_ptr<WeightSource> open_quantized(const std::string& path, const ModelConfig& config);
/// Whether a directory's config.json or a file's metadata says that weights are quantized so.
bool is_quantized(const std::string& path);

}  // namespace trireme
