// Formats numbers for people.
#pragma once

#include <cstdint>
#include <string>

namespace trireme::launch {

/// 950, "40.3k", "1.20M", "174.6B": thousands, millions, billions (10^9), trillions.
std::string short_count(double value);
/// "124,439,808".
std::string grouped(int64_t value);
/// "310 MiB", "1.25 GiB"; below 10 MiB in KiB.
std::string short_bytes(double bytes);
/// "1 rank", "2 ranks".
std::string counted(int64_t count, const char* noun);
/// "45s", "3m", "2h05m", "3d04h".
std::string short_duration(double seconds);

}  // namespace trireme::launch
