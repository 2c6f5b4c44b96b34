// Tensors of a GGUF file from a model's parameters: encoded row by row, then put where llama.cpp has the
// rows.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/config/model_config.h"
#include "models/formats/gguf_file_type.h"
#include "models/formats/parameter_values.h"
#include "models/formats/tensor_map.h"

namespace trireme {

/// What a file is made of.
struct GgufContent {
  ParameterValues values;
  ParameterCodes codes = {};  ///< kept where the tensor's type holds them; else `values` are rounded
  InputImportance importance = nullptr;  ///< of q4_1, q4_k and q6_k
  int num_threads = 1;
};

/// What became of parameters that are there as codes.
struct GgufCodesReport {
  int64_t kept = 0, rounded = 0;
  double largest = 0;  ///< change of a value, as a part of its matrix' largest
  std::string name;    ///< of the matrix with it
};

class GgufEncoder {
 public:
  /// `architecture` of gguf_architectures().
  GgufEncoder(const ModelConfig& config, std::string_view architecture, GgufFileType type,
              GgufContent content);

  const TensorMap& map() const { return map_; }
  GgufType type_of(std::string_view tensor) const { return types_.find(tensor)->second; }
  /// The bytes of a tensor, and what is to be said of its codes added to `report`. UserError (bad_input)
  /// naming the parameter whose values are not finite, or too large for the type.
  std::vector<std::byte> stored(const StoredTensorShape& tensor, GgufCodesReport& report) const;
  /// What reading the file gives for a parameter: each value as it was encoded. Errors of stored().
  std::vector<float> decoded(const std::string& parameter) const;

 private:
  /// A matrix as rows of blocks, in the parameter's own order.
  struct Rows {
    std::vector<std::byte> bytes;
    int64_t row_bytes;
    bool is_from_codes;
  };
  Rows rows_of(const std::string& parameter, GgufType type, std::span<const float> values) const;
  void put(const StoredTensorShape& tensor, const std::string& parameter, std::span<std::byte> into,
           GgufCodesReport& report) const;
  void compare(const std::string& parameter, GgufType type, const Rows& rows, std::span<const float> values,
               GgufCodesReport& report) const;

  TensorMap map_;
  std::map<std::string, GgufType, std::less<>> types_;
  std::map<std::string, int64_t, std::less<>> columns_;  // of tensors
  GgufContent content_;
};

}  // namespace trireme
