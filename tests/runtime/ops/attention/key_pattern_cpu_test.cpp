#include "runtime/ops/attention/key_pattern.h"

#include <gtest/gtest.h>

#include "tests/runtime/ops/attention/drawn_patterns.h"

namespace trireme::ops {

namespace {

using test::WindowedPattern;

// The definition, word for word.
bool is_seen(const WindowedPattern& w, int64_t i, int64_t j) {
  const KeyPattern& p = w.keys;
  if (j > i || j < 0) return false;
  if (!p) return w.window == 0 || i - j < w.window;
  bool seen = i == j || (w.window > 0 && i - j < w.window) || j < p.sinks;
  for (int64_t k = 0; p.stride > 0 && (p.stride_keys == 0 || k <= p.stride_keys) && i - k * p.stride >= 0;
       ++k)
    seen |= i - k * p.stride == j;
  if (p.block > 0) {
    const int64_t mine = i / p.block, its = j / p.block;
    seen |= mine == its;
    seen |= (p.reach == 0 || its >= mine - p.reach) && j >= (its + 1) * p.block - p.summary;
  }
  for (int64_t g = 0; g < p.num_globals; ++g) {
    const int32_t place = p.globals[static_cast<size_t>(g)];
    seen |= place == i || place == j;
  }
  return seen;
}

std::vector<WindowedPattern> all_patterns(std::mt19937& random, int drawn) {
  std::vector<WindowedPattern> all = test::patterns_of_each_kind();
  all.push_back({"full", 0, {}});
  all.push_back({"window", 7, {}});
  for (int i = 0; i < drawn; ++i) all.push_back(test::drawn_pattern(random, 70));
  return all;
}

TEST(KeyPattern, SeesMasksAndCountsAreTheDefinition) {
  std::mt19937 random(1);
  for (const WindowedPattern& w : all_patterns(random, 40)) {
    SCOPED_TRACE(w.name);
    EXPECT_EQ(why_not(w.keys), "");
    for (int64_t i = 0; i < 90; ++i) {
      const int64_t begin = static_cast<int64_t>(random() % 90) - 10;
      const int64_t end = begin + static_cast<int64_t>(random() % 70);
      const int64_t first = static_cast<int64_t>(random() % 150) - 75;
      const uint64_t mask = seen_mask(w.keys, w.window, i, first);
      int64_t count = 0;
      for (int64_t j = -75; j < 140; ++j) {
        const bool seen = is_seen(w, i, j);
        ASSERT_EQ(sees(w.keys, w.window, i, j), seen) << i << " " << j;
        if (j >= begin && j < end) count += seen ? 1 : 0;
        if (j >= first && j < first + 64) {
          ASSERT_EQ((mask >> (j - first) & 1) == 1, seen) << i << " " << j << " from " << first;
        }
      }
      ASSERT_EQ(count_seen(w.keys, w.window, i, begin, end), count) << i << " " << begin << " " << end;
    }
  }
}

TEST(KeyPattern, NextPlacesAreExact) {
  std::mt19937 random(2);
  for (const WindowedPattern& w : all_patterns(random, 40)) {
    SCOPED_TRACE(w.name);
    for (int n = 0; n < 60; ++n) {
      const int64_t a = static_cast<int64_t>(random() % 80), b = a + static_cast<int64_t>(random() % 20);
      const int64_t from = static_cast<int64_t>(random() % 110) - 5;
      const auto any = [&](int64_t other, bool is_key) {
        for (int64_t x = a; x <= b; ++x) {
          if (is_key ? is_seen(w, x, other) : is_seen(w, other, x)) return true;
        }
        return false;
      };
      int64_t key = from, query = from;
      while (key <= b && !any(key, true)) ++key;
      while (query < 400 && !any(query, false)) ++query;
      ASSERT_EQ(next_seen(w.keys, w.window, a, b, from), key <= b ? key : kNoPlace)
          << a << " " << b << " " << from;
      ASSERT_EQ(next_seeing(w.keys, w.window, a, b, from), query < 400 ? query : kNoPlace)
          << a << " " << b << " " << from;
    }
  }
}

// Tiles by tile of what there is, documents and pieces of rows among them.
TEST(KeyPattern, TilesAreThoseThatAreSeenAndNoOthers) {
  std::mt19937 random(3);
  for (const WindowedPattern& w : all_patterns(random, 60)) {
    SCOPED_TRACE(w.name);
    KeyPlaces places{w.keys, w.window};
    places.num_queries = 1 + static_cast<int64_t>(random() % 90);
    places.num_keys = 1 + static_cast<int64_t>(random() % 120);
    places.key_place = static_cast<int64_t>(random() % 2 * (random() % 40));
    places.query_place = static_cast<int64_t>(random() % 60);
    const auto first =
        test::drawn_documents(random, places.query_place / (1 + static_cast<int64_t>(random() % 3)),
                              places.query_place, places.num_queries, 12);
    if (random() % 2 == 0) places.first_key = first.data();
    const int64_t size = int64_t{1} << random() % 5, begin = static_cast<int64_t>(random() % 20);
    const int64_t end = begin + 1 + static_cast<int64_t>(random() % 40);
    std::set<int64_t> keys, queries;
    for (int64_t i = 0; i < places.num_queries; ++i) {
      const uint64_t mask = places.mask_of(i, begin);
      for (int64_t j = 0; j < places.num_keys; ++j) {
        const bool seen = places.sees_key(i, j);
        if (j >= begin && j < begin + 64) {
          ASSERT_EQ((mask >> (j - begin) & 1) == 1, seen);
        }
        if (!seen) continue;
        if (begin <= i && i < end) keys.insert(j / size * size);
        if (begin <= j && j < end) queries.insert(i / size * size);
      }
    }
    SeenTiles seen(places, begin, end, size);
    for (const int64_t tile : keys) ASSERT_EQ(seen.next(), tile);
    ASSERT_EQ(seen.next(), kNoPlace);
    SeeingTiles seeing(places, begin, end, size);
    for (const int64_t tile : queries) ASSERT_EQ(seeing.next(), tile);
    ASSERT_EQ(seeing.next(), kNoPlace);
    const int64_t rows = std::min(end, places.num_queries) - begin;
    if (rows > 0) {
      const int64_t most = most_groups_seen(w.keys, w.window, rows, places.num_keys, size);
      EXPECT_LE(std::ssize(keys), most);
    }
  }
}

TEST(KeyPattern, SaysWhatIsWrong) {
  const auto expect = [](const KeyPattern& p, const std::string& part) {
    EXPECT_NE(why_not(p).find(part), std::string::npos) << why_not(p);
  };
  expect({.sinks = -1}, "-1 is no number from 0");
  expect({.stride = KeyPattern::kMost + 1}, "is no number");
  expect({.stride_keys = 3}, "3 keys of a stride of 0");
  expect({.block = 4, .summary = 5}, "a summary of 5 places of blocks of 4");
  expect({.block = 4, .reach = 2}, "a reach of 2 blocks without a summary");
  expect({.num_globals = 2, .globals = {7, 7}}, "a global token at 7: places ascend");
  expect({.num_globals = 17}, "17 global tokens: at most 16");
  expect({.num_globals = 1, .globals = {1, 2}}, "a global token at 2 behind the 1 that count");
}

}  // namespace

}  // namespace trireme::ops
