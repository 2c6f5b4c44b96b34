// The keys that clients of a server have to show.
#pragma once

#include <string>
#include <vector>

namespace trireme::launch {

struct ApiKeys {
  std::vector<std::string> keys;  ///< empty: none is asked for
  std::string warning;            ///< empty: nothing to warn of
};

/// Of `file`, a key a line, or where that is empty `variable`, the value of TRIREME_API_KEY (null: not set).
/// UserError (bad_input) naming the file, for one without keys and for keys that no header can carry too; no
/// message shows a key.
ApiKeys read_api_keys(const std::string& file, const char* variable);

}  // namespace trireme::launch
