#include "runtime/watch/meet.h"

#include <algorithm>
#include <vector>

#include <unistd.h>

#include "runtime/device/cpu/cpu_device.h"
#include "runtime/watch/channel/addresses.h"
#include "runtime/watch/process/process_facts.h"

namespace trireme::watch {

namespace {

/// A peer as plain bytes, so that it can be sent.
struct Card {
  int32_t pid, port;
  int64_t start_time, memory_kills;
  char host[64];
  char addresses[4][46];
  char memory_events[256];
};

template <size_t kSize>
void copy_text(const std::string& text, char (&to)[kSize]) {
  text.copy(to, kSize - 1);
}

Peer own_peer(const std::string& host) {
  Peer peer;
  peer.host = host;
  peer.pid = ::getpid();
  peer.start_time = process_state(peer.pid, 0).start_time;
  peer.memory_events = memory_events_file();
  peer.memory_kills = memory_kills(peer.memory_events);
  return peer;
}

Card card_of(const Peer& peer) {
  Card card{peer.pid, peer.port, peer.start_time, peer.memory_kills, {}, {}, {}};
  copy_text(peer.host, card.host);
  for (size_t i = 0; i < std::min(peer.addresses.size(), std::size(card.addresses)); ++i)
    copy_text(peer.addresses[i], card.addresses[i]);
  if (peer.memory_events.size() < sizeof card.memory_events)
    copy_text(peer.memory_events, card.memory_events);
  return card;
}

Peer peer_of(const Card& card, int rank) {
  Peer peer{rank, card.host,          card.pid,         card.start_time, static_cast<uint16_t>(card.port),
            {},   card.memory_events, card.memory_kills};
  for (const auto& address : card.addresses) {
    if (address[0] != 0) peer.addresses.emplace_back(address);
  }
  return peer;
}

}  // namespace

WatchPost meet(Communicator& world, const std::string& host, bool on_one_host, const std::string& interface) {
  WatchPost post;
  post.rank = world.rank();
  Peer own = own_peer(host);
  own.addresses = own_addresses(interface, on_one_host);
  post.listener = listen_on(own.addresses, own.port);
  if (world.rank() == 0) post.roster.secret = random_secret();
  const auto stream = cpu::make_compute_stream();
  const auto bytes = [](auto& value) {
    return Tensor::borrow(reinterpret_cast<unsigned char*>(&value), {sizeof value}, DType::u8);
  };
  world.broadcast(*stream, bytes(post.roster.secret), 0);
  Card card = card_of(own);
  std::vector<Card> all(static_cast<size_t>(world.size()));
  const auto size = static_cast<int64_t>(all.size() * sizeof(Card));
  world.all_gather(*stream, bytes(card),
                   Tensor::borrow(reinterpret_cast<unsigned char*>(all.data()), {size}, DType::u8));
  for (int rank = 0; rank < world.size(); ++rank)
    post.roster.peers.push_back(peer_of(all[static_cast<size_t>(rank)], rank));
  // Connections of all ranks, and what the run itself opens.
  allow_open_files(int64_t{2} * world.size() + 1024);
  return post;
}

WatchPost alone(const std::string& host) {
  WatchPost post;
  post.roster.peers.push_back(own_peer(host));
  post.roster.secret = random_secret();
  return post;
}

}  // namespace trireme::watch
