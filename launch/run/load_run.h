// Loads a finished run, for programs that use its model.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "launch/config/run_config.h"

namespace trireme::launch {

/// The configuration of the run in `directory` (its config.ini), with `arguments` in place of what it says
/// ("--tp", "2"), complete for `world_size` ranks: the data-parallel degree is what the other degrees leave
/// of them, and the global batch one micro-batch a rank, which more ranks than the run had can share, unless
/// the schedule is a file, which has a number of micro-batches, or an argument says another. start.file is
/// its model.safetensors. UserError as trireme train has for its command line, which messages call `given_by`
/// where that says something, and for a directory without these files. `warnings`, where given, gets those of
/// RunArguments.
RunConfig load_run(const std::string& directory, std::span<const std::string> arguments, int world_size,
                   const std::string& given_by = "", std::vector<std::string>* warnings = nullptr);

}  // namespace trireme::launch
