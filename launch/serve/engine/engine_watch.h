// EngineWatch: a thread of the first rank that sees when a pass is stuck, and says what the server does.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace trireme::launch {

struct EngineWatchLinks {
  double stuck_seconds = 0;
  std::function<void()> on_stuck;  ///< once a pass
  double status_seconds = 0;       ///< 0: never
  std::function<void()> on_status;
};

class EngineWatch {
 public:
  explicit EngineWatch(EngineWatchLinks links);
  ~EngineWatch();
  EngineWatch(const EngineWatch&) = delete;
  EngineWatch& operator=(const EngineWatch&) = delete;

  // Of the thread that is watched.
  void begin_pass();
  void end_pass();

 private:
  void serve();

  const EngineWatchLinks links_;
  std::atomic<double> began_ = 0;  // by steady_seconds(); 0: no pass
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace trireme::launch
