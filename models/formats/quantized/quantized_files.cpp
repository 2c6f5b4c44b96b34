#include "models/formats/quantized/quantized_files.h"

#include <filesystem>

#include "models/formats/hf_config.h"
#include "models/formats/hf_weights.h"
#include "models/formats/quantized/hf_plan.h"
#include "models/formats/quantized/open_own.h"
#include "models/formats/quantized/own_quantization.h"
#include "models/formats/quantized/write_hf.h"
#include "models/formats/quantized/write_own.h"
#include "runtime/base/error.h"
#include "runtime/io/safetensors/safetensors.h"

namespace trireme {

namespace fs = std::filesystem;

std::vector<std::string> cannot_write(QuantizedFormat format, const ModelConfig& config,
                                      const std::vector<QuantizedTensor>& tensors) {
  if (format == QuantizedFormat::own) return {};
  try {
    return plan_hf_quantized(format, config, hf_architecture_of(config), tensors).errors;
  } catch (const UserError& error) {
    return {error.what()};
  }
}

std::vector<std::string> notes_on_writing(QuantizedFormat format, const ModelConfig& config,
                                          const std::vector<QuantizedTensor>& tensors) {
  if (format == QuantizedFormat::own) return {};
  return plan_hf_quantized(format, config, hf_architecture_of(config), tensors).notes;
}

std::string write_quantized(const std::string& path, const ModelConfig& config,
                            const std::vector<QuantizedTensor>& tensors, const QuantizedContent& content,
                            const QuantizedWriteOptions& options) {
  if (options.format != QuantizedFormat::own)
    return write_hf_quantized(path, config, tensors, content, options);
  write_own_quantized(path, tensors, content, options);
  return "";
}

std::unique_ptr<WeightSource> open_quantized(const std::string& path, const ModelConfig& config) {
  std::error_code error;
  const bool is_folder = fs::is_directory(path, error);
  if (is_folder && fs::exists(fs::path(path) / "config.json", error)) return open_hf_weights(path, config);
  return open_own_quantized(is_folder ? (fs::path(path) / "model.safetensors").string() : path, config);
}

bool is_quantized(const std::string& path) {
  std::error_code error;
  const bool is_folder = fs::is_directory(path, error);
  if (const fs::path json = fs::path(path) / "config.json"; is_folder && fs::exists(json, error)) {
    const auto config = read_ordered_json(json.string());
    return config.is_object() && config.contains("quantization_config") &&
           !config["quantization_config"].is_null();
  }
  const fs::path file = is_folder ? fs::path(path) / "model.safetensors" : fs::path(path);
  return fs::exists(file, error) && SafetensorsReader(file.string()).metadata().contains(kOwnQuantization);
}

}  // namespace trireme
