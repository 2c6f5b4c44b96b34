#include "launch/serve/engine/prompt_pace.h"

#include <algorithm>
#include <cmath>

namespace trireme::launch {

namespace {

constexpr int64_t kLeastPace = 16;               // so that prompts get on where passes take no time
constexpr int64_t kFreePace = int64_t{1} << 20;  // the generator's own bound is below it
constexpr double kNewestPass = 0.2;              // weight of the newest pass

void blend_pace(double& mean, double seconds) {
  mean = mean == 0 ? seconds : mean + kNewestPass * (seconds - mean);
}

}  // namespace

int64_t PromptPace::prompt_tokens() const {
  if (decoding_ == 0 || prompt_token_ == 0) return kFreePace;
  const double tokens = decoding_ / prompt_token_;
  return tokens < static_cast<double>(kFreePace) ? std::max<int64_t>(kLeastPace, std::llround(tokens))
                                                 : kFreePace;
}

void PromptPace::learn(const PassReport& pass) {
  if (pass.seconds <= 0) return;
  if (pass.prompt_tokens == 0) return blend_pace(decoding_, pass.seconds);
  // Texts that were continued beside the prompt took what they take alone, or nearly all: nothing is measured
  // then.
  const double beside = pass.sequences > pass.prompts ? std::min(decoding_, 0.9 * pass.seconds) : 0;
  blend_pace(prompt_token_, (pass.seconds - beside) / static_cast<double>(pass.prompt_tokens));
}

}  // namespace trireme::launch
