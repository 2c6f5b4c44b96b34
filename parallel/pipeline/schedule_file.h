// Pipeline schedules as text files, written by hand or by another program.
//
//   # 1F1B over two stages, three micro-batches
//   F0 F1 B0 F2 B1 B2
//   F0 B0 F1 B1 F2 B2
//
// One line per stage, from stage 0; blanks between the tokens; '#' begins a comment, lines without a token do
// not count. F3 is the forward of micro-batch 3 on chunk 0, F3.1 on chunk 1. B is the whole backward; in a
// file with a W it is the input gradient and W the weight gradient (BW: both at once). Sends and receives are
// not written: they follow from the order (derive_transfers). The numbers of micro-batches and chunks are
// those that appear.
#pragma once

#include <string>

#include "parallel/pipeline/schedule.h"

namespace trireme {

/// What a schedule's file says, for as long as a plan asks for it.
struct ScheduleFile {
  Schedule schedule;
  std::string error;  ///< why it is no schedule that can be run; empty: it is proved (check_schedule())
};

/// Where the spec names a file that is not read yet, reads and proves it, once and for all copies of the
/// spec; everything after that depends on memory alone. Errors of the file are kept, not thrown.
void read_schedule_of(ScheduleSpec& spec);

/// UserError(bad_input) naming file, line and token of the first thing that is no schedule. What can be read
/// is not yet proved: see check_schedule(). The kind is "file".
Schedule read_schedule(const std::string& path);
/// The same from text; `name` stands for the path in errors.
Schedule parse_schedule(const std::string& text, const std::string& name);

std::string schedule_text(const Schedule& schedule);
/// Errors as write_file_atomically().
void write_schedule(const Schedule& schedule, const std::string& path);

}  // namespace trireme
