// Events, stream capture and graphs of the host's stand-in for CUDA. What CUDA's manual calls invalid is
// refused: waiting on the host for captured work, waiting in captured work for what is not, and streams that
// the first one has not waited for in the end.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "tests/support/cuda_on_host/stream.h"

namespace trireme::cuda_on_host {

/// What is put down, by whatever thread, in the order of the calls. Stream 0 is the one that began.
class Capture {
 public:
  void put_down_run(size_t stream, std::function<void()> work);
  void put_down_submit(size_t stream, std::function<void()> task);
  /// Returns the number of the mark.
  size_t put_down_record(size_t stream);
  void put_down_wait(size_t stream, size_t mark);

  /// A stream that waits for captured work takes part from then on.
  size_t join(Stream& stream);
  /// Ends it for all streams. False where stream 0 has not waited for all of the others.
  bool end();
  bool has_ended() const;

  /// Does what was put down, on streams of the same number.
  void replay(std::vector<Stream*> streams) const;
  size_t num_streams() const { return streams_.size(); }

 private:
  struct Replay {
    std::vector<Stream*> streams;
    std::vector<Stream::Mark> marks;
  };
  struct Member {
    Stream* stream;
    size_t num_commands = 0, num_awaited = 0;  // of its commands stream 0 has waited for the first this many
  };
  struct Mark {
    size_t stream, num_commands;
  };
  void put_down(size_t stream, std::function<void(Replay&)> command);

  mutable std::mutex mutex_;
  bool has_ended_ = false;
  std::vector<std::function<void(Replay&)>> commands_;
  std::vector<Member> streams_;
  std::vector<Mark> marks_;
};

class Event {
 public:
  explicit Event(bool is_timed) : is_timed_(is_timed) {}
  void record(Stream* stream);
  /// False where the stream is captured and the event is not of that capture, or the other way round.
  bool make_wait(Stream& stream) const;
  bool is_captured() const { return capture_ != nullptr; }
  const Stream::Mark& mark() const { return mark_; }
  bool is_timed() const { return is_timed_; }
  /// When the stream had done what was before the event, of one that is timed and done.
  std::chrono::steady_clock::time_point time() const { return *time_; }

 private:
  using Time = std::chrono::steady_clock::time_point;
  bool is_timed_;
  std::shared_ptr<Time> time_;
  Stream::Mark mark_;
  std::shared_ptr<Capture> capture_;
  size_t captured_mark_ = 0;
};

/// A graph that can be launched: a capture with streams of its own beside the one that it is launched on.
class RunnableGraph {
 public:
  explicit RunnableGraph(std::shared_ptr<const Capture> capture);
  void launch(Stream& stream);

 private:
  std::shared_ptr<const Capture> capture_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace trireme::cuda_on_host
