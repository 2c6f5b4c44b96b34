// Bits do not depend on the number of threads: every op, with drawn shapes and options.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <regex>
#include <set>

#include <fmt/format.h>

#include "runtime/ops/op_observer.h"
#include "tests/runtime/ops/thread_cases/thread_cases.h"
#include "tests/support/folders.h"
#include "tests/support/tier.h"

namespace trireme::test {
namespace {

constexpr int kThreads[] = {1, 2, 3, 8};
constexpr size_t kWhole = 100;  // cases a kind; twice as many products

class ThreadCounts : public testing::TestWithParam<std::string> {};

TEST_P(ThreadCounts, ChangeNoBit) {
  const OpCase run = thread_cases().at(GetParam());
  const bool is_product = GetParam().starts_with("Gemm");
  std::vector<uint64_t> seeds(is_product ? 2 * kWhole : kWhole);
  std::iota(seeds.begin(), seeds.end(), test_seed() * kWhole);
  for (const uint64_t seed : sample(seeds, is_product ? 14 : 5)) {
    SCOPED_TRACE(fmt::format("case {}", seed));
    std::vector<Tensor> expected;
    for (const int num_threads : kThreads) {
      Context ctx({}, num_threads);
      const auto results = run(ctx, Draw(seed));
      if (num_threads == 1) expected = results;
      ASSERT_EQ(results.size(), expected.size());
      for (size_t i = 0; i < results.size(); ++i) {
        if (!results[i]) continue;
        ASSERT_TRUE(same_bits(results[i], expected[i]))
            << "result " << i << ", " << to_string(results[i].shape()) << " of "
            << to_string(results[i].dtype()) << ", differs with " << num_threads << " threads";
      }
    }
  }
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, run] : thread_cases()) all.push_back(name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(, ThreadCounts, testing::ValuesIn(names()),
                         [](const auto& kind) { return kind.param; });

class Names : public OpObserver {
 public:
  void begin(Context&, const OpCall& call) override { seen.insert(call.name); }
  void end(Context&) override {}
  std::set<std::string> seen;
};

// An op that a header declares is one that a case above calls.
TEST(ThreadCountCases, CallEveryOp) {
  Context ctx;
  Names names;
  ctx.observe_ops(&names);
  for (const auto& [name, run] : thread_cases()) run(ctx, Draw(1));
  size_t num_declared = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(source_folder() + "/runtime/ops")) {
    if (file.path().extension() != ".h" || file.path().filename() == "dispatch.h") continue;
    std::ifstream in(file.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    const std::regex declaration("TRIREME_OP_BODIES\\((\\w+),");
    for (std::sregex_iterator match(text.begin(), text.end(), declaration), end; match != end; ++match) {
      ++num_declared;
      EXPECT_TRUE(names.seen.contains((*match)[1])) << (*match)[1] << " of " << file.path();
    }
  }
  EXPECT_GE(num_declared, 40u);
}

}  // namespace
}  // namespace trireme::test
