// What a file is by the bytes in it, so that nothing is read as what it is not.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

/// The format whose signature (magic number) `bytes`, a whole file, carries, as people call it: "gzip
/// (compressed)", "a zip archive", "ELF (a program or library)". Empty when it carries none that is known
/// here. Token files are not among them: token_format.h has those.
std::string_view signature_of(std::string_view bytes);

/// Head, middle and tail of `bytes`, some 64 KiB each, one after the other; all of it when that is less.
/// Each part begins at a multiple of 8.
std::string sample_of(std::string_view bytes);

/// Whether `bytes` look like text in some encoding of bytes: not empty, and hardly a control character in
/// their sample.
bool looks_like_text(std::string_view bytes);

/// Whether `bytes` begin as a JSON object or a list of objects or strings does.
bool begins_like_json(std::string_view bytes);

/// Whether the first line that is not blank is a JSON object by itself.
bool begins_with_json_line(std::string_view bytes);

}  // namespace trireme
