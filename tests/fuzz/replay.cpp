#include "tests/fuzz/replay.h"

#include <gtest/gtest.h>

#include "runtime/base/philox.h"

#include "tests/support/tier.h"

namespace trireme::test {
namespace {

/// Input number `number` made of the seeds: some bytes changed, cut, doubled or taken from another seed.
std::string changed(const std::vector<std::string>& seeds, uint64_t number) {
  uint64_t counter = 0;
  const auto draw = [&](size_t limit) {
    return philox4x32(number, counter++, 0)[0] % std::max<size_t>(limit, 1);
  };
  std::string text = seeds[draw(seeds.size())];
  for (size_t i = 0, times = 1 + draw(4); i < times; ++i) {
    const size_t at = draw(text.size());
    const std::string& other = seeds[draw(seeds.size())];
    switch (draw(5)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(draw(256));
        break;
      case 1:
        text.resize(at);
        break;
      case 2:
        text.insert(at, text.substr(at, draw(40)));
        break;
      case 3:
        text.replace(at, draw(20), other.substr(draw(other.size()), draw(40)));
        break;
      default:
        for (size_t p = text.find_first_of("0123456789", at); p != std::string::npos; p = std::string::npos)
          text.replace(p, 1, std::to_string(draw(1u << 31)));
    }
  }
  return text;
}

}  // namespace

void expect_read_or_refused(const FuzzCase& fuzz_case) {
  SCOPED_TRACE(fuzz_case.name);
  const uint64_t num = test::whole_tier() ? 200'000 : 3'000;
  size_t read = 0;
  for (const std::string& seed : fuzz_case.seeds) read += fuzz_case.run(seed) ? 1 : 0;
  EXPECT_TRUE(fuzz_case.run(fuzz_case.seeds.front())) << "the first seed is a good file";
  EXPECT_LT(read, fuzz_case.seeds.size());
  for (uint64_t i = 0; i < num; ++i)
    read += fuzz_case.run(changed(fuzz_case.seeds, i + test::test_seed())) ? 1 : 0;
  EXPECT_GT(read, 10u);
}

}  // namespace trireme::test
