// Options by the names that they have in other programs.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace trireme::launch {

struct NameElsewhere {
  std::string_view name;     ///< "tensor-model-parallel-size", as the program spells it
  std::string_view key;      ///< "parallel.tensor"
  std::string_view program;  ///< "Megatron-LM"
};

/// By program, then by section of our options.
std::span<const NameElsewhere> names_elsewhere();

/// "; Megatron-LM's --num-layers is --model.layers here" where `name` is one of them (dashes and
/// underscores are alike), else nothing.
std::string explain_name_elsewhere(std::string_view name);

}  // namespace trireme::launch
