#include "tests/support/cuda_on_host/graph.h"

#include <algorithm>
#include <utility>

namespace trireme::cuda_on_host {

void Capture::put_down(size_t stream, std::function<void(Replay&)> command) {
  commands_.push_back(std::move(command));
  ++streams_[stream].num_commands;
}

void Capture::put_down_run(size_t stream, std::function<void()> work) {
  const std::lock_guard lock(mutex_);
  put_down(stream, [stream, work = std::move(work)](Replay& r) { r.streams[stream]->run(work); });
}

void Capture::put_down_submit(size_t stream, std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  put_down(stream, [stream, task = std::move(task)](Replay& r) { r.streams[stream]->submit(task); });
}

size_t Capture::put_down_record(size_t stream) {
  const std::lock_guard lock(mutex_);
  const size_t mark = marks_.size();
  commands_.push_back([stream, mark](Replay& r) { r.marks[mark] = r.streams[stream]->mark(); });
  marks_.push_back({stream, streams_[stream].num_commands});
  return mark;
}

void Capture::put_down_wait(size_t stream, size_t mark) {
  const std::lock_guard lock(mutex_);
  put_down(stream, [stream, mark](Replay& r) { r.streams[stream]->wait(r.marks[mark]); });
  if (stream != 0) return;
  Member& awaited = streams_[marks_[mark].stream];
  awaited.num_awaited = std::max(awaited.num_awaited, marks_[mark].num_commands);
}

size_t Capture::join(Stream& stream) {
  const std::lock_guard lock(mutex_);
  streams_.push_back({&stream});
  return streams_.size() - 1;
}

bool Capture::end() {
  const std::lock_guard lock(mutex_);
  has_ended_ = true;
  for (const Member& member : streams_) member.stream->take_part({});
  return std::all_of(streams_.begin() + 1, streams_.end(),
                     [](const Member& member) { return member.num_awaited == member.num_commands; });
}

bool Capture::has_ended() const {
  const std::lock_guard lock(mutex_);
  return has_ended_;
}

void Capture::replay(std::vector<Stream*> streams) const {
  Replay replay{std::move(streams), std::vector<Stream::Mark>(marks_.size())};
  for (const auto& command : commands_) command(replay);
}

void Event::record(Stream* stream) {
  capture_.reset();
  mark_ = {};
  if (stream == nullptr) return;
  const Stream::Part part = stream->part();
  if (part.capture) {
    capture_ = part.capture;
    captured_mark_ = capture_->put_down_record(part.stream);
  } else {
    if (is_timed_) {
      time_ = std::make_shared<Time>();
      const auto take = [time = time_] { *time = std::chrono::steady_clock::now(); };
      if (stream->mark().is_done())
        take();
      else
        stream->submit(take);
    }
    mark_ = stream->mark();
  }
}

bool Event::make_wait(Stream& stream) const {
  Stream::Part part = stream.part();
  if (!capture_) {
    if (part.capture) return false;
    stream.wait(mark_);
    return true;
  }
  if (capture_->has_ended() || (part.capture && part.capture != capture_)) return false;
  if (!part.capture) {
    part = {capture_, capture_->join(stream)};
    stream.take_part(part);
  }
  capture_->put_down_wait(part.stream, captured_mark_);
  return true;
}

RunnableGraph::RunnableGraph(std::shared_ptr<const Capture> capture) : capture_(std::move(capture)) {
  for (size_t i = 1; i < capture_->num_streams(); ++i) streams_.push_back(std::make_unique<Stream>());
}

void RunnableGraph::launch(Stream& stream) {
  std::vector<Stream*> streams{&stream};
  for (const auto& own : streams_) streams.push_back(own.get());
  capture_->replay(std::move(streams));
}

}  // namespace trireme::cuda_on_host
