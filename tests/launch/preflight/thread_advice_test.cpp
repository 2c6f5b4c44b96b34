#include "launch/preflight/thread_advice.h"

#include <gmock/gmock.h>

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ThreadAdvice, WithoutANumberARankTakesItsShare) {
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {}}, 1), 8);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {}}, 3), 2);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {}}, 20), 1);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 2, .quota = {}}, 4), 2);  // bound: its own
}

TEST(ThreadAdvice, WithoutANumberTheQuotaIsKept) {
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {4, "/a"}}, 1), 4);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {3.5, "/a"}}, 1), 3);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {4, "/a"}}, 2), 2);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 2, .quota = {4, "/a"}}, 4), 1);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {0.5, "/a"}}, 1), 1);
  EXPECT_EQ(default_threads({.machine = 8, .allowed = 8, .quota = {100, "/a"}}, 1), 8);
}

TEST(ThreadAdvice, ThreadsTakeTurnsBeyondCoresAffinityAndQuota) {
  const CoresGiven two{.machine = 2, .allowed = 2, .quota = {}};
  EXPECT_FALSE(is_oversubscribed(two, 1, 2));
  EXPECT_FALSE(is_oversubscribed(two, 2, 1));
  EXPECT_TRUE(is_oversubscribed(two, 2, 2));
  EXPECT_TRUE(is_oversubscribed(two, 1, 3));
  const CoresGiven bound{.machine = 8, .allowed = 2, .quota = {}};
  EXPECT_FALSE(is_oversubscribed(bound, 4, 2));
  EXPECT_TRUE(is_oversubscribed(bound, 1, 3));
  const CoresGiven limited{.machine = 8, .allowed = 8, .quota = {2, "/a"}};
  EXPECT_FALSE(is_oversubscribed(limited, 1, 2));
  EXPECT_TRUE(is_oversubscribed(limited, 2, 2));
}

RankThreads rank(uint64_t host, int threads, uint64_t mask, int machine = 4, double quota = 0) {
  RankThreads r;
  r.host = host;
  r.threads = threads;
  r.machine = machine;
  r.quota = quota;
  r.mask[0] = mask;
  return r;
}

TEST(ThreadAdvice, RanksOfAHostAreTakenTogether) {
  const RankThreads ranks[] = {rank(7, 2, 0b0011), rank(9, 4, 0b1111), rank(7, 1, 0b0110)};
  const auto hosts = host_threads(ranks);
  ASSERT_EQ(hosts.size(), 2u);
  EXPECT_EQ(hosts[0].num_ranks, 2);
  EXPECT_EQ(hosts[0].threads, 3);
  EXPECT_EQ(hosts[0].allowed, 3);  // cores that both may use count once
  EXPECT_EQ(hosts[0].first_rank, 0);
  EXPECT_EQ(hosts[1].num_ranks, 1);
  EXPECT_EQ(hosts[1].threads, 4);
  EXPECT_EQ(hosts[1].first_rank, 1);
  EXPECT_EQ(thread_warning(hosts), "");
}

TEST(ThreadAdvice, AMaskHasMoreThanOneWord) {
  RankThreads wide = rank(1, 4, 0b1);
  wide.mask[15] = 0b111;
  EXPECT_EQ(host_threads({&wide, 1})[0].allowed, 4);
}

TEST(ThreadAdvice, TheWarningHasTheNumbersAndWhatToSet) {
  const RankThreads ranks[] = {rank(7, 2, 0b11, 2), rank(7, 2, 0b11, 2)};
  EXPECT_EQ(
      thread_warning(host_threads(ranks)),
      "2 ranks of the host of rank 0 use 4 threads, but it has 2 cores: cores are oversubscribed and steps "
      "are slower. --run.threads 1 fits");
}

TEST(ThreadAdvice, TheWarningNamesTheLimitThatBinds) {
  const RankThreads bound[] = {rank(7, 3, 0b11, 8)};
  EXPECT_THAT(thread_warning(host_threads(bound)),
              AllOf(HasSubstr("1 rank of"), HasSubstr("3 threads, but they may use 2 cores of its 8"),
                    HasSubstr("--run.threads 2 fits, or bind")));
  const RankThreads limited[] = {rank(7, 3, 0b1111, 4, 2.5)};
  EXPECT_THAT(thread_warning(host_threads(limited)),
              AllOf(HasSubstr("3 threads, but its control group allows 2.5 cores"),
                    HasSubstr("--run.threads 2 fits")));
  const RankThreads three[] = {rank(7, 1, 0b11, 2), rank(7, 1, 0b11, 2), rank(7, 1, 0b11, 2)};
  EXPECT_THAT(thread_warning(host_threads(three)), HasSubstr("Start at most 2 with --run.threads 1"));
}

TEST(ThreadAdvice, OfManyHostsTheFirstIsNamed) {
  const RankThreads ranks[] = {rank(1, 4, 0b1111), rank(2, 5, 0b1111), rank(3, 5, 0b1111),
                               rank(4, 6, 0b1111)};
  EXPECT_THAT(thread_warning(host_threads(ranks)),
              AllOf(HasSubstr("the host of rank 1"), HasSubstr("2 other hosts are oversubscribed too")));
}

}  // namespace
}  // namespace trireme::launch
