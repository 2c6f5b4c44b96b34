// A table as HTML.
#pragma once

#include <string>

namespace trireme::launch {

struct Table;

/// Checks that every row has a cell for each column.
std::string table_html(const Table& table);

}  // namespace trireme::launch
