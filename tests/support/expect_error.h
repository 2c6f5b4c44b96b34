// Errors as tests look at them: the exit code, and what the message must name.
#pragma once

#include <initializer_list>
#include <string_view>

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace trireme::test {

/// Expects f() to throw an Error with this exit code whose message holds every one of `parts`.
template <class F>
void expect_error(ExitCode code, std::initializer_list<std::string_view> parts, F&& f) {
  try {
    f();
    ADD_FAILURE() << "no error was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const auto part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << "'" << part << "' is not in: " << error.what();
    }
  }
}

}  // namespace trireme::test
