// Streams and events of the host's stand-in for CUDA.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace trireme::cuda_on_host {

class Capture;
class Event;

/// What this thread can finish alone (kernels, copies) is done within the call that submits it, once all that
/// was submitted before has finished: run(). What other ranks have a part in runs on a thread of the stream's
/// own: submit(). The work of a stream that is destroyed still ends. A stream that is captured (graph.h) puts
/// all of it down instead.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void run(std::function<void()> work);
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
  /// What is submitted from now on starts after the mark.
  void wait(const Mark& mark);

  /// The capture that the stream takes part in, as which of its streams.
  struct Part {
    std::shared_ptr<Capture> capture;  // null: in none
    size_t stream = 0;
  };
  Part part() const;
  void take_part(const Part& part);

 private:
  void do_submit(std::function<void()> task);
  std::shared_ptr<Mark::State> state_;
};

/// The streams that this thread made.
void drain_streams_of_thread();

}  // namespace trireme::cuda_on_host
