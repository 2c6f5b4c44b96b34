// Which of several ways ops may take: settings of a run, carried by its Context.
#pragma once

#include <cstdint>

namespace trireme {

enum class AttentionChoice : uint8_t {
  automatic,  ///< cuDNN where it serves, else the project's own kernels
  own,
  cudnn,  ///< an error where it does not serve
};

struct OpSettings {
  AttentionChoice attention = AttentionChoice::automatic;
  int64_t attention_workspace = int64_t{256} << 20;  ///< the most bytes that cuDNN may take for one attention
  bool deterministic = true;  ///< the same bits from run to run; false lets cuDNN add up in any order
};

}  // namespace trireme
