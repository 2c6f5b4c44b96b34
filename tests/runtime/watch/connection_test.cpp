// Connections and hubs, over sockets of this process.
#include "runtime/watch/channel/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "runtime/base/error.h"
#include "runtime/watch/channel/addresses.h"
#include "runtime/watch/channel/hub.h"

namespace trireme::watch {
namespace {

using testing::ElementsAre;
using Side = Connection::Side;

std::pair<FileDescriptor, FileDescriptor> socket_pair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

/// A seat and a rank, and what each has got.
struct Pair {
  explicit Pair(const Secret& of_seat, const Secret& of_rank) {
    auto [one, other] = socket_pair();
    seat.emplace(std::move(one), of_seat, Side::seat, -1, 0);
    rank.emplace(std::move(other), of_rank, Side::rank, 5, 0);
  }
  void pump() {
    for (int i = 0; i < 200; ++i) {
      seat->advance(at_seat);
      rank->advance(at_rank);
    }
  }
  std::optional<Connection> seat, rank;
  std::vector<std::string> at_seat, at_rank;
};

TEST(WatchConnection, CarriesMessagesOfThoseWhoKnowTheSecret) {
  const Secret secret = random_secret();
  Pair pair(secret, secret);
  pair.pump();
  ASSERT_TRUE(pair.seat->is_ready() && pair.rank->is_ready());
  EXPECT_EQ(pair.seat->rank(), 5);
  const std::string large(1 << 20, 'x');
  pair.rank->send("one");
  pair.rank->send("");
  pair.rank->send(large);
  pair.seat->send("answer");
  pair.pump();
  EXPECT_THAT(pair.at_seat, ElementsAre("one", "", large));
  EXPECT_THAT(pair.at_rank, ElementsAre("answer"));
}

TEST(WatchConnection, WhatWasSentBeforeTheEndArrives) {
  const Secret secret = random_secret();
  Pair pair(secret, secret);
  pair.pump();
  pair.rank->send("last word");
  pair.rank->close();
  pair.pump();
  EXPECT_THAT(pair.at_seat, ElementsAre("last word"));
  EXPECT_TRUE(pair.seat->is_closed());
}

TEST(WatchConnection, AnotherSecretIsRefusedOnBothSides) {
  Pair pair(random_secret(), random_secret());
  pair.pump();
  EXPECT_TRUE(pair.seat->is_closed());
  EXPECT_FALSE(pair.rank->is_ready());
  pair.rank->send("x");
  pair.pump();
  EXPECT_TRUE(pair.at_seat.empty());
}

TEST(WatchConnection, ASeatThatDoesNotKnowTheSecretLearnsNothing) {
  const Secret secret = random_secret();
  auto [one, other] = socket_pair();
  Connection rank(std::move(other), secret, Side::rank, 5, 0);
  std::vector<std::string> messages;
  // It sends a greeting, and what it takes for an answer.
  const std::string greeting = "trireme-watch-1\n" + std::string(32, 'n') + std::string(32, 'm');
  ASSERT_EQ(::send(one.get(), greeting.data(), greeting.size(), 0), std::ssize(greeting));
  for (int i = 0; i < 10; ++i) rank.advance(messages);
  EXPECT_TRUE(rank.is_closed());
  EXPECT_TRUE(messages.empty());
}

TEST(WatchConnection, StrangersAreDropped) {
  for (const std::string& words :
       {std::string("GET / HTTP/1.1\r\n\r\n") + std::string(80, ' '), std::string(200, '\0')}) {
    auto [one, other] = socket_pair();
    Connection seat(std::move(one), random_secret(), Side::seat, -1, 0);
    std::vector<std::string> messages;
    ASSERT_GT(::send(other.get(), words.data(), words.size(), 0), 0);
    for (int i = 0; i < 10; ++i) seat.advance(messages);
    EXPECT_TRUE(seat.is_closed());
    EXPECT_TRUE(messages.empty());
  }
}

/// Passes what a rank sends on to a seat, of which `change` may see each piece.
TEST(WatchConnection, AChangedOrRepeatedMessageEndsIt) {
  for (const bool repeats : {false, true}) {
    const Secret secret = random_secret();
    auto [seat_end, seat_side] = socket_pair();
    auto [rank_end, rank_side] = socket_pair();
    Connection seat(std::move(seat_side), secret, Side::seat, -1, 0);
    Connection rank(std::move(rank_side), secret, Side::rank, 1, 0);
    std::vector<std::string> at_seat, at_rank;
    const auto pass = [&](int from, int to, bool changes) {
      char buffer[4096];
      ssize_t size = 0;
      while ((size = ::recv(from, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
        if (changes && !repeats) buffer[size / 2] = static_cast<char>(buffer[size / 2] ^ 1);
        EXPECT_EQ(::send(to, buffer, static_cast<size_t>(size), 0), size);
        if (changes && repeats) {
          EXPECT_EQ(::send(to, buffer, static_cast<size_t>(size), 0), size);
        }
      }
    };
    const auto pump = [&](bool changes) {
      for (int i = 0; i < 20; ++i) {
        rank.advance(at_rank);
        pass(rank_end.get(), seat_end.get(), changes);
        seat.advance(at_seat);
        pass(seat_end.get(), rank_end.get(), false);
      }
    };
    pump(false);
    ASSERT_TRUE(seat.is_ready() && rank.is_ready());
    rank.send("first");
    pump(false);
    EXPECT_THAT(at_seat, ElementsAre("first"));
    rank.send("second");
    pump(true);
    EXPECT_EQ(at_seat.size(), repeats ? 2u : 1u);
    EXPECT_TRUE(seat.is_closed());
  }
}

TEST(WatchAddresses, LoopbackIsForOneHostAlone) {
  EXPECT_EQ(own_addresses("", true)[0], "127.0.0.1");
  EXPECT_THAT(own_addresses("lo", false), testing::Contains("127.0.0.1"));
  EXPECT_THAT(own_addresses("127.0.0.1", false), ElementsAre("127.0.0.1"));
  try {
    own_addresses("no-such-interface", false);
    FAIL();
  } catch (const UserError& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("--run.watch-interface no-such-interface"),
                                             testing::HasSubstr("lo (127.0.0.1)")));
  }
}

class Hubs : public testing::Test {
 protected:
  void start(int num_ranks) {
    roster_.secret = random_secret();
    std::vector<FileDescriptor> listeners;
    for (int rank = 0; rank < num_ranks; ++rank) {
      Peer peer;
      peer.rank = rank;
      peer.host = "here";
      peer.addresses = {"127.0.0.1"};
      listeners.push_back(listen_on(peer.addresses, peer.port));
      roster_.peers.push_back(peer);
    }
    for (int rank = 0; rank < num_ranks; ++rank)
      hubs_.push_back(std::make_unique<Hub>(roster_, rank, std::move(listeners[static_cast<size_t>(rank)])));
  }
  /// Until `is_done`, or for long.
  template <class F>
  bool pump(F&& is_done) {
    for (int i = 0; i < 2000; ++i) {
      for (size_t rank = 0; rank < hubs_.size(); ++rank) {
        std::vector<pollfd> none;
        if (!hubs_[rank]) continue;
        for (HubEvent& event : hubs_[rank]->poll(1, none))
          events_[static_cast<int>(rank)].push_back(std::move(event));
      }
      if (is_done()) return true;
    }
    return false;
  }
  bool all_connected(int seat) {
    for (int rank = 0; rank < roster_.size(); ++rank) {
      if (!hubs_[static_cast<size_t>(seat)]->is_connected(rank)) return false;
    }
    return true;
  }

  Roster roster_;
  std::vector<std::unique_ptr<Hub>> hubs_;
  std::map<int, std::vector<HubEvent>> events_;
};

TEST_F(Hubs, RanksReachAllSeatsAndSeatsAllRanks) {
  start(6);
  EXPECT_THAT(hubs_[0]->seats(), ElementsAre(0, 1, 2));
  ASSERT_TRUE(pump([&] { return all_connected(0) && all_connected(1) && all_connected(2); }));
  hubs_[5]->send_to_seats("from 5");
  hubs_[1]->send_to_all_ranks("from 1");
  ASSERT_TRUE(pump([&] {
    return events_[0].size() + events_[1].size() + events_[2].size() >= 6 && events_[4].size() == 1;
  }));
  EXPECT_THAT(events_[0], testing::Contains(testing::AllOf(testing::Field(&HubEvent::rank, 5),
                                                           testing::Field(&HubEvent::message, "from 5"))));
  EXPECT_EQ(events_[4][0].message, "from 1");
  EXPECT_EQ(events_[4][0].kind, HubEvent::Kind::from_seat);
}

TEST_F(Hubs, AStrangerIsNobodyAndDisturbsNobody) {
  start(3);
  const FileDescriptor stranger = connect_to("127.0.0.1", roster_.of(0).port);
  ASSERT_TRUE(pump([&] { return all_connected(0); }));
  ::send(stranger.get(), std::string(100, 'z').data(), 100, MSG_NOSIGNAL);
  hubs_[2]->send_to_seat(0, "hello");
  ASSERT_TRUE(pump([&] { return !events_[0].empty(); }));
  EXPECT_EQ(events_[0].size(), 1u);
}

TEST_F(Hubs, AConnectionThatIsLostIsMadeAgain) {
  start(5);  // the last of which is no seat
  ASSERT_TRUE(pump([&] { return all_connected(0); }));
  uint16_t port = 0;
  hubs_[4].reset();
  ASSERT_TRUE(pump([&] { return !events_[0].empty(); }));
  EXPECT_EQ(events_[0][0].kind, HubEvent::Kind::rank_lost);
  EXPECT_EQ(events_[0][0].rank, 4);
  hubs_[4] = std::make_unique<Hub>(roster_, 4, listen_on({"127.0.0.1"}, port));
  EXPECT_TRUE(pump([&] { return all_connected(0); }));
}

TEST(Seats, AreSpreadOverHosts) {
  Roster roster;
  for (int rank = 0; rank < 8; ++rank) {
    Peer peer;
    peer.host = rank < 4 ? "a" : "b";
    roster.peers.push_back(peer);
  }
  EXPECT_THAT(seats_of(roster), ElementsAre(0, 4, 1));
  roster.peers.resize(2);
  EXPECT_THAT(seats_of(roster), ElementsAre(0, 1));
  roster.peers.resize(1);
  EXPECT_THAT(seats_of(roster), ElementsAre(0));
}

}  // namespace
}  // namespace trireme::watch
