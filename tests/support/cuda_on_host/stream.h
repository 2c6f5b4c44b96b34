// Streams and events of the host's stand-in for CUDA.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace trireme::cuda_on_host {

/// What this thread can finish alone (kernels, copies) is done within the call that submits it, once all that
/// was submitted before has finished: drain(). What other ranks have a part in runs on a thread of the
/// stream's own: submit(). The work of a stream that is destroyed still ends.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void submit(std::function<void()> task);
  void drain();

  /// Of submitted work: what was recorded in it.
  class Mark {
   public:
    struct State;
    bool is_done() const;
    void wait() const;

   private:
    friend class Stream;
    std::shared_ptr<State> state_;  // null: of nothing, done
    uint64_t number_ = 0;
  };
  Mark mark() const;

 private:
  std::shared_ptr<Mark::State> state_;
};

/// The streams that this thread made.
void drain_streams_of_thread();

class Event {
 public:
  void record(Stream* stream) { mark_ = stream != nullptr ? stream->mark() : Stream::Mark(); }
  const Stream::Mark& mark() const { return mark_; }

 private:
  Stream::Mark mark_;
};

}  // namespace trireme::cuda_on_host
