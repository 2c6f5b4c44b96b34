#include "runtime/device/stopwatch.h"

#include <utility>

namespace trireme {

// What is done is added up at once, so that few events are kept however much is measured.
void Stopwatch::measure(Stream& stream, const std::function<void()>& submit) {
  auto begin = stream.record_time();
  submit();
  open_.push_back({std::move(begin), stream.record_time()});
  while (!open_.empty() && open_.front().end->is_done()) add_first();
}

void Stopwatch::add_first() {
  milliseconds_ += open_.front().end->milliseconds_since(*open_.front().begin);
  open_.pop_front();
}

double Stopwatch::seconds() {
  if (!open_.empty()) open_.back().end->synchronize();
  while (!open_.empty()) add_first();
  return milliseconds_ * 1e-3;
}

void Stopwatch::clear() {
  open_.clear();
  milliseconds_ = 0;
}

}  // namespace trireme
