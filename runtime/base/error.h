// Errors: a library throws one of three families; only main() turns them into an exit code.
#pragma once

#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace trireme {

/// Exit codes of the program. They are part of its interface: job scripts branch on them.
enum class ExitCode : int {
  ok = 0,
  internal = 1,      ///< a defect of the program itself
  usage = 2,         ///< options, configuration, layouts that do not fit
  bad_input = 3,     ///< a text, token, tokenizer or weight file that is wrong
  checkpoint = 4,    ///< a checkpoint that cannot be read or written
  numerics = 5,      ///< non-finite values that stopped a run
  hang = 6,          ///< a rank that did not answer in time
  resources = 7,     ///< memory, disk, devices, or the machine's libraries
  gate = 8,          ///< a compressed model that loses more than the user allows
  resumable = 75,    ///< no fault: the run ended where it can be resumed (EX_TEMPFAIL)
  no_progress = 93,  ///< restarts in succession have committed no new step: another would not either
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const noexcept { return code_; }

 private:
  ExitCode code_;
};

/// Something the user can mend: the message names the option or file and shows the values.
class UserError : public Error {
 public:
  using Error::Error;
};

/// Something the machine refused: the message keeps the library's or the kernel's own words.
class EnvironmentError : public Error {
 public:
  explicit EnvironmentError(const std::string& message, ExitCode code = ExitCode::resources)
      : Error(code, message) {}
};

/// A defect of this program (a failed TRIREME_CHECK).
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(ExitCode::internal, message) {}
};

template <class... Args>
[[noreturn]] void throw_user(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(code, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void throw_usage(fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(ExitCode::usage, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void throw_bad_input(fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(ExitCode::bad_input, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void throw_environment(fmt::format_string<Args...> format, Args&&... args) {
  throw EnvironmentError(fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace trireme

/// Throws InternalError when `condition` is false. The rest is a fmt format string and its arguments.
#define TRIREME_CHECK(condition, ...)                                                         \
  do {                                                                                        \
    if (!(condition)) [[unlikely]]                                                            \
      ::trireme::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__)); \
  } while (false)
