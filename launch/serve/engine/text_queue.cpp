#include "launch/serve/engine/text_queue.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace trireme::launch {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Submission TextQueue::submit(std::vector<ServedText> texts) {
  const auto count = std::ssize(texts);
  const double now = steady_seconds();
  const std::lock_guard lock(mutex_);
  Submission submission;
  if (!troubles_.empty()) {
    submission.refusal = troubles_.front();
    return submission;
  }
  if (num_open_ + count > max_texts_) {
    submission.retry_after_seconds = rate_.seconds_for(num_open_ + count - max_texts_, now);
    submission.refusal = fmt::format(
        "{} text(s) are asked for, and {} run or wait already; no more than {} can (--max-sequences and "
        "--max-waiting)",
        count, num_open_, max_texts_);
    return submission;
  }
  submission.is_accepted = true;
  submission.ticket = ++last_ticket_;
  for (ServedText& text : texts) arrivals_.texts.push_back({submission.ticket, std::move(text), now});
  num_open_ += count;
  changed_.notify_all();
  return submission;
}

void TextQueue::cancel(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  if (ticket == 0 || ticket > last_ticket_) return;
  arrivals_.gone.push_back(ticket);
  changed_.notify_all();
}

EngineState TextQueue::state() const {
  const std::lock_guard lock(mutex_);
  EngineState state = state_;
  state.is_ready = troubles_.empty();
  if (!troubles_.empty()) state.trouble = troubles_.front();
  state.running = std::min(state.running, num_open_);
  state.waiting = num_open_ - state.running;
  return state;
}

void TextQueue::begin_trouble(const std::string& trouble) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::count(troubles_, trouble) == 0) troubles_.push_back(trouble);
}

void TextQueue::end_trouble(const std::string& trouble) {
  const std::lock_guard lock(mutex_);
  std::erase(troubles_, trouble);
}

Arrivals TextQueue::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(arrivals_, {});
}

void TextQueue::wait_for(std::chrono::nanoseconds longest) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, longest,
                    [&] { return is_woken_ || !arrivals_.texts.empty() || !arrivals_.gone.empty(); });
  is_woken_ = false;
}

void TextQueue::wake() {
  const std::lock_guard lock(mutex_);
  is_woken_ = true;
  changed_.notify_all();
}

void TextQueue::text_ended() {
  const double now = steady_seconds();
  const std::lock_guard lock(mutex_);
  --num_open_;
  rate_.ended(now);
}

void TextQueue::pass_ended(const PassReport& report) {
  const std::lock_guard lock(mutex_);
  state_.running = report.running;
  state_.used_blocks = report.used_blocks;
  state_.num_blocks = report.num_blocks;
}

}  // namespace trireme::launch
