// Layouts that are right are never rejected: drawn ones, at rates at which rounding grows.
#include <algorithm>
#include <mutex>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/verify/verify.h"
#include "runtime/comm/threads/thread_communicator.h"
#include "tests/support/drawn_run.h"
#include "tests/support/planted_faults.h"
#include "tests/support/tier.h"

namespace trireme::launch {
namespace {

VerifyReport verify_on_threads(const RunConfig& config) {
  VerifyReport first;
  run_thread_ranks(config.parallel.world_size(), [&](Communicator& world) {
    VerifyReport mine = verify_layout(world, config, {});
    if (world.rank() == 0) first = std::move(mine);
  });
  return first;
}

class DrawnVerify : public testing::TestWithParam<uint64_t> {};

TEST_P(DrawnVerify, RightLayoutsPass) {
  const RunConfig config = test::draw_run(GetParam());
  const VerifyReport report = verify_on_threads(config);
  EXPECT_THAT(report.errors, testing::IsEmpty()) << test::text_of(config);
  EXPECT_FALSE(report.steps.empty());
}

struct Finding {
  std::vector<std::string> errors, places;
};

// What is found of a fault, and where it acted.
Finding find(const RunConfig& config, const test::PlantedFault& fault) {
  Finding finding;
  std::mutex mutex;
  run_thread_ranks(config.parallel.world_size(), [&](Communicator& world) {
    test::FaultOfRank part(fault, config, world);
    VerifyReport mine = verify_layout(part.world(), config, {}, part.hooks());
    const std::lock_guard lock(mutex);
    if (world.rank() == 0) finding.errors = std::move(mine.errors);
    if (world.rank() == fault.rank) finding.places = part.places();
  });
  return finding;
}

class PlantedFaults : public testing::TestWithParam<uint64_t> {};

struct Planted {
  RunConfig run;
  test::PlantedFault fault;
};

// A fault of 16 bits is looked for in f32 first, as by the command; a scale alone, sometimes, in 16 bits too,
// where it has twice what rounding explains.
Planted plant(uint64_t seed) {
  RunConfig config = test::draw_run(seed);
  test::PlantedFault fault = test::draw_fault(config, seed);
  // In a document of one token rotary positions mean nothing.
  if (fault.kind == test::FaultKind::shifted_position) config.data.documents = DocumentsKind::attend;
  const bool is_scale =
      fault.kind >= test::FaultKind::scaled_output && fault.kind <= test::FaultKind::scaled_gradient;
  if (seed % 3 != 0 || config.train.precision == DType::f32 || !is_scale)
    return {verified_runs(config).front(), fault};
  config.parallel.gradient_dtype = DType::f32;
  config.train.master = true;
  const StepDifference clean = verify_on_threads(config).steps[static_cast<size_t>(fault.step)];
  fault.scale = 1 + 2 * clean.widest;
  fault.is_everywhere = true;
  return {config, fault};
}

TEST_P(PlantedFaults, AreFoundWhereTheyAre) {
  // One that has nothing to act on (an expert without tokens) is drawn again.
  constexpr uint64_t kNext = 1'000'000;
  Planted planted;
  Finding finding;
  for (uint64_t seed = GetParam(); finding.places.empty() && seed < GetParam() + 5 * kNext; seed += kNext) {
    planted = plant(seed);
    finding = find(planted.run, planted.fault);
  }
  const auto& [run, fault] = planted;
  const std::string text =
      fmt::format("{}; {}; {} in {}", fmt::join(finding.errors, "\n"), fmt::join(finding.places, ", "),
                  test::text_of(fault), test::text_of(run));
  ASSERT_FALSE(finding.places.empty()) << "has not acted: " << text;
  ASSERT_FALSE(finding.errors.empty()) << "is not found: " << text;
  EXPECT_THAT(finding.errors.front(), testing::StartsWith(fmt::format("step {}: ", fault.step + 1))) << text;
  const bool is_placed = std::ranges::any_of(finding.places, [&](const std::string& place) {
    return finding.errors.front().find(place) != std::string::npos;
  });
  EXPECT_TRUE(is_placed) << text;
}

std::vector<uint64_t> seeds() {
  std::vector<uint64_t> all(500);
  for (size_t i = 0; i < all.size(); ++i) all[i] = 14000 + test::test_seed() + i;
  return test::sample(all, 30);
}

std::vector<uint64_t> fault_seeds() {
  std::vector<uint64_t> all(200);
  for (size_t i = 0; i < all.size(); ++i) all[i] = 20000 + test::test_seed() + i;
  return test::sample(all, 30);
}

INSTANTIATE_TEST_SUITE_P(Drawn, PlantedFaults, testing::ValuesIn(fault_seeds()),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Drawn, DrawnVerify, testing::ValuesIn(seeds()), testing::PrintToStringParamName());

}  // namespace
}  // namespace trireme::launch
