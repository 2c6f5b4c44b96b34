// What a client of the server sends.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::test {

/// Whether `input` begins with a request; ends the program where what is read depends on the pieces in which
/// it arrives, or goes beyond the limits.
bool run_http(std::string_view input);
std::vector<std::string> http_seeds();

}  // namespace trireme::test
