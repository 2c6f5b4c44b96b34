// The command line of trireme scale.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "launch/scale/series.h"

namespace trireme::launch {

struct ScaleArguments {
  SeriesRequest series;
  int repeat = 3;
  int64_t steps = 20, warmup = 5;  ///< measured, and before these
  std::string dir;
  int cores = 0;
  int gpus = -1;
  std::string hosts, slurm, mpirun;
  std::string launcher = "auto";
  bool dry_run = false, submit = false, allow_root = false;
};

std::string scale_help();
/// UserError (usage) with all errors, those of the options that are swept too: options of trireme train are
/// known by the option table, and values are checked by it. Options that the series sets itself are refused.
ScaleArguments parse_scale_arguments(std::span<const std::string> args);

}  // namespace trireme::launch
