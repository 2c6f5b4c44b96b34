// Options by the names that they have in other programs.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace trireme {

struct NameElsewhere {
  std::string_view name;     ///< "tensor-model-parallel-size", written with dashes
  std::string_view key;      ///< "parallel.tensor"
  std::string_view program;  ///< "Megatron-LM"
};

/// By program, then as they concern the sections of the table.
std::span<const NameElsewhere> names_elsewhere();

/// "; Megatron-LM's --num-layers is --model.layers here" where `name` (dashes or underscores) is one of them,
/// else nothing.
std::string explain_name_elsewhere(std::string_view name);

}  // namespace trireme
