// The conformance suite over NCCL, ranks as processes with a GPU each (or parts of one, with NCCL_HOSTID set
// to another text for each rank). tests/gpu.sh builds and runs it.
#include <fmt/format.h>

#include "runtime/comm/mpi/mpi_environment.h"
#include "runtime/comm/nccl/nccl_communicator.h"
#include "tests/runtime/comm/communicator_conformance.h"
#include "tests/runtime/comm/graph_conformance.h"
#include "tests/support/mpi_test_main.h"

namespace trireme {
namespace {

using test::ConformanceCase;

void run_on_nccl(void (*body)(Communicator&)) {
  try {
    const auto world = make_nccl_world(test::mpi_environment->make_world(), test::test_device());
    body(*world);
  } catch (const std::exception& e) {
    fmt::print(stderr, "rank {}: {}\n", test::mpi_environment->rank(), e.what());
    MpiEnvironment::abort(ExitCode::internal);
  }
}

class NcclConformance : public testing::TestWithParam<ConformanceCase> {};

TEST_P(NcclConformance, Conforms) { run_on_nccl(GetParam().body); }

INSTANTIATE_TEST_SUITE_P(All, NcclConformance, testing::ValuesIn(test::conformance_cases(false)),
                         [](const auto& test_info) { return test_info.param.name; });

/// Apart, by its name, from all that does without graphs: a fault here ends the job of its ranks.
TEST(GraphOverNccl, EachLaunchDoesWhatTheCallsDid) { run_on_nccl(test::expect_captured_operations); }

}  // namespace
}  // namespace trireme

int main(int argc, char** argv) { return trireme::test::run_mpi_tests(argc, argv); }
