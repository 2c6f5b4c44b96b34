// Compiled by tests/fuzz/run.sh: with TRIREME_FUZZ_CASE a fuzzer of that case, without a program that writes
// the seeds of all cases below a folder.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "launch/process/build_info.h"

#include "tests/fuzz/fuzz_cases.h"
#include "tests/fuzz/request_case.h"

// What the build system says elsewhere.
namespace trireme::launch {
BuildInfo build_info() { return {"0", "", {}}; }
}  // namespace trireme::launch

// Those of formats, and of what stands in the program itself.
static std::vector<trireme::test::FuzzCase> all_cases() {
  std::vector<trireme::test::FuzzCase> cases = trireme::test::fuzz_cases();
  cases.push_back({"request", trireme::test::run_request, trireme::test::request_seeds()});
  return cases;
}

#ifdef TRIREME_FUZZ_CASE

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto run = [] {
    for (const auto& fuzz_case : all_cases()) {
      if (fuzz_case.name == TRIREME_FUZZ_CASE) return fuzz_case.run;
    }
    __builtin_trap();
  }();
  run({reinterpret_cast<const char*>(data), size});
  return 0;
}

#else

int main(int, char** arguments) {
  for (const auto& fuzz_case : all_cases()) {
    const std::filesystem::path folder = std::filesystem::path(arguments[1]) / fuzz_case.name;
    std::filesystem::create_directories(folder);
    for (size_t i = 0; i < fuzz_case.seeds.size(); ++i)
      std::ofstream(folder / ("seed-" + std::to_string(i)), std::ios::binary) << fuzz_case.seeds[i];
  }
}

#endif
