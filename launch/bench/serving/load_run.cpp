#include "launch/bench/serving/load_run.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include "launch/bench/serving/completion_events.h"
#include "launch/bench/serving/http_connection.h"
#include "launch/bench/serving/http_response.h"
#include "launch/bench/serving/wall_clock.h"
#include "runtime/base/error.h"

namespace trireme::launch {

namespace {

double cpu_seconds_so_far() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// One request on its way.
class StreamedRequest : public HttpUser {
 public:
  StreamedRequest(RequestRecord& record, int64_t max_tokens, const WallClock& watch)
      : record_(record), max_tokens_(max_tokens), watch_(watch), events_(record) {}

  bool take(std::string_view bytes) override {
    now_ = watch_.seconds();
    reader_.feed(bytes);
    if (!reader_.is_complete()) return false;
    conclude();
    return true;
  }
  void lost(const std::string& why) override {
    now_ = watch_.seconds();
    reader_.close();
    conclude();
    if (!why.empty()) record_.error = why;
  }
  bool has_bytes() const override { return reader_.status() != 0; }
  bool keeps_alive() const override { return reader_.keeps_alive(); }

  void give_up(std::string why) {
    record_.error = std::move(why);
    record_.ended = watch_.seconds();
  }
  const RequestRecord& record() const { return record_; }

 private:
  void conclude() {
    record_.ended = now_;
    record_.status = reader_.status();
    record_.retry_after = reader_.retry_after();
    if (!reader_.trouble().empty()) {
      record_.error = reader_.trouble();
    } else if (record_.status != 200) {
      record_.error = fmt::format("HTTP {}: {}", record_.status, error_message(refusal_));
    } else {
      events_.finish(max_tokens_);
    }
  }

  RequestRecord& record_;
  int64_t max_tokens_;
  const WallClock& watch_;
  CompletionEvents events_;
  double now_ = 0;
  std::string refusal_;
  HttpResponseReader reader_{[this](std::string_view piece) {
    if (reader_.status() == 200) {
      events_.feed(piece, now_);
    } else if (refusal_.size() < 4096) {
      refusal_ += piece;
    }
  }};
};

class LoadRun {
 public:
  LoadRun(const Endpoint& endpoint, const LoadPlan& plan) : endpoint_(endpoint), plan_(plan) {
    result_.records.resize(plan.requests.size());
  }

  LoadResult run() {
    const double cpu = cpu_seconds_so_far();
    while (next_ < plan_.requests.size() || !active_.empty()) {
      start_what_is_due();
      wait();
      end_what_is_late();
    }
    result_.seconds = watch_.seconds();
    result_.client_cpu_seconds = cpu_seconds_so_far() - cpu;
    return std::move(result_);
  }

 private:
  struct Flight {
    std::unique_ptr<HttpConnection> connection;
    std::unique_ptr<StreamedRequest> request;
  };

  bool may_start(const PlannedRequest& planned) const {
    if (plan_.clients > 0 && static_cast<int64_t>(active_.size()) >= plan_.clients) return false;
    if (planned.at > watch_.seconds()) return false;
    return std::ranges::all_of(active_, [&](const Flight& flight) {
      return static_cast<int64_t>(flight.request->record().events.size()) >= planned.after_events;
    });
  }

  void start_what_is_due() {
    while (next_ < plan_.requests.size() && may_start(plan_.requests[next_])) start(next_++);
  }

  void start(size_t index) {
    const PlannedRequest& planned = plan_.requests[index];
    RequestRecord& record = result_.records[index];
    record.planned = index;
    record.sent = watch_.seconds();
    record.due = planned.at > 0 ? planned.at : record.sent;
    Flight flight;
    if (idle_.empty()) {
      flight.connection = std::make_unique<HttpConnection>(endpoint_);
    } else {
      flight.connection = std::move(idle_.back());
      idle_.pop_back();
    }
    flight.request = std::make_unique<StreamedRequest>(record, planned.max_tokens, watch_);
    flight.connection->begin(http_request(endpoint_, "/v1/completions", planned.body), *flight.request);
    active_.push_back(std::move(flight));
    retire();
  }

  /// Until something comes, a request is due, or a tenth of a second is over.
  void wait() {
    double seconds = 0.1;
    if (next_ < plan_.requests.size() && plan_.requests[next_].at > 0)
      seconds = std::clamp(plan_.requests[next_].at - watch_.seconds(), 0.0, seconds);
    std::vector<pollfd> wanted;
    for (const Flight& flight : active_) wanted.push_back(flight.connection->wanted());
    ::poll(wanted.data(), wanted.size(), static_cast<int>(std::ceil(1000 * seconds)));
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].revents != 0) active_[i].connection->progress();
    }
    retire();
  }

  void retire() {
    for (Flight& flight : active_) {
      if (flight.connection->is_idle()) idle_.push_back(std::move(flight.connection));
    }
    std::erase_if(active_, [](const Flight& flight) { return flight.connection == nullptr; });
  }

  void end_what_is_late() {
    for (Flight& flight : active_) {
      if (watch_.seconds() - flight.request->record().sent > plan_.timeout)
        give_up(flight, fmt::format("no end within {} s", plan_.timeout));
    }
    retire();
  }

  static void give_up(Flight& flight, std::string why) {
    flight.connection->abandon();
    flight.request->give_up(std::move(why));
  }

  const Endpoint& endpoint_;
  const LoadPlan& plan_;
  const WallClock watch_;
  LoadResult result_;
  size_t next_ = 0;
  std::vector<Flight> active_;
  std::vector<std::unique_ptr<HttpConnection>> idle_;
};

}  // namespace

LoadResult run_load(const Endpoint& endpoint, const LoadPlan& plan) { return LoadRun(endpoint, plan).run(); }

}  // namespace trireme::launch
