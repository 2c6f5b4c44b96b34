// Runs to be verified, drawn at random.
#pragma once

#include <cstdint>

#include "launch/config/run_config.h"

namespace trireme::test {

/// A layout of draw_layout() with a precision, a learning rate from the usual one to fifty times as much, and
/// two to five steps.
launch::RunConfig draw_run(uint64_t seed);

/// All that was drawn, in a line.
std::string text_of(const launch::RunConfig& config);

}  // namespace trireme::test
