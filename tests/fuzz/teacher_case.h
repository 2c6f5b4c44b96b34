// The reader of teacher's tokens on any bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::test {

/// "{...": a description; else three bytes that choose a code, and rows in it.
bool read_teacher(std::string_view input);
std::vector<std::string> teacher_seeds();

}  // namespace trireme::test
