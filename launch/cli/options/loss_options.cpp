#include "launch/cli/options/option_table.h"
#include "launch/cli/options/option_values.h"

namespace trireme::launch {

using namespace option_values;

namespace {

std::string needs_exits(const RunConfig& c) {
  return c.model.exits.empty() ? "it belongs to --model.exits" : "";
}

std::string needs_exit_losses(const RunConfig& c) {
  const std::string reason = needs_exits(c);
  return reason.empty() && c.exit.scale == 0 ? "exit.scale is 0: exits have no loss" : reason;
}

}  // namespace

std::vector<Option> exit_options() {
  const std::string section = "exit";
  return {
      {section, "scale", "",
       real(
           [](auto& c) -> auto& { return c.exit.scale; }, 0),
       "factor on the losses of exits (model.exits), which grow quadratically with depth, beside that of the "
       "last layer; 0: off",
       "", needs_exits},
      {section, "curriculum", "",
       choice<ExitCurriculum>([](auto& c) -> auto& { return c.exit.curriculum; },
                              {{"rotating", ExitCurriculum::rotating}, {"all", ExitCurriculum::all}}),
       "losses of exits that a sample has: rotating, of one exit, each sample of the next one; all, of every "
       "exit, which costs a pass of the head for each",
       "", needs_exit_losses},
      {section, "dropout", "",
       real(
           [](auto& c) -> auto& { return c.exit.dropout; }, 0, 1),
       "layer dropout: probability that a sample passes the last layer by in training, exponentially smaller "
       "for those before, 0 for the first (LayerSkip); 0.1 to 0.2 is usual; 0: off",
       ""},
  };
}

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
