#include "runtime/watch/channel/hub.h"

#include <algorithm>
#include <utility>

#include "runtime/comm/record/call_ring.h"
#include "runtime/watch/channel/addresses.h"

namespace trireme::watch {

namespace {

constexpr int64_t kGreetingMs = 5000;  // for strangers, and for seats that do not answer
constexpr int64_t kRetryMs = 200;
constexpr size_t kMostStrangers = 256;  // beside the ranks

int64_t now_ms() { return steady_ns() / 1'000'000; }

}  // namespace

Hub::Hub(const Roster& roster, int rank, FileDescriptor listener)
    : roster_(roster),
      rank_(rank),
      listener_(std::move(listener)),
      seats_(seats_of(roster)),
      is_seat_(std::ranges::find(seats_, rank) != seats_.end()) {
  if (!is_seat_) listener_ = FileDescriptor();
  for (const int seat : seats_) {
    if (seat == rank_) continue;
    Way way;
    way.seat = seat;
    way.addresses = nearest_first(roster.of(seat).addresses);
    ways_.push_back(std::move(way));
  }
}

void Hub::send_to_rank(int rank, std::string_view message) {
  if (rank == rank_) return to_self_.push_back({HubEvent::Kind::from_seat, rank_, std::string(message)});
  const auto found = by_rank_.find(rank);
  if (found != by_rank_.end()) found->second->send(message);
}

void Hub::send_to_all_ranks(std::string_view message) {
  for (const auto& [unused, connection] : by_rank_) connection->send(message);
  to_self_.push_back({HubEvent::Kind::from_seat, rank_, std::string(message)});
}

void Hub::send_to_seat(int seat, std::string_view message) {
  if (seat == rank_) return to_self_.push_back({HubEvent::Kind::from_rank, rank_, std::string(message)});
  for (Way& way : ways_) {
    if (way.seat == seat && way.connection) way.connection->send(message);
  }
}

void Hub::send_to_seats(std::string_view message) {
  for (const int seat : seats_) send_to_seat(seat, message);
}

bool Hub::is_connected(int rank) const { return rank == rank_ || by_rank_.contains(rank); }

bool Hub::has_unsent() const {
  const auto waits = [](const auto& held) {
    return held.connection && held.connection->is_ready() && held.connection->wants_to_write();
  };
  return std::ranges::any_of(ways_, waits) || std::ranges::any_of(guests_, waits);
}

std::vector<HubEvent> Hub::poll(int milliseconds, std::vector<pollfd>& others) {
  int64_t now = now_ms();
  for (Way& way : ways_) connect(way, now);
  std::vector<pollfd> polled = others;
  std::vector<bool*> news;
  const auto add = [&](const Connection& connection, bool& has_news) {
    const short events = connection.wants_to_write() ? POLLIN | POLLOUT : POLLIN;
    polled.push_back({connection.socket(), events, 0});
    news.push_back(&has_news);
  };
  for (Way& way : ways_) {
    if (way.connection) add(*way.connection, way.has_news);
  }
  for (Guest& guest : guests_) add(*guest.connection, guest.has_news);
  const size_t first = others.size();
  if (listener_.get() >= 0) polled.push_back({listener_.get(), POLLIN, 0});
  ::poll(polled.data(), polled.size(), to_self_.empty() ? milliseconds : 0);
  std::copy_n(polled.begin(), first, others.begin());
  for (size_t i = 0; i < news.size(); ++i) *news[i] |= polled[first + i].revents != 0;

  now = now_ms();
  std::vector<HubEvent> events(to_self_.begin(), to_self_.end());
  to_self_.clear();
  for (Way& way : ways_) serve_way(way, now, events);
  serve_guests(now, events);
  return events;
}

void Hub::connect(Way& way, int64_t now) {
  if (way.connection || now < way.retry_ms || way.addresses.empty()) return;
  const std::string& address = way.addresses[way.next_address++ % way.addresses.size()];
  way.since_ms = now;
  way.retry_ms = now + kRetryMs;
  FileDescriptor socket = connect_to(address, roster_.of(way.seat).port);
  if (socket.get() < 0) return;
  way.connection = std::make_unique<Connection>(std::move(socket), roster_.secret, Connection::Side::rank,
                                                rank_, way.seat);
}

void Hub::serve_way(Way& way, int64_t now, std::vector<HubEvent>& events) {
  if (!way.connection) return;
  std::vector<std::string> messages;
  if (std::exchange(way.has_news, false)) way.connection->advance(messages);
  for (std::string& message : messages)
    events.push_back({HubEvent::Kind::from_seat, way.seat, std::move(message)});
  way.was_ready |= way.connection->is_ready();
  const bool is_late = !way.connection->is_ready() && now - way.since_ms > kGreetingMs / 2;
  if (!way.connection->is_closed() && !is_late) return;
  if (way.was_ready) events.push_back({HubEvent::Kind::seat_lost, way.seat});
  way.was_ready = false;
  way.connection.reset();
  way.retry_ms = now + kRetryMs;
}

void Hub::welcome(Guest& guest) {
  guest.is_known = true;
  const int rank = guest.connection->rank();
  const auto before = by_rank_.find(rank);
  if (before != by_rank_.end()) before->second->close();
  by_rank_[rank] = guest.connection.get();
}

void Hub::serve_guests(int64_t now, std::vector<HubEvent>& events) {
  if (listener_.get() >= 0) {
    for (FileDescriptor socket = accept_from(listener_.get()); socket.get() >= 0;
         socket = accept_from(listener_.get())) {
      const bool is_full = guests_.size() >= roster_.peers.size() + kMostStrangers;
      if (is_full) continue;  // closes it
      guests_.push_back(
          {std::make_unique<Connection>(std::move(socket), roster_.secret, Connection::Side::seat, -1, rank_),
           now});
    }
  }
  std::vector<std::string> messages;
  for (size_t i = 0; i < guests_.size(); ++i) {
    Guest& guest = guests_[i];
    messages.clear();
    if (std::exchange(guest.has_news, false)) guest.connection->advance(messages);
    const int rank = guest.connection->rank();
    if (!guest.is_known && guest.connection->is_ready() && rank >= 0 && rank < roster_.size()) welcome(guest);
    for (std::string& message : messages) {
      if (guest.is_known) events.push_back({HubEvent::Kind::from_rank, rank, std::move(message)});
    }
    if (!guest.is_known && now - guest.since_ms > kGreetingMs) guest.connection->close();
    if (!guest.connection->is_closed()) continue;
    const auto found = by_rank_.find(rank);
    if (guest.is_known && found != by_rank_.end() && found->second == guest.connection.get()) {
      by_rank_.erase(found);
      events.push_back({HubEvent::Kind::rank_lost, rank});
    }
  }
  std::erase_if(guests_, [](const Guest& guest) { return guest.connection->is_closed(); });
}

}  // namespace trireme::watch
