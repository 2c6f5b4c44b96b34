#include "launch/serve/http/connection.h"

#include <array>
#include <chrono>
#include <exception>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "launch/serve/http/request_reader.h"
#include "launch/serve/http/socket_options.h"

namespace trireme::launch {

namespace asio = boost::asio;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using Clock = std::chrono::steady_clock;

namespace {

constexpr size_t socket_read_bytes = 64 << 10;
/// A connection that has nothing to send keeps no more memory than this for it.
constexpr size_t kept_bytes = 256 << 10;
/// What a client has to take within write_seconds.
constexpr size_t slice_bytes = 64 << 10;
/// A client that is still sending reads its answer only if the connection stays open for a while.
constexpr double linger_seconds = 1;

class TcpConnection final : public Connection, public std::enable_shared_from_this<TcpConnection> {
 public:
  TcpConnection(asio::io_context& io, int socket, const HttpLimits& limits, ConnectionOwner& owner)
      : io_(io),
        socket_(io, tcp::v4(), socket),
        read_timer_(io),
        write_timer_(io),
        limits_(limits),
        owner_(owner),
        reader_(limits) {}

  void start(int refusal, const std::string& message) override;
  void drain() override;
  void close() override;

 private:
  /// `step` of this connection, whose failure (memory) is its own end and nobody else's.
  template <class Step>
  void guarded(Step&& step) {
    try {
      step();
    } catch (...) {
      close();
    }
    if (!is_closed_) note_busy();
  }

  void wait_readable();
  void on_readable();
  void on_end_of_input();
  void read_on();
  void serve();
  void refuse(int status, std::string_view message);
  void flush();
  void send_out();
  void wait_writable();
  void on_sent();
  void linger();
  void limit(asio::steady_timer& timer, double seconds, void (TcpConnection::*on_timeout)());
  void limit_reading(double seconds) { limit(read_timer_, seconds, &TcpConnection::on_read_timeout); }
  void on_read_timeout();
  void limit_writing();
  void note_busy();
  size_t unsent() const { return out_.size() - num_sent_; }

  asio::io_context& io_;
  tcp::socket socket_;
  asio::steady_timer read_timer_, write_timer_;
  HttpLimits limits_;
  ConnectionOwner& owner_;
  RequestReader reader_;
  std::shared_ptr<Exchange> exchange_;  ///< of the request that is being answered
  std::string out_;
  size_t num_sent_ = 0, num_sent_of_slice_ = 0;
  bool is_waiting_to_read_ = false, is_waiting_to_write_ = false;
  bool is_timed_for_request_ = false, is_timed_for_writing_ = false;
  bool ends_ = false;  ///< after what is in out_
  bool is_draining_ = false, is_lingering_ = false, is_closed_ = false, is_busy_ = false;
};

void TcpConnection::start(int refusal, const std::string& message) {
  guarded([&] {
    socket_.non_blocking(true);  // or Asio waits where the kernel would not
    set_socket_options(socket_.native_handle(), limits_.write_seconds);
    if (refusal != 0) return refuse(refusal, message);
    limit_reading(limits_.idle_seconds);
    wait_readable();
  });
}

void TcpConnection::drain() {
  guarded([&] {
    is_draining_ = true;
    if (is_closed_ || exchange_ || unsent() > 0) return;
    if (reader_.has_begun() && !is_lingering_) return refuse(503, "the server is stopping");
    close();
  });
}

void TcpConnection::close() {
  if (std::exchange(is_closed_, true)) return;
  const auto self = shared_from_this();
  ErrorCode ignored;
  socket_.close(ignored);
  read_timer_.cancel(ignored);
  write_timer_.cancel(ignored);
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    try {
      exchange->gone();
    } catch (...) {  // a callback's failure
    }
  }
  if (std::exchange(is_busy_, false)) owner_.became_idle();
  owner_.closed(this);
}

void TcpConnection::note_busy() {
  const bool is_busy = exchange_ != nullptr || unsent() > 0;
  if (std::exchange(is_busy_, is_busy) == is_busy) return;
  is_busy ? owner_.became_busy() : owner_.became_idle();
}

void TcpConnection::wait_readable() {
  if (is_waiting_to_read_ || is_closed_) return;
  is_waiting_to_read_ = true;
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const ErrorCode& error) {
    self->is_waiting_to_read_ = false;
    if (error || self->is_closed_) return;
    self->guarded([&] { self->on_readable(); });
  });
}

void TcpConnection::on_readable() {
  std::array<char, socket_read_bytes> bytes;
  ErrorCode error;
  const size_t num = socket_.read_some(asio::buffer(bytes), error);
  if (error == asio::error::would_block || error == asio::error::interrupted) return wait_readable();
  if (error == asio::error::eof) return on_end_of_input();
  if (error) return close();
  if (!is_lingering_ && !ends_) {
    reader_.append({bytes.data(), num});
    if (!exchange_ && unsent() == 0) {
      read_on();
    } else if (reader_.num_buffered() > static_cast<size_t>(limits_.header_bytes + limits_.body_bytes)) {
      return close();  // more than a whole request is sent ahead
    }
  }
  wait_readable();
}

/// A client that has closed its side has left (as for uvicorn): half of a close cannot be told from a whole
/// one.
void TcpConnection::on_end_of_input() {
  if (exchange_ || unsent() == 0) return close();
  ends_ = true;  // the rest of a complete answer may still be wanted
}

void TcpConnection::read_on() {
  switch (reader_.advance()) {
    case RequestReader::State::needs_bytes:
      if (!reader_.has_begun()) return limit_reading(limits_.idle_seconds);
      if (!std::exchange(is_timed_for_request_, true)) limit_reading(limits_.header_seconds);
      return;
    case RequestReader::State::wants_continue:
      if (!std::exchange(is_timed_for_request_, true)) limit_reading(limits_.header_seconds);
      out_ += "HTTP/1.1 100 Continue\r\n\r\n";
      return send_out();
    case RequestReader::State::complete:
      return serve();
    case RequestReader::State::refused:
      return refuse(reader_.refusal().status, reader_.refusal().message);
  }
}

void TcpConnection::serve() {
  read_timer_.cancel();
  is_timed_for_request_ = false;
  IncomingRequest incoming = reader_.take();
  const ReplyTerms terms{incoming.is_http11, incoming.request.method == "HEAD", incoming.keeps_alive};
  exchange_ = std::make_shared<Exchange>(terms, [&io = io_, weak = weak_from_this()] {
    asio::post(io, [weak] {
      if (const auto self = weak.lock()) self->guarded([&] { self->flush(); });
    });
  });
  owner_.handle(std::move(incoming.request), exchange_);
}

void TcpConnection::refuse(int status, std::string_view message) {
  ReplyTerms terms;
  terms.keeps_alive = false;
  const std::string body = error_body(status, message);
  HttpReply::Headers headers;
  if (status == 503) headers.emplace_back("Retry-After", "1");
  out_ += reply_head(terms, status, "application/json", headers, body.size()) + body;
  ends_ = true;
  read_timer_.cancel();
  send_out();
}

void TcpConnection::flush() {
  if (!exchange_ || is_closed_) return;
  Exchange::Output output = exchange_->take();
  // A piece that is long in itself, and an end, may take their time; pieces that heap up are a slow reader's.
  if (output.is_stream && !output.is_complete && unsent() > 0 &&
      unsent() + output.bytes.size() > static_cast<size_t>(limits_.pending_bytes))
    return close();
  out_ += output.bytes;
  if (output.is_complete) {
    exchange_ = nullptr;
    ends_ = ends_ || output.ends_connection;
  }
  send_out();
}

void TcpConnection::send_out() {
  if (is_waiting_to_write_ || is_closed_) return;
  while (unsent() > 0) {
    ErrorCode error;
    const size_t num = socket_.write_some(asio::buffer(out_.data() + num_sent_, unsent()), error);
    if (error == asio::error::would_block || error == asio::error::try_again) return wait_writable();
    if (error && error != asio::error::interrupted) return close();
    num_sent_ += num;
    num_sent_of_slice_ += num;
  }
  out_.clear();
  if (out_.capacity() > kept_bytes) out_.shrink_to_fit();
  num_sent_ = 0;
  if (std::exchange(is_timed_for_writing_, false)) write_timer_.cancel();
  on_sent();
}

void TcpConnection::wait_writable() {
  // What was sent is let go once moving the rest is little in comparison.
  if (num_sent_ > out_.size() / 2) out_.erase(0, std::exchange(num_sent_, 0));
  if (num_sent_of_slice_ >= slice_bytes || !is_timed_for_writing_) limit_writing();
  is_waiting_to_write_ = true;
  socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const ErrorCode& error) {
    self->is_waiting_to_write_ = false;
    if (error || self->is_closed_) return;
    self->guarded([&] { self->send_out(); });
  });
}

void TcpConnection::on_sent() {
  if (exchange_) return;
  if (ends_ || is_draining_) return linger();
  read_on();
  wait_readable();
}

void TcpConnection::linger() {
  if (std::exchange(is_lingering_, true)) return;
  ErrorCode ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  limit_reading(linger_seconds);
  wait_readable();
}

void TcpConnection::limit(asio::steady_timer& timer, double seconds, void (TcpConnection::*on_timeout)()) {
  timer.expires_after(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
  timer.async_wait([self = shared_from_this(), &timer, on_timeout](const ErrorCode& error) {
    if (error || self->is_closed_ || timer.expiry() > Clock::now()) return;
    self->guarded([&] { (self.get()->*on_timeout)(); });
  });
}

void TcpConnection::on_read_timeout() {
  if (exchange_ || unsent() > 0) return;
  if (is_timed_for_request_ && !is_lingering_) return refuse(408, "the request did not arrive in time");
  close();
}

void TcpConnection::limit_writing() {
  num_sent_of_slice_ = 0;
  is_timed_for_writing_ = true;
  limit(write_timer_, limits_.write_seconds, &TcpConnection::close);
}

}  // namespace

std::shared_ptr<Connection> open_connection(asio::io_context& io, int socket, const HttpLimits& limits,
                                            ConnectionOwner& owner) {
  return std::make_shared<TcpConnection>(io, socket, limits, owner);
}

}  // namespace trireme::launch
