// trireme checkpoint export: a model in the form of other programs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

namespace trireme::launch {

/// trireme: one safetensors file as a run's model.safetensors. hf: a directory of Hugging Face's
/// transformers. gguf: a file of llama.cpp. The others: directories of transformers with quantized matrices.
enum class ExportFormat : uint8_t { trireme, hf, gguf, compressed_tensors, gptq, awq };
/// q8_0, q4_0, q4_k_m: of gguf alone (docs/gguf.md).
enum class ExportType : uint8_t { fp32, bf16, fp16, q8_0, q4_0, q4_k_m };

inline constexpr int64_t kDefaultShardBytes = 5'000'000'000;

/// How a model of numbers is rounded for the quantized formats: 4 bits (or 8) in groups of 128 inputs (0: one
/// scale an output), symmetric, unless given.
struct ExportRounding {
  std::optional<int64_t> bits = {}, group = {};
  std::optional<bool> symmetric = {};
};

struct ExportOptions {
  std::string path;                         ///< as open_exported()
  std::string out;                          ///< file, or of hf directory, which is not there or empty
  std::optional<ExportFormat> format = {};  ///< none: by the ending of `out` (format_of())
  ExportType type = ExportType::fp32;       ///< of matrices; in hf of all tensors
  bool has_type = false;                    ///< was given; else the quantized formats have bf16 or fp16
  ExportRounding rounding = {};
  std::string source = {};
  int64_t shard_bytes = kDefaultShardBytes;  ///< most bytes of a file of weights (hf)
  int num_threads = 1;                       ///< that encode blocks of gguf
  bool check = true;                         ///< read back, compute and compare before the export appears
};

/// .safetensors: trireme; .gguf: gguf; all else: hf.
ExportFormat format_of(const std::string& out);

/// Writes the export and says what was written and compared. Bytes depend on the weights alone, not on the
/// layout that saved them. Holds two tensors at a time, for the check one model in fp32. UserError (usage)
/// naming what the format cannot hold, (numerics) where what was read back computes something else; then
/// nothing is left.
void export_model(const ExportOptions& options, std::FILE* out);

}  // namespace trireme::launch
