#include "runtime/watch/channel/connection.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <sys/socket.h>

namespace trireme::watch {

namespace {

constexpr std::string_view kMagic = "trireme-watch-1\n";
constexpr size_t kMacBytes = 16;
constexpr size_t kNonceBytes = std::tuple_size_v<Secret>;

template <class T>
std::string_view raw(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

}  // namespace

Connection::Connection(FileDescriptor socket, const Secret& secret, Side side, int rank, int seat)
    : socket_(std::move(socket)),
      secret_(secret),
      side_(side),
      rank_(rank),
      seat_(seat),
      is_connecting_(side == Side::rank) {
  if (side_ == Side::rank) {
    rank_nonce_ = random_secret();
  } else {
    seat_nonce_ = random_secret();
    out_.append(kMagic).append(bytes_of(seat_nonce_));
  }
}

void Connection::close() {
  state_ = State::closed;
  socket_ = FileDescriptor();
  in_.clear();
  out_.clear();
}

void Connection::send(std::string_view message) {
  if (!is_ready() || message.size() + out_.size() > kMostBytes) return;
  const auto bytes = static_cast<uint32_t>(message.size());
  const Secret mac = mac_of(send_key_, num_sent_++, message);
  out_.append(raw(bytes)).append(message).append(bytes_of(mac).substr(0, kMacBytes));
  write();
}

Secret Connection::mac_of(const Secret& key, uint64_t number, std::string_view message) const {
  return sign(key, raw(number), message);
}

void Connection::advance(std::vector<std::string>& messages) {
  if (is_closed()) return;
  if (is_connecting_) {
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return close();
    is_connecting_ = false;
  }
  read();
  // What came before the end of the connection counts.
  while (!in_.empty() && parse(messages)) {
  }
  if (!is_closed()) write();
}

void Connection::read() {
  char buffer[16384];
  while (true) {
    const ssize_t size = ::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (size > 0) {
      in_.append(buffer, static_cast<size_t>(size));
      if (in_.size() > kMostBytes + sizeof(uint32_t) + kMacBytes) break;
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN)) return;
    const State before = state_;
    std::string rest = std::move(in_);
    close();
    // Messages that have come are still to be read.
    if (before == State::ready) in_ = std::move(rest);
    return;
  }
}

void Connection::write() {
  while (!out_.empty() && !is_connecting_) {
    const ssize_t size = ::send(socket_.get(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size > 0) {
      out_.erase(0, static_cast<size_t>(size));
      continue;
    }
    if (size < 0 && errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN) return;
    return;  // reading will see that it is closed, behind what has come before
  }
}

bool Connection::parse(std::vector<std::string>& messages) {
  const bool has_keys = state_ == State::ready || state_ == State::closed;
  return has_keys ? parse_message(messages) : parse_greeting();
}

// What each side awaits: the rank the magic and a nonce, then a MAC; the seat a number, a nonce and a MAC.
bool Connection::parse_greeting() {
  const std::string_view in = in_;
  if (side_ == Side::seat) {
    const size_t size = sizeof(int32_t) + kNonceBytes + kNonceBytes;
    if (in.size() < size) return false;
    int32_t rank = 0;
    std::memcpy(&rank, in.data(), sizeof rank);
    std::memcpy(rank_nonce_.data(), in.data() + sizeof rank, kNonceBytes);
    const Secret mac = sign(secret_, fmt::format("rank {} to {}", rank, seat_), bytes_of(seat_nonce_),
                            bytes_of(rank_nonce_));
    if (!is_equal(mac.data(), in.data() + sizeof rank + kNonceBytes, kNonceBytes)) return close(), false;
    rank_ = rank;
    in_.erase(0, size);
    out_.append(bytes_of(sign(secret_, fmt::format("seat {} to {}", seat_, rank_), bytes_of(rank_nonce_),
                              bytes_of(seat_nonce_))));
    make_keys();
    write();
    return true;
  }
  if (state_ == State::greeting) {
    if (!kMagic.starts_with(in.substr(0, kMagic.size()))) return close(), false;
    if (in.size() < kMagic.size() + kNonceBytes) return false;
    std::memcpy(seat_nonce_.data(), in.data() + kMagic.size(), kNonceBytes);
    in_.erase(0, kMagic.size() + kNonceBytes);
    const int32_t rank = rank_;
    out_.append(raw(rank)).append(bytes_of(rank_nonce_));
    out_.append(bytes_of(sign(secret_, fmt::format("rank {} to {}", rank_, seat_), bytes_of(seat_nonce_),
                              bytes_of(rank_nonce_))));
    state_ = State::answering;
    write();
    return true;
  }
  if (in.size() < kNonceBytes) return false;
  const Secret mac =
      sign(secret_, fmt::format("seat {} to {}", seat_, rank_), bytes_of(rank_nonce_), bytes_of(seat_nonce_));
  if (!is_equal(mac.data(), in.data(), kNonceBytes)) return close(), false;
  in_.erase(0, kNonceBytes);
  make_keys();
  return true;
}

void Connection::make_keys() {
  const Secret of_seat = sign(secret_, "from the seat", bytes_of(seat_nonce_), bytes_of(rank_nonce_));
  const Secret of_rank = sign(secret_, "from the rank", bytes_of(seat_nonce_), bytes_of(rank_nonce_));
  send_key_ = side_ == Side::seat ? of_seat : of_rank;
  receive_key_ = side_ == Side::seat ? of_rank : of_seat;
  state_ = State::ready;
}

bool Connection::parse_message(std::vector<std::string>& messages) {
  uint32_t bytes = 0;
  if (in_.size() < sizeof bytes) return false;
  std::memcpy(&bytes, in_.data(), sizeof bytes);
  if (bytes > kMostBytes) return close(), false;
  if (in_.size() < sizeof bytes + bytes + kMacBytes) return false;
  std::string message = in_.substr(sizeof bytes, bytes);
  const Secret mac = mac_of(receive_key_, num_received_++, message);
  if (!is_equal(mac.data(), in_.data() + sizeof bytes + bytes, kMacBytes)) return close(), false;
  in_.erase(0, sizeof bytes + bytes + kMacBytes);
  messages.push_back(std::move(message));
  return true;
}

}  // namespace trireme::watch
