// The keys of one architecture in a GGUF file's metadata: typed, and which of them nobody asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/gguf/gguf_value.h"

namespace trireme {

class GgufKeys {
 public:
  /// `path` is what messages name, `metadata` outlives this; keys are given without "`architecture`.".
  GgufKeys(std::string path, const GgufMetadata& metadata, std::string_view architecture);

  // The value; nothing where the key is absent. UserError (bad_input) naming file, key and value for another
  // type, and for numbers out of range.
  std::optional<int64_t> integer(std::string_view key);  ///< 0 to 2^40; of equal elements where it is a list
  std::optional<double> real(std::string_view key);      ///< finite; an f32 as its shortest decimal
  std::optional<std::string> text(std::string_view key);
  std::optional<bool> flag(std::string_view key);
  /// A whole number that stands alone; nothing for a list.
  std::optional<int64_t> period(std::string_view key);
  /// One flag a block: of a list of flags or numbers.
  std::optional<std::vector<bool>> flags(std::string_view key);
  /// As above where the key must be there.
  int64_t need_integer(std::string_view key);
  double need_real(std::string_view key);
  /// Passes over a key that changes nothing.
  void ignore(std::string_view key) { (void)find(key); }
  bool has(std::string_view key) { return find(key) != nullptr; }

  /// UserError (bad_input) naming the key with its value: `why`.
  [[noreturn]] void refuse(std::string_view key, std::string_view why);
  /// Refuses keys of the architecture that none of the above asked for.
  void refuse_unknown();

  const std::string& path() const { return path_; }

 private:
  const GgufValue* find(std::string_view key);

  std::string path_;
  const GgufMetadata& metadata_;
  std::string prefix_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace trireme
