// CompletionEvents: a streamed text of /v1/completions as it comes.
#pragma once

#include <string>
#include <string_view>

#include "launch/bench/serving/request_record.h"

namespace trireme::launch {

/// Reads server-sent events. The client runs beside the server it measures: events are looked through for few
/// words, and the last ones alone are parsed as JSON.
class CompletionEvents {
 public:
  explicit CompletionEvents(RequestRecord& record) : record_(record) {}

  /// More of the body, which came at `now`.
  void feed(std::string_view body, double now);
  /// The body is complete: fills the record's usage and error. A stream has to end with [DONE] and to give a
  /// finish_reason; where it is "length" its usage has to be `max_tokens`, and no more events than tokens may
  /// have come.
  void finish(int64_t max_tokens);

 private:
  void take_line(std::string_view line, double now);
  void take_event(std::string_view data, double now);
  void take_usage();
  std::string error_of(int64_t max_tokens) const;

  RequestRecord& record_;
  std::string begun_;  ///< of a line whose end has not come
  std::string usage_;  ///< the last event that has one
  std::string failure_;
  bool is_done_ = false;
};

/// "message" of OpenAI's {"error": {"message": ...}}, or what a body begins with.
std::string error_message(std::string_view body);

}  // namespace trireme::launch
