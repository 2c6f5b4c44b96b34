// What steps that cut and train have on the page of a compression.
#pragma once

#include "launch/compress/work_directory.h"
#include "launch/page/page.h"

namespace trireme::launch {

/// Of each layer, which units went, and how much of what they did. Nothing where no step cut.
void units_on_page(Page& page, const WorkState& state);

/// The losses of each training. Nothing where no step trained.
void trainings_on_page(Page& page, const WorkState& state);

}  // namespace trireme::launch
