// The scripts and styles that pages carry: files at build time, texts in the program (cmake/assets.cmake).
#pragma once

#include <string_view>

namespace trireme::launch {

std::string_view dygraphs_script();
std::string_view dygraphs_style();
/// What Debian's package states about it, as its licence wants.
std::string_view dygraphs_licence();
std::string_view page_script();  ///< launch/page/page.js
std::string_view page_style();   ///< launch/page/page.css

}  // namespace trireme::launch
