// What ranks compare at their start, with ranks as threads.
#include "runtime/comm/agreement.h"

#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/base/error.h"
#include "runtime/comm/self/self_communicator.h"
#include "runtime/comm/threads/thread_communicator.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using FactsOfRank = std::function<std::vector<Fact>(int rank)>;

/// What all ranks say; empty where they agree. Ranks 0-3 are on host "a", 4-7 on "b", and so on.
std::string message(int num_ranks, const FactsOfRank& facts) {
  std::vector<std::string> messages(static_cast<size_t>(num_ranks));
  run_thread_ranks(num_ranks, [&](Communicator& world) {
    try {
      check_agreement(world, facts(world.rank()), std::string(1, static_cast<char>('a' + world.rank() / 4)));
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      messages[static_cast<size_t>(world.rank())] = error.what();
    }
  });
  for (const std::string& other : messages) EXPECT_EQ(other, messages[0]) << "ranks do not say the same";
  return messages[0];
}

TEST(Agreement, EqualFactsPass) {
  const auto facts = [](int) { return std::vector<Fact>{{"seed", "1", ""}, {"lr", "0.1", ""}}; };
  for (const int ranks : {1, 2, 5}) EXPECT_EQ(message(ranks, facts), "");
  EXPECT_EQ(message(3, [](int) { return std::vector<Fact>(); }), "");
}

TEST(Agreement, OneRankThatDiffersIsNamedWithKeyHostsAndBothValues) {
  const std::string said = message(6, [](int rank) {
    return std::vector<Fact>{{"seed", rank == 4 ? "7" : "1337", ""}, {"lr", "0.1", ""}};
  });
  EXPECT_THAT(said, AllOf(HasSubstr("seed: 1337 on ranks 0-3, 5 (hosts a, b); 7 on rank 4 (host b)"),
                          Not(HasSubstr("lr"))));
}

TEST(Agreement, TheMajorityComesFirstWhereverItIs) {
  const std::string said = message(5, [](int rank) {
    return std::vector<Fact>{{"seed", rank == 0 ? "old" : "new", ""}};
  });
  EXPECT_THAT(said, HasSubstr("seed: new on ranks 1-4 (hosts a, b); old on rank 0 (host a)"));
}

TEST(Agreement, AllKeysThatDifferAreNamedAndManyAreCounted) {
  const std::string said = message(2, [](int rank) {
    std::vector<Fact> facts;
    for (int i = 0; i < 11; ++i) facts.push_back({fmt::format("key{}", i), fmt::format("{}", rank), ""});
    return facts;
  });
  EXPECT_THAT(said, AllOf(HasSubstr("key0: 0 on rank 0"), HasSubstr("key7: "), HasSubstr("3 more"),
                          Not(HasSubstr("key8"))));
}

TEST(Agreement, PathsMayDifferWhereTheirContentDoesNot) {
  const auto facts = [](int rank) {
    return std::vector<Fact>{{"data.tokens", "12 bytes", fmt::format("/disk{}/x (12 bytes)", rank)}};
  };
  EXPECT_EQ(message(3, facts), "");
  const std::string said = message(2, [](int rank) {
    const std::string value = fmt::format("{} bytes", 12 + rank);
    return std::vector<Fact>{{"data.tokens", value, fmt::format("/disk{}/x ({})", rank, value)}};
  });
  EXPECT_THAT(said, HasSubstr("/disk0/x (12 bytes) on rank 0 (host a); /disk1/x (13 bytes) on rank 1"));
}

TEST(Agreement, ARankThatDoesNotKnowGoesAlong) {
  EXPECT_EQ(message(4, [](int rank) { return std::vector<Fact>{{"text", rank == 2 ? "" : "x", ""}}; }), "");
  const std::string said = message(4, [](int rank) {
    return std::vector<Fact>{{"text", rank == 2 ? "" : rank == 3 ? "y" : "x", ""}};
  });
  EXPECT_THAT(said, HasSubstr("text: x on ranks 0-1 (host a); y on rank 3 (host a)"));
}

TEST(Agreement, AKeyThatOneBuildLacksIsADifference) {
  const std::string said = message(3, [](int rank) {
    std::vector<Fact> facts = {{"lr", "0.1", ""}};
    if (rank == 1) facts.push_back({"new.option", "on", ""});
    return facts;
  });
  EXPECT_THAT(said, HasSubstr("new.option: nothing on ranks 0, 2 (host a); on on rank 1 (host a)"));
}

TEST(Agreement, ValuesAreNotConfusedWithTheirNeighbours) {
  const std::string said = message(2, [](int rank) {
    return rank == 0 ? std::vector<Fact>{{"a", "bc", ""}, {"d", "e", ""}}
                     : std::vector<Fact>{{"ab", "c", ""}, {"d", "e", ""}};
  });
  EXPECT_THAT(said, HasSubstr("a: bc on rank 0"));
}

TEST(Agreement, EveryRankDifferentIsToldForAFew) {
  const std::string said = message(9, [](int rank) {
    return std::vector<Fact>{{"seed", fmt::format("{}", rank), ""}};
  });
  EXPECT_THAT(said, AllOf(HasSubstr("0 on rank 0 (host a)"), HasSubstr("4 on rank 4 (host b)"),
                          Not(HasSubstr("5 on rank 5"))));
}

TEST(Agreement, LongValuesAreCut) {
  const std::string said = message(2, [](int rank) {
    return std::vector<Fact>{{"prompt", std::string(100000, rank == 0 ? 'x' : 'y'), ""}};
  });
  EXPECT_LT(said.size(), 500u);
}

}  // namespace
}  // namespace trireme
