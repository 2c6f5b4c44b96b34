#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

using namespace option_values;

std::vector<Option> loss_options() {
  const std::string section = "loss";
  return {
      {section, "z", "",
       real(
           [](auto& c) -> auto& { return c.loss.z_loss; }, 0),
       "coefficient of the z-loss log(Z)^2, with Z the softmax denominator, which keeps logits "
       "small; 1e-4 is usual; 0: off",
       ""},
      {section, "label-smoothing", "",
       real(
           [](auto& c) -> auto& { return c.loss.label_smoothing; }, 0, 1),
       "label smoothing: probability mass of each target spread over the vocabulary; 0: off", ""},
      {section, "chunk-tokens", "",
       whole(
           [](auto& c) -> auto& { return c.loss.chunk_tokens; }, 0),
       "compute logits and loss in chunks of N tokens, which bounds their memory; 0: chunks of "
       "at most 256 MiB of logits",
       ""},
  };
}

}  // namespace trireme::launch
