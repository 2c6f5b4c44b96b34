#include "launch/python/run_arguments.h"

#include "launch/cli/options/option_table.h"

namespace trireme::launch::python {

ArgumentRules config_rules() {
  return {
      .command = "train", .options = all_options(), .switches = {}, .needs_data = true, .given_by = kGivenBy};
}

RunArguments parse_config(const std::vector<std::string>& arguments, int world_size) {
  return parse_run_arguments(config_rules(), arguments, world_size);
}

}  // namespace trireme::launch::python
