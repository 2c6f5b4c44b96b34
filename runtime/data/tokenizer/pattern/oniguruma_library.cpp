#include "runtime/data/tokenizer/pattern/oniguruma_library.h"

#include <dlfcn.h>

#include "runtime/base/error.h"

namespace trireme {

namespace {

constexpr const char* kOnigurumaFile = "libonig.so.5";

template <class T>
void take_symbol(void* library, const char* name, T& symbol) {
  symbol = reinterpret_cast<T>(::dlsym(library, name));
  if (symbol == nullptr) throw_environment("{} has no {}: it is no Oniguruma 6.9", kOnigurumaFile, name);
}

OnigurumaLibrary open_library() {
  void* const library = ::dlopen(kOnigurumaFile, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    throw_environment(
        "this tokenizer's pattern needs Oniguruma, which cannot be opened: {} (Debian's package is libonig5)",
        ::dlerror());
  }
  OnigurumaLibrary onig{};
  take_symbol(library, "onig_initialize", onig.initialize);
  take_symbol(library, "onig_new", onig.make);
  take_symbol(library, "onig_search", onig.search);
  take_symbol(library, "onig_free", onig.free);
  take_symbol(library, "onig_region_new", onig.region_new);
  take_symbol(library, "onig_region_free", onig.region_free);
  take_symbol(library, "onig_error_code_to_str", onig.error_code_to_str);
  take_symbol(library, "OnigEncodingUTF8", onig.utf8);
  take_symbol(library, "OnigSyntaxOniguruma", onig.syntax);
  OnigEncoding encodings[] = {onig.utf8};
  const int status = onig.initialize(encodings, 1);
  TRIREME_CHECK(status == ONIG_NORMAL, "Oniguruma: {}", status);
  return onig;
}

}  // namespace

const OnigurumaLibrary& OnigurumaLibrary::get() {
  static const OnigurumaLibrary library = open_library();
  return library;
}

}  // namespace trireme
