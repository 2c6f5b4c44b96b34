// What a check of trireme doctor has found.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/enum_names.h"

namespace trireme::launch {

enum class Verdict : uint8_t {
  ok,    ///< as it should be, or without effect here
  warn,  ///< a run works, and is slower, less safe or harder to debug than it could be
  fail,  ///< a run would end, hang or compute something else
};

std::span<const EnumName<Verdict>> names_of(Verdict);

struct Finding {
  std::string check;  ///< one of check_names()
  Verdict verdict = Verdict::ok;
  std::string text;         ///< one sentence, with the figures
  std::string remedy = {};  ///< what to do; empty exactly where the verdict is OK
};

/// All checks, in the order in which they are reported.
std::span<const std::string_view> check_names();

/// The worst of them; OK of none.
Verdict worst_of(std::span<const Finding> findings);

}  // namespace trireme::launch
