#include "models/inference/draw_tokens.h"

#include <exception>

#include "runtime/base/parallel_for.h"
#include "runtime/ops/host_copy.h"

namespace trireme {

std::vector<SampledToken> draw_tokens(Context& ctx, const Tensor& logits, int64_t vocab_size,
                                      std::span<const DrawnSequence> sequences) {
  const int64_t count = logits.dim(0), width = logits.dim(1);
  TRIREME_CHECK(count == std::ssize(sequences) && vocab_size > 0 && vocab_size <= width,
                "{} tokens of {} from {} logits", sequences.size(), vocab_size, to_string(logits.shape()));
  const bool is_here = logits.device().type == DeviceType::cpu;
  const std::vector<float> copied = is_here ? std::vector<float>() : ops::to_host<float>(ctx, logits);
  const float* all = is_here ? logits.data<float>() : copied.data();
  std::vector<SampledToken> tokens(sequences.size());
  std::vector<std::exception_ptr> errors(sequences.size());
  parallel_for(ctx.num_threads(), count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<size_t>(i);
      const DrawnSequence& s = sequences[at];
      try {
        tokens[at] = sample_token({all + i * width, static_cast<size_t>(width)}, vocab_size, *s.sampling,
                                  s.prompt, s.text, std::ssize(s.text));
      } catch (...) {
        errors[at] = std::current_exception();
      }
    }
  });
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return tokens;
}

}  // namespace trireme
