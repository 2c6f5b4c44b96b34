// Methods of steps by their names, and the default size of groups.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "launch/compress/recipe.h"

namespace trireme::launch {

inline constexpr int64_t kDefaultGroup = 64;

struct MethodName {
  const char* name;
  InputScaling scaling;
  RoundingMethod rounding;
};
inline constexpr std::array<MethodName, 6> kMethods = {
    {{"nearest", InputScaling::none, RoundingMethod::nearest},
     {"gptq", InputScaling::none, RoundingMethod::gptq},
     {"awq", InputScaling::awq, RoundingMethod::nearest},
     {"awq+gptq", InputScaling::awq, RoundingMethod::gptq},
     {"smoothquant", InputScaling::smooth_quant, RoundingMethod::nearest},
     {"smoothquant+gptq", InputScaling::smooth_quant, RoundingMethod::gptq}}};

inline constexpr std::array<std::pair<const char*, PruneMethod>, 3> kPruneMethods = {
    {{"magnitude", PruneMethod::magnitude},
     {"wanda", PruneMethod::wanda},
     {"sparsegpt", PruneMethod::sparsegpt}}};

/// Of steps that do not quantize, and whether a recipe alone may have them.
struct OtherMethod {
  const char* name;
  StepKind kind;
  bool is_of_recipes;
};
inline constexpr std::array<OtherMethod, 6> kOtherMethods = {{{"cut", StepKind::cut, false},
                                                              {"share", StepKind::share, false},
                                                              {"distill", StepKind::train, true},
                                                              {"train", StepKind::train, true},
                                                              {"qat", StepKind::qat, true},
                                                              {"export", StepKind::export_model, true}}};

}  // namespace trireme::launch
