// `trireme schedule`: draws and checks a pipeline schedule, and prints its bubble and peak activations.
#pragma once

#include <cstdio>
#include <string>

#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/simulate.h"

namespace trireme::launch {

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::one_f_one_b;
  int num_stages = 4, num_micro_batches = 8, num_chunks = 1;
  std::string file;  ///< read instead of made when not empty
  ActionCosts costs;
  std::string svg, write;  ///< files to write; empty: none
  bool list = false;       ///< every action, transfers included
};

/// Says all of it on `out`. A file that holds no proved schedule is a UserError(bad_input) with its errors.
void run_schedule_command(const ScheduleOptions& options, std::FILE* out);

}  // namespace trireme::launch
