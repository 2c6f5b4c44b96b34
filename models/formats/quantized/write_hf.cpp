#include "models/formats/quantized/write_hf.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/formats/hf/architecture.h"
#include "models/formats/hf_config.h"
#include "models/formats/mapped_weights.h"
#include "models/formats/quantized/coded_file.h"
#include "models/formats/quantized/encode_columns.h"
#include "models/formats/quantized/quantization_json.h"
#include "models/formats/quantized/write_own.h"
#include "runtime/base/error.h"
#include "runtime/io/files/atomic_file.h"

namespace trireme {

namespace fs = std::filesystem;

namespace {

int64_t bytes_of_specs(const std::vector<TensorSpec>& specs) {
  int64_t bytes = 0;
  for (const TensorSpec& spec : specs)
    bytes += spec.shape.numel() * static_cast<int64_t>(size_of(spec.dtype));
  return bytes;
}

class HfWriter {
 public:
  HfWriter(std::string directory, const ModelConfig& config, const std::vector<QuantizedTensor>& tensors,
           const QuantizedContent& content, const QuantizedWriteOptions& options)
      : directory_(std::move(directory)), content_(content), options_(options) {
    for (const QuantizedTensor& tensor : tensors) tensors_.insert({tensor.name, &tensor});
    plan_ = plan_hf_quantized(options.format, config, architecture_for(directory_, config), tensors);
    if (!plan_.errors.empty()) throw_usage("{}", plan_.errors.front());
  }

  std::string write() {
    const std::vector<std::vector<const HfQuantizedTensor*>> shards = shards_of();
    for (size_t i = 0; i < shards.size(); ++i) {
      std::vector<TensorSpec> most;
      for (const HfQuantizedTensor* tensor : shards[i]) {
        const std::vector<TensorSpec> some = most_of(*tensor);
        most.insert(most.end(), some.begin(), some.end());
      }
      const std::string name = shards.size() == 1
                                   ? "model.safetensors"
                                   : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
      CodedFileWriter file(directory_ + "/" + name, most, {{"format", "pt"}});
      for (const HfQuantizedTensor* tensor : shards[i]) write_tensor(file, *tensor);
      file.commit();
      for (const TensorSpec& spec : file.written()) places_[spec.name] = name;
      bytes_ += bytes_of_specs(file.written());
    }
    if (shards.size() > 1) write_index();
    return config().dump(2);
  }

 private:
  ColumnFormat column_format() const {
    if (options_.format == QuantizedFormat::awq) return ColumnFormat::awq;
    return is_symmetric(plan_) ? ColumnFormat::gptq : ColumnFormat::gptq_v2;
  }

  std::vector<TensorSpec> most_of(const HfQuantizedTensor& tensor) const {
    if (!tensor.spec) return {{tensor.stored.name, options_.values_type, tensor.stored.shape}};
    if (options_.format == QuantizedFormat::compressed_tensors)
      return most_of_compressed(tensor.module(), tensor.stored.shape, *tensor.spec);
    return specs_of_columns(tensor.module(), tensor.stored.shape, *tensor.spec, column_format());
  }

  std::vector<std::vector<const HfQuantizedTensor*>> shards_of() const {
    std::vector<std::vector<const HfQuantizedTensor*>> shards(1);
    int64_t filled = 0;
    for (const HfQuantizedTensor& tensor : plan_.tensors) {
      const int64_t bytes = bytes_of_specs(most_of(tensor));
      if (!shards.back().empty() && bytes > options_.shard_bytes - filled) {
        shards.emplace_back();
        filled = 0;
      }
      shards.back().push_back(&tensor);
      filled += bytes;
    }
    return shards;
  }

  void write_tensor(CodedFileWriter& file, const HfQuantizedTensor& tensor) {
    if (!tensor.spec) {
      const std::vector<float> values =
          assemble(plan_.map, tensor.stored, [this](const std::string& name) { return numbers(name); });
      const EncodedTensor all =
          encoded_floats(tensor.stored.name, tensor.stored.shape, values, options_.values_type);
      return file.add(all.spec, all.bytes);
    }
    const ops::CodedMatrix codes = assemble_codes(
        plan_, tensor, [this](const std::string& name) { return matrix_of(*tensors_.at(name), content_); });
    has_order_ = has_order_ || !codes.order.empty();
    for (const EncodedTensor& part : encode(tensor.module(), codes)) file.add(part.spec, part.bytes);
  }

  std::vector<EncodedTensor> encode(const std::string& module, const ops::CodedMatrix& codes) const {
    if (options_.format != QuantizedFormat::compressed_tensors)
      return encode_columns(module, codes, column_format());
    if (!codes.order.empty()) {
      throw_usage(
          "{}: the library compressed-tensors reads no activation order (g_idx) any more: quantize with "
          "static "
          "groups, or export as gptq",
          module);
    }
    const bool packs = compressed_format(codes.spec, options_.activations) == std::string("pack-quantized");
    return encode_compressed(module, codes, packs, options_.values_type);
  }

  /// Of a matrix of codes too, where the format holds it as numbers.
  std::vector<float> numbers(const std::string& name) const {
    const QuantizedTensor& tensor = *tensors_.at(name);
    if (!tensor.spec) return values_of(tensor, content_);
    const ops::CodedMatrix codes = matrix_of(tensor, content_);
    std::vector<float> values(codes.codes.size());
    for (int64_t row = 0; row < codes.outputs; ++row)
      ops::decode_row(codes, row,
                      std::span(values).subspan(static_cast<size_t>(row * codes.inputs),
                                                static_cast<size_t>(codes.inputs)));
    return values;
  }

  void write_index() const {
    nlohmann::json index;
    for (const auto& [tensor, file] : places_) index["weight_map"][tensor] = file;
    index["metadata"] = {{"total_size", bytes_}};
    write_file_atomically(directory_ + "/model.safetensors.index.json", index.dump(2) + "\n");
  }

  nlohmann::ordered_json config() const {
    if (options_.format == QuantizedFormat::awq) return awq_config(plan_);
    if (options_.format == QuantizedFormat::gptq) return gptq_config(plan_, has_order_);
    return compressed_config(plan_, options_.activations);
  }

  std::string directory_;
  const QuantizedContent& content_;
  const QuantizedWriteOptions& options_;
  std::map<std::string, const QuantizedTensor*, std::less<>> tensors_;
  HfQuantizedPlan plan_;
  std::map<std::string, std::string> places_;
  int64_t bytes_ = 0;
  bool has_order_ = false;
};

}  // namespace

std::string architecture_for(const std::string& directory, const ModelConfig& config) {
  const fs::path file = fs::path(directory) / "config.json";
  std::error_code error;
  if (!directory.empty() && fs::exists(file, error))
    return std::string(hf::hf_architecture_in(read_ordered_json(file.string()), file.string()).name);
  return hf_architecture_of(config);
}

std::string write_hf_quantized(const std::string& directory, const ModelConfig& config,
                               const std::vector<QuantizedTensor>& tensors, const QuantizedContent& content,
                               const QuantizedWriteOptions& options) {
  return HfWriter(directory, config, tensors, content, options).write();
}

}  // namespace trireme
