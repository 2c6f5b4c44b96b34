// Patterns of sparse attention for tests: one of each kind, and drawn ones.
#pragma once

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/ops/attention/key_pattern.h"

namespace trireme::ops::test {

struct WindowedPattern {
  const char* name;
  int64_t window;
  KeyPattern keys;
};

inline std::vector<WindowedPattern> patterns_of_each_kind() {
  return {{"window and sinks", 5, {.sinks = 3}},
          {"strided", 3, {.stride = 7, .stride_keys = 3}},
          {"strided without an end", 0, {.stride = 5}},
          {"fixed", 2, {.block = 8, .summary = 2, .reach = 3}},
          {"whole blocks", 0, {.block = 6, .summary = 6, .reach = 1}},
          {"globals", 4, {.num_globals = 3, .globals = {0, 9, 30}}},
          {"all",
           6,
           {.sinks = 2,
            .stride = 11,
            .stride_keys = 2,
            .block = 9,
            .summary = 1,
            .reach = 0,
            .num_globals = 1,
            .globals = {17}}}};
}

/// With places below `places`.
inline WindowedPattern drawn_pattern(std::mt19937& random, int64_t places) {
  const auto draw = [&](int64_t most) { return static_cast<int64_t>(random() % (most + 1)); };
  WindowedPattern drawn{"drawn", draw(1) * draw(places), {}};
  KeyPattern& p = drawn.keys;
  if (draw(1) == 0) p.sinks = draw(5);
  if (draw(1) == 0) p.stride = 1 + draw(20), p.stride_keys = draw(4);
  if (draw(1) == 0) p.block = 1 + draw(20), p.summary = draw(p.block), p.reach = p.summary > 0 ? draw(3) : 0;
  if (draw(1) == 0) {
    std::set<int32_t> globals;
    for (int64_t n = draw(3); n >= 0; --n) globals.insert(static_cast<int32_t>(draw(places)));
    p.num_globals = std::ssize(globals);
    std::ranges::copy(globals, p.globals.begin());
  }
  return drawn;
}

/// First keys of documents that follow each other, the first of which began at `begin` <= place.
inline std::vector<int32_t> drawn_documents(std::mt19937& random, int64_t begin, int64_t place, int64_t n,
                                            int64_t mean) {
  std::vector<int32_t> first(static_cast<size_t>(n), static_cast<int32_t>(begin));
  for (size_t i = 1; i < first.size(); ++i) {
    const bool begins = static_cast<int64_t>(random()) % mean == 0;
    first[i] = begins ? static_cast<int32_t>(place) + static_cast<int32_t>(i) : first[i - 1];
  }
  return first;
}

}  // namespace trireme::ops::test
