// An examination as a table, and as JSON.
#pragma once

#include <string>

#include "launch/doctor/doctor.h"

namespace trireme::launch {

/// A line a finding with its verdict, its remedy below it, and a last line that counts. Nothing that would
/// move a cursor.
std::string doctor_table(const Examination& found);

/// One object. "version" counts changes after which readers have to look again: 1. `program`: build_line().
std::string doctor_json(const Examination& found, const std::string& program);

}  // namespace trireme::launch
