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
  /// Its values mean another thing: another unit or the contrary, or it says one of the things that ours
  /// chooses from.
  bool differs = false;
};

/// By program, then by section of our options.
std::span<const NameElsewhere> names_elsewhere();

/// "; Megatron-LM's --num-layers is --model.layers here" where `name` is one of them (dashes and
/// underscores are alike), or "; nearest to Megatron-LM's --train-samples is --train.steps, which counts
/// otherwise"; else nothing. `prefix` is what stands before names where `name` was found: "--" on a command
/// line.
std::string explain_name_elsewhere(std::string_view name, std::string_view prefix);

}  // namespace trireme::launch
