#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme {

using namespace option_values;

std::vector<Option> loss_options() {
  const std::string section = "loss";
  return {
      {section, "z", "",
       real(
           [](auto& c) -> auto& { return c.loss.z_loss; }, 0),
       "z-loss: so much of log(Z)^2 is added, Z the sum of a token's exponents; 1e-4 is usual", ""},
      {section, "label-smoothing", "",
       real(
           [](auto& c) -> auto& { return c.loss.label_smoothing; }, 0, 1),
       "share of each target that is spread over the vocabulary", ""},
      {section, "chunk-tokens", "",
       whole(
           [](auto& c) -> auto& { return c.loss.chunk_tokens; }, 0),
       "tokens of a micro-batch whose logits are made at once; 0: as many as take 256 MiB", ""},
  };
}

}  // namespace trireme
