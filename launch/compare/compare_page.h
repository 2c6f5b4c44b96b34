// A comparison as a page.
#pragma once

#include <string>

#include "launch/compare/comparison.h"

namespace trireme::launch {

/// A self-contained HTML document: verdicts, options that differ, curves of loss and step time.
std::string comparison_page(const Comparison& comparison);

}  // namespace trireme::launch
