// The file of a trace, as the first rank writes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/io/files/atomic_file.h"

namespace trireme::launch {

/// An object with "traceEvents", which grow piece by piece, "metadata" and more. Errors are kept, and not
/// thrown: other ranks still send.
class TraceFile {
 public:
  explicit TraceFile(const std::string& path) noexcept;

  /// Events, each followed by ",\n".
  void add(std::string_view events) noexcept;
  /// The last events were added: `members` of the object follow. The file is there when it returns.
  void finish(const nlohmann::ordered_json& members) noexcept;
  /// Empty: none.
  const std::string& failure() const { return failure_; }

 private:
  template <class Do>
  void guarded(const Do& action) noexcept;

  std::optional<AtomicFileWriter> file_;
  std::string failure_;
};

}  // namespace trireme::launch
