// Texts and numbers as HTML and JSON.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace trireme::launch {

/// `text` for HTML, also between quotes. Control characters and bytes that are no UTF-8 are shown as \xHH.
std::string html_text(std::string_view text);

/// A JSON string that cannot end a <script> element: '<' is \u003c. Otherwise as html_text() shows it.
std::string json_text(std::string_view text);
std::string json_texts(std::span<const std::string> texts);

/// The numbers with at most `digits` significant ones; what is not finite is null.
std::string json_numbers(std::span<const double> numbers, int digits = 7);

}  // namespace trireme::launch
