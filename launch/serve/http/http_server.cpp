#include "launch/serve/http/http_server.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "launch/serve/http/connection.h"
#include "launch/serve/http/exchange.h"
#include "launch/serve/http/listener.h"
#include "launch/serve/http/worker_pool.h"

namespace trireme::launch {

namespace asio = boost::asio;

namespace {

constexpr int num_handler_threads = 2;
/// Clients beyond the limit that are told so at one time; more are closed without a word.
constexpr size_t max_refused = 64;
constexpr double longest_stop_seconds = 1e6;

}  // namespace

class HttpServer::State final : public ConnectionOwner {
 public:
  State(const std::string& address, uint16_t port, const HttpLimits& limits, HttpHandler handler)
      : limits_(limits),
        handler_(std::move(handler)),
        listener_(listen_at(io_, address, port)),
        workers_(num_handler_threads) {
    listener_->start([this](int socket) { take(socket); });
    io_thread_ = std::thread([this] { run(); });
  }
  ~State() override { stop(0); }

  uint16_t port() const { return listener_->port(); }
  int64_t num_connections() const { return num_connections_; }
  void drain();
  void stop(double seconds);

  void handle(HttpRequest request, std::shared_ptr<Exchange> exchange) override;
  void became_busy() override { change_busy(1); }
  void became_idle() override { change_busy(-1); }
  void closed(Connection* connection) override;

 private:
  void run();
  void take(int socket);
  void change_busy(int change);
  void drain_connections();
  void close_connections();
  std::vector<std::shared_ptr<Connection>> all_connections() const;

  const HttpLimits limits_;
  const HttpHandler handler_;
  asio::io_context io_{1};
  std::unique_ptr<Listener> listener_;
  struct Client {
    std::shared_ptr<Connection> connection;
    bool is_refused = false;
  };
  std::unordered_map<Connection*, Client> clients_;  ///< of the I/O thread
  std::atomic<int64_t> num_connections_{0};          ///< without the refused
  std::mutex mutex_;                                 ///< of what follows
  std::condition_variable changed_;
  int64_t num_busy_ = 0;
  bool is_drained_ = false, is_stopped_ = false;
  std::mutex stop_mutex_;
  WorkerPool workers_;
  std::thread io_thread_;
};

void HttpServer::State::run() {
  const auto guard = asio::make_work_guard(io_);
  for (;;) {
    try {
      io_.run();
      return;
    } catch (...) {  // of memory, in what is not one connection's own: the others are served on
    }
  }
}

void HttpServer::State::take(int socket) {
  std::shared_ptr<Connection> connection;
  const auto served = static_cast<size_t>(num_connections_);
  const bool is_refused = served >= static_cast<size_t>(limits_.connections);
  if (is_refused && clients_.size() - served >= max_refused) {
    ::close(socket);
    return;
  }
  try {
    connection = open_connection(io_, socket, limits_, *this);
  } catch (...) {
    ::close(socket);
    return;
  }
  clients_[connection.get()] = {connection, is_refused};
  if (!is_refused) ++num_connections_;
  connection->start(is_refused ? 503 : 0, "this server has as many connections as it may have");
}

void HttpServer::State::closed(Connection* connection) {
  const auto client = clients_.find(connection);
  if (client == clients_.end()) return;
  if (!client->second.is_refused) --num_connections_;
  clients_.erase(client);
}

void HttpServer::State::handle(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  // std::function asks for what can be copied.
  auto shared = std::make_shared<HttpRequest>(std::move(request));
  workers_.post([this, shared, exchange, reply = reply_of(exchange)]() mutable {
    try {
      handler_(std::move(*shared), std::exchange(reply, nullptr));
    } catch (...) {  // its words may hold what no client may see
      exchange->give_up();
    }
  });
}

void HttpServer::State::change_busy(int change) {
  const std::lock_guard lock(mutex_);
  num_busy_ += change;
  if (num_busy_ == 0) changed_.notify_all();
}

std::vector<std::shared_ptr<Connection>> HttpServer::State::all_connections() const {
  std::vector<std::shared_ptr<Connection>> all;  // connections leave the map as they end
  for (const auto& [pointer, client] : clients_) all.push_back(client.connection);
  return all;
}

void HttpServer::State::drain_connections() {
  listener_->close();
  for (const auto& connection : all_connections()) connection->drain();
  const std::lock_guard lock(mutex_);
  is_drained_ = true;
  changed_.notify_all();
}

void HttpServer::State::close_connections() {
  for (const auto& connection : all_connections()) connection->close();
  io_.stop();
}

void HttpServer::State::drain() {
  asio::post(io_, [this] { drain_connections(); });
}

void HttpServer::State::stop(double seconds) {
  const std::lock_guard stopping(stop_mutex_);
  if (is_stopped_) return;
  asio::post(io_, [this] { drain_connections(); });
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::duration<double>(std::clamp(seconds, 0.0, longest_stop_seconds)),
                      [&] { return is_drained_ && num_busy_ == 0; });
  }
  asio::post(io_, [this] { close_connections(); });
  io_thread_.join();
  workers_.join();
  is_stopped_ = true;
}

HttpServer::HttpServer(const std::string& address, uint16_t port, const HttpLimits& limits,
                       HttpHandler handler)
    : state_(std::make_unique<State>(address, port, limits, std::move(handler))) {}
HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const { return state_->port(); }
int64_t HttpServer::num_connections() const { return state_->num_connections(); }
void HttpServer::drain() { state_->drain(); }
void HttpServer::stop(double seconds) { state_->stop(seconds); }

}  // namespace trireme::launch
