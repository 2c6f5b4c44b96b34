// Oniguruma's functions, from its shared library. It is opened when the first pattern asks for it and not
// linked: its functions called regcomp and regexec would take the place of the C library's in the whole
// program.
#pragma once

#include <oniguruma.h>

namespace trireme {

struct OnigurumaLibrary {
  decltype(&onig_initialize) initialize;
  decltype(&onig_new) make;
  decltype(&onig_search) search;
  decltype(&onig_free) free;
  decltype(&onig_region_new) region_new;
  decltype(&onig_region_free) region_free;
  decltype(&onig_error_code_to_str) error_code_to_str;
  OnigEncoding utf8;
  OnigSyntaxType* syntax;  ///< Oniguruma's own

  /// The one of this process, ready for UTF-8. EnvironmentError (resources) where the system has no libonig,
  /// or one without these functions.
  static const OnigurumaLibrary& get();
};

}  // namespace trireme
