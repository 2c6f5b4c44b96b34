// The fuzzers' seeds, and changes of them that are the same in every run, without a fuzzer.
#pragma once

#include "tests/fuzz/fuzz_cases.h"

namespace trireme::test {

/// Runs the case on its seeds and on some thousand changes of them (in the whole tier 200,000): some are
/// read, some are refused, and the first seed is read.
void expect_read_or_refused(const FuzzCase& fuzz_case);

}  // namespace trireme::test
