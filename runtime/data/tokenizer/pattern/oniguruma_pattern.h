// Patterns of published tokenizers are written for the engine Oniguruma; this program has PCRE2.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

/// A pattern that means to PCRE2 (with PCRE2_UTF and PCRE2_UCP) what `pattern` means to Oniguruma in its own
/// syntax: ^ and $ match at line breaks, {n,m}+ repeats, \h is a hexadecimal digit, classes may hold classes
/// and intersections (&&), scripts are scripts and not their extensions. UserError(bad_input) naming
/// construct and offset for what is not translated, and for what neither engine reads.
std::string oniguruma_to_pcre2(std::string_view pattern);

}  // namespace trireme
