// What the ranks of a job must agree on: program, configuration, and content of input files.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/cli/options/option.h"
#include "launch/commands/commands.h"
#include "launch/config/run_config.h"
#include "runtime/comm/agreement.h"

namespace trireme::launch {

/// The program's file, its version, compiler and libraries, and the MPI it runs with.
std::vector<Fact> build_facts(const RankPlace& place);

/// Every one of `options` of a complete configuration but the run directory and the threads, which ranks may
/// choose for themselves. Of files counts what they hold, not where they lie. Text and tokenizers are read by
/// rank 0 alone: where another rank cannot read its own it goes along.
std::vector<Fact> config_facts(const RunConfig& config, std::span<const Option> options);

}  // namespace trireme::launch
