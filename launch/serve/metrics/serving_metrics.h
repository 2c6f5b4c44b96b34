// ServingMetrics: what a server counts, in Prometheus' text format with vLLM's names.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "launch/serve/engine/text_engine.h"
#include "models/inference/generator.h"

namespace trireme::launch {

/// When what happened to one text, in seconds of one monotonic clock.
struct TextTimes {
  double arrived = 0, begun = 0, first_token = 0, ended = 0;  ///< 0: never
  int64_t prompt_tokens = 0, reused_tokens = 0, generated_tokens = 0;
  int64_t max_tokens = 0;  ///< that was asked for
  std::string finish;      ///< "stop", "length", "abort", "error"
};

/// Every call is safe from any thread.
class ServingMetrics {
 public:
  /// `powercap`: where Linux shows the processors' counters of energy.
  explicit ServingMetrics(const std::string& model_name, const std::string& powercap = "/sys/class/powercap");
  ~ServingMetrics();

  /// A token was drawn, before its client hears of it: who asks on hearing the last one finds it counted.
  void token();
  /// Ends a pass with all counts, tokens included.
  void pass(const PassReport& pass, const GenerationCounts& counts);
  /// Between two tokens of one text.
  void token_gap(double seconds);
  void text_ended(const TextTimes& times);
  void refused();  ///< for too many that wait
  void answered(const std::string& method, const std::string& path, int status);

  /// The page of /metrics.
  std::string prometheus(const EngineState& state) const;
  /// One line for who runs the server: running, waiting, cache, tokens a second of prompts and texts since
  /// the last call, reuse, accepted drafts, joules a token where the machine can tell.
  std::string status_line(const EngineState& state);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::launch
