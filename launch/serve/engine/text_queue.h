// TextQueue: what clients want, between their threads and the one that runs the model.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "launch/serve/engine/finish_rate.h"
#include "launch/serve/engine/text_engine.h"

namespace trireme::launch {

/// Seconds of the monotonic clock that deadlines are of.
double steady_seconds();

struct Arrival {
  Ticket ticket = 0;
  ServedText text;
  double arrived = 0;  ///< by steady_seconds()
};

/// What has come since it was asked for last.
struct Arrivals {
  std::vector<Arrival> texts;
  std::vector<Ticket> gone;  ///< their clients have left
};

/// Every call is safe from any thread.
class TextQueue {
 public:
  /// No more than `max_texts` are open at a time; `fixed` is what of the state does not change.
  TextQueue(int64_t max_texts, const EngineState& fixed) : max_texts_(max_texts), state_(fixed) {}

  Submission submit(std::vector<ServedText> texts);
  void cancel(Ticket ticket);
  EngineState state() const;

  /// From here on nothing is accepted; the first trouble counts until it is over.
  void begin_trouble(const std::string& trouble);
  void end_trouble(const std::string& trouble);
  Arrivals take();
  /// Until something has come, or wake() was called since the last wait, but no longer than this.
  void wait_for(std::chrono::nanoseconds longest);
  void wake();
  /// A text is not open any more.
  void text_ended();
  void pass_ended(const PassReport& report);

 private:
  const int64_t max_texts_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Arrivals arrivals_;
  std::vector<std::string> troubles_;
  EngineState state_;
  FinishRate rate_;
  int64_t num_open_ = 0;
  Ticket last_ticket_ = 0;
  bool is_woken_ = false;
};

}  // namespace trireme::launch
