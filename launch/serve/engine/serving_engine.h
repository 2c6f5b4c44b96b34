// ServingEngine: many clients' texts in the passes of one generator, over all ranks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "launch/serve/engine/text_engine.h"
#include "launch/serve/metrics/serving_metrics.h"
#include "models/inference/generator.h"
#include "runtime/comm/communicator.h"
#include "runtime/data/tokenizer/tokenizer.h"
#include "runtime/device/context.h"

namespace trireme::launch {

struct EngineOptions {
  int64_t max_texts = 1024 + 64;  ///< open at a time, running and waiting
  int64_t max_seq_len = 0;        ///< of model and cache
  int64_t num_blocks = 0, block_tokens = 0;
  double stuck_seconds = 60;  ///< a pass that takes longer ends all texts (TextFailure::stuck)
  double stop_seconds = 30;   ///< for texts to end after a signal
  double status_seconds = 0;  ///< between lines of status; 0: none
  bool logs_texts = false;    ///< a line for each that ends; never what is in it
  /// Takes lines for who runs the server, from several threads.
  std::function<void(const std::string& line)> log = [](const std::string&) {};
  /// Asked between passes on every rank: a number other than 0 stops the server (a signal's).
  std::function<int64_t()> signal = [] { return int64_t{0}; };
};

/// On the first rank texts come from any thread; it tells the others before each pass what is new, and all
/// make the same calls of their generators. While there is nothing to do all ranks sleep, and look for news
/// 20 times a second or more.
class ServingEngine final : public TextEngine {
 public:
  /// All ranks of `world`, which nobody else uses meanwhile, make one with equal options. All outlive it;
  /// `tokenizer`, on the first rank, may be null: texts are tokens alone then.
  ServingEngine(Context& ctx, Communicator& world, Generator& generator, const Tokenizer* tokenizer,
                ServingMetrics& metrics, EngineOptions options);
  ~ServingEngine() override;

  Submission submit(std::vector<ServedText> texts) override;
  void cancel(Ticket ticket) override;
  EngineState state() const override;
  /// As a signal does; on the first rank, from any thread.
  void stop();

  /// All ranks call it. Returns after a stop, when the texts that were open have ended, or have failed after
  /// stop_seconds (TextFailure::stopping). What a pass throws fails all texts and comes out of it.
  void run();

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme::launch
