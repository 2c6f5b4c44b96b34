// Methods of a step by their names, and the default size of groups.
#pragma once

#include <array>
#include <cstdint>

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

}  // namespace trireme::launch
