// Escapes text from outside for terminal and log.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace trireme::launch {

/// `text` with every control character but tab and line feed, and every byte that is not UTF-8, as \xHH: the
/// result is UTF-8 and moves no cursor.
std::string visible(std::string_view text);

/// A message of the program: visible(), and of each line that is longer than `most` bytes the beginning and
/// the end with the number of bytes left out between them.
std::string visible_message(std::string_view text, size_t most = 1000);

}  // namespace trireme::launch
