// The connections of one rank: to those that collect reports, and, where it is one of these, from all ranks.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <poll.h>

#include "runtime/watch/channel/connection.h"
#include "runtime/watch/channel/roster.h"

namespace trireme::watch {

struct HubEvent {
  enum class Kind : uint8_t {
    from_rank,  ///< a message of a rank to this seat
    from_seat,  ///< a message of a seat to this rank
    rank_lost,  ///< the connection of a rank has closed
    seat_lost,  ///< that of a seat
  };
  Kind kind;
  int rank;
  std::string message = {};
};

/// Of one thread. A connection that is lost is tried again; strangers are dropped when they fail to prove
/// that they know the secret, or after some seconds. A rank's connection to itself is none: messages go from
/// queue to queue.
class Hub {
 public:
  /// `listener` listens where the roster says of `rank`.
  Hub(const Roster& roster, int rank, FileDescriptor listener);

  const std::vector<int>& seats() const { return seats_; }
  bool is_seat() const { return is_seat_; }

  void send_to_rank(int rank, std::string_view message);
  void send_to_all_ranks(std::string_view message);
  void send_to_seat(int seat, std::string_view message);
  void send_to_seats(std::string_view message);
  bool is_connected(int rank) const;
  /// Whether anything waits to be sent.
  bool has_unsent() const;

  /// Waits until something happens, at most `milliseconds`; `others` are polled along, and keep their
  /// revents.
  std::vector<HubEvent> poll(int milliseconds, std::vector<pollfd>& others);

 private:
  struct Way {  // to a seat
    int seat = 0;
    std::unique_ptr<Connection> connection;
    std::vector<std::string> addresses;
    size_t next_address = 0;
    int64_t since_ms = 0, retry_ms = 0;
    bool was_ready = false, has_news = false;
  };
  struct Guest {
    std::unique_ptr<Connection> connection;
    int64_t since_ms = 0;
    bool is_known = false, has_news = true;
  };
  void connect(Way& way, int64_t now);
  void serve_way(Way& way, int64_t now, std::vector<HubEvent>& events);
  void serve_guests(int64_t now, std::vector<HubEvent>& events);
  void welcome(Guest& guest);

  const Roster& roster_;
  int rank_;
  FileDescriptor listener_;
  std::vector<int> seats_;
  bool is_seat_;
  std::vector<Way> ways_;
  std::vector<Guest> guests_;
  std::map<int, Connection*> by_rank_;
  std::deque<HubEvent> to_self_;
};

}  // namespace trireme::watch
