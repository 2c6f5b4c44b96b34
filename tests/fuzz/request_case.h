// Requests to the server's API: bodies, and the streams that answer them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::test {

/// `input`: a letter for the page ("c" completions, "h" chat, "t" tokenize, "d" detokenize) and the body.
/// Whether it is answered; ends the program when the answer is no JSON, comes twice or not at all, or when a
/// stream put together is not the text, however it was split and stopped.
bool run_request(std::string_view input);
std::vector<std::string> request_seeds();

}  // namespace trireme::test
