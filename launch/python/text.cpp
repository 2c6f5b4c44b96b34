#include "launch/python/text.h"

#include <vector>

#include "launch/checkpoint/agreed.h"
#include "runtime/base/error.h"

namespace trireme::launch::python {

namespace {

std::vector<int32_t> encode(const TextModel& model, const std::string& text) {
  std::vector<int32_t> ids;
  together(model.world, [&] {
    if (model.world.rank() != 0) return;
    if (model.tokenizer == nullptr) {
      throw_usage(
          "no tokenizer is known for text: the data are token files; data.tokenizer names the one that made "
          "them");
    }
    ids = model.tokenizer->encode(text);
  });
  return ids;
}

}  // namespace

TextLoss evaluate_text(const TextModel& model, const std::string& text) {
  return text_loss(model.session, model.world, encode(model, text),
                   {model.config.train.seq_len, model.config.train.micro_batch, model.end_of_text});
}

std::string sample_of(const TextModel& model, const TextSampleOptions& options) {
  if (options.num_tokens < 0) throw_usage("num_tokens is {}; allowed: 0 or more", options.num_tokens);
  encode(model, options.prompt);
  if (!(options.temperature > 0)) throw_usage("temperature is {}; allowed: above 0", options.temperature);
  const ParallelContext& parallel = model.session.parallel();
  const bool takes_part =
      model.config.parallel.in_lockstep() || parallel.gradients().rank() < model.config.parallel.expert;
  if (!takes_part) return "";
  return sample_text(model.session.context(), parallel, model.session.model(),
                     model.world.rank() == 0 ? model.tokenizer : nullptr, model.config.train.seq_len,
                     options);
}

}  // namespace trireme::launch::python
