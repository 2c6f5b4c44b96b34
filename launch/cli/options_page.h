// Generates docs/options.md.
#pragma once

#include <string>

namespace trireme::launch {

/// Every option of trireme train and verify as a page of Markdown: section by section what it takes, its
/// default, what it does, and its names in other programs.
std::string options_page();

}  // namespace trireme::launch
