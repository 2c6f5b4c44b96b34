// Files with what is known of a rank at its end.
#pragma once

#include <string>

#include "runtime/watch/rank_report.h"

namespace trireme::watch {

/// Writes DIRECTORY/NAME, and the folder that it lies in: JSON with the error (where there is one), the
/// rank's place in its work, the last calls of each communicator, and stacks. False where there is no
/// directory, or it cannot be written: the screen has the rest.
bool write_report_file(const std::string& directory, const std::string& name, const RankReport& report,
                       const std::string& error) noexcept;

}  // namespace trireme::watch
