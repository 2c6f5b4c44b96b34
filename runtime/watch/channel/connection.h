// One authenticated connection between two ranks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/files/file.h"
#include "runtime/watch/channel/secret.h"

namespace trireme::watch {

/// A TCP connection over which two processes that know one secret exchange messages; never waits. The seat,
/// which accepts, sends a nonce; the rank that connects answers with its number, a nonce of its own, and the
/// HMAC of both; the seat with one of its own. From then on each message carries its number and 16 bytes of
/// an HMAC under a key of this connection and direction. Whoever says anything else is dropped.
class Connection {
 public:
  enum class Side : uint8_t { seat, rank };
  static constexpr size_t kMostBytes = size_t{64} << 20;  // of a message, and of what waits to be sent

  /// `rank`: of the side that connects; `seat`: of the other. The socket does not block.
  Connection(FileDescriptor socket, const Secret& secret, Side side, int rank, int seat);

  int socket() const { return socket_.get(); }
  /// Both have proved that they know the secret.
  bool is_ready() const { return state_ == State::ready; }
  bool is_closed() const { return state_ == State::closed; }
  /// Of the rank that has connected, once it is ready.
  int rank() const { return rank_; }
  bool wants_to_write() const { return is_connecting_ || !out_.empty(); }

  /// Queues a message; does nothing where the connection is not ready, or the other side does not read.
  void send(std::string_view message);
  /// Sends and receives what it can, and appends whole messages to `messages`.
  void advance(std::vector<std::string>& messages);
  void close();

 private:
  enum class State : uint8_t { greeting, answering, ready, closed };
  void read();
  void write();
  bool parse(std::vector<std::string>& messages);
  bool parse_greeting();
  bool parse_message(std::vector<std::string>& messages);
  void make_keys();
  Secret mac_of(const Secret& key, uint64_t number, std::string_view message) const;

  FileDescriptor socket_;
  Secret secret_;
  Side side_;
  int rank_, seat_;
  State state_ = State::greeting;
  bool is_connecting_;
  std::string in_, out_;
  Secret seat_nonce_{}, rank_nonce_{}, send_key_{}, receive_key_{};
  uint64_t num_sent_ = 0, num_received_ = 0;
};

}  // namespace trireme::watch
