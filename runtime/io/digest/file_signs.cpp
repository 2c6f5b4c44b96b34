#include "runtime/io/digest/file_signs.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include <nlohmann/json.hpp>

namespace trireme {
namespace {

using namespace std::string_view_literals;

struct Signature {
  size_t offset;
  std::string_view bytes, name;
};

constexpr Signature kSignatures[] = {
    {0, "\x1F\x8B\x08"sv, "gzip (compressed)"},
    {0, "\x28\xB5\x2F\xFD"sv, "zstd (compressed)"},
    {0, "\xFD\x37zXZ\0"sv, "xz (compressed)"},
    {0, "\x5D\0\0\x80\0"sv, "lzma (compressed)"},
    {0, "\x04\x22\x4D\x18"sv, "lz4 (compressed)"},
    {0, "\x02\x21\x4C\x18"sv, "lz4 (compressed)"},
    {0, "\xFF\x06\0\0sNaPpY"sv, "snappy (compressed)"},
    {0, "LZIP\x01"sv, "lzip (compressed)"},
    {0, "\x89LZO\0\r\n\x1A\n"sv, "lzop (compressed)"},
    {0, "\x1F\x9D\x90"sv, "compress (.Z, compressed)"},
    {0, "PK\x03\x04"sv, "a zip archive (also .npz and PyTorch's .pt)"},
    {0, "PK\x05\x06"sv, "an empty zip archive"},
    {0, "7z\xBC\xAF\x27\x1C"sv, "a 7z archive"},
    {0, "Rar!\x1A\x07"sv, "a rar archive"},
    {257, "ustar"sv, "a tar archive"},
    {0, "PAR1"sv, "Parquet"},
    {0, "ARROW1"sv, "Arrow"},
    {0, "\xFF\xFF\xFF\xFF\x10"sv, "an Arrow stream"},
    {0, "\x93NUMPY"sv, "NumPy (.npy)"},
    {0, "\x89HDF\r\n\x1A\n"sv, "HDF5"},
    {0, "SQLite format 3\0"sv, "SQLite"},
    {0, "\x80\x02}"sv, "a Python pickle"},
    {0, "\x80\x02]"sv, "a Python pickle"},
    {0, "\x80\x02\x8A\x0Al"sv, "a Python pickle (PyTorch)"},
    {0, "\x80\x03}"sv, "a Python pickle"},
    {0, "\x80\x03]"sv, "a Python pickle"},
    {0, "\x80\x04\x95"sv, "a Python pickle"},
    {0, "\x80\x05\x95"sv, "a Python pickle"},
    {0, "GGUF"sv, "GGUF"},
    {0,
     "\x7F"
     "ELF"sv,
     "ELF (a program or library)"},
    {0, "\xCF\xFA\xED\xFE"sv, "Mach-O (a program or library)"},
    {0, "MZ\x90\0"sv, "a Windows program"},
    {0, "!<arch>\n"sv, "an ar archive (a static library)"},
    {0, "\0asm\x01"sv, "WebAssembly"},
    {0, "%PDF-"sv, "PDF"},
    {0, "\x89PNG\r\n\x1A\n"sv, "PNG"},
    {0, "\xFF\xD8\xFF"sv, "JPEG"},
    {0, "GIF8"sv, "GIF"},
    {0, "OggS\0"sv, "Ogg"},
    {0, "fLaC\0"sv, "FLAC"},
    {0, "version https://git-lfs"sv, "a pointer of Git LFS, which was not followed (git lfs pull)"},
    {0, "MMIDIDX\0\0"sv, "the index (.idx) of a Megatron data set"},
};

constexpr size_t kSampleBytes = size_t{64} << 10;

bool is_bzip2(std::string_view bytes) {
  return bytes.size() >= 10 && bytes.starts_with("BZh") && bytes[3] >= '1' && bytes[3] <= '9' &&
         (bytes.substr(4, 6) == "1AY&SY"sv || bytes.substr(4, 6) == "\x17\x72\x45\x38\x50\x90"sv);
}

bool is_riff(std::string_view bytes) {
  return bytes.size() >= 12 && bytes.starts_with("RIFF") &&
         (bytes.substr(8, 4) == "WAVE" || bytes.substr(8, 4) == "AVI " || bytes.substr(8, 4) == "WEBP");
}

// Eight bytes with the length of a JSON header, and its beginning.
bool is_safetensors(std::string_view bytes) {
  if (bytes.size() < 10 || !bytes.substr(8).starts_with("{\"")) return false;
  uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof length);
  return length <= bytes.size() - 8;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 ? std::string_view("\t\n\r\f\x1b").find(c) == std::string_view::npos : byte == 0x7F;
}

std::string_view without_mark(std::string_view bytes) {
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  return bytes.substr(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
}

}  // namespace

std::string_view signature_of(std::string_view bytes) {
  for (const auto& [offset, magic, name] : kSignatures) {
    if (bytes.size() >= offset + magic.size() && bytes.substr(offset, magic.size()) == magic) return name;
  }
  if (is_bzip2(bytes)) return "bzip2 (compressed)";
  if (is_riff(bytes)) return "RIFF (sound or pictures)";
  if (is_safetensors(bytes)) return "safetensors (weights)";
  // A zstd file may begin with a frame to be skipped.
  if (bytes.size() >= 4 && (static_cast<uint8_t>(bytes[0]) & 0xF0) == 0x50 &&
      bytes.substr(1, 3) == "\x2A\x4D\x18"sv)
    return "zstd (compressed)";
  if (bytes.starts_with("\xFF\xFE\0\0"sv) || bytes.starts_with("\0\0\xFE\xFF"sv)) return "text in UTF-32";
  if (bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF")) return "text in UTF-16";
  return {};
}

std::string sample_of(std::string_view bytes) {
  if (bytes.size() <= 3 * kSampleBytes) return std::string(bytes);
  const auto part = [&](size_t begin) { return bytes.substr(begin / 8 * 8, kSampleBytes); };
  std::string sample(part(0));
  sample += part(bytes.size() / 2);
  sample += part(bytes.size() - kSampleBytes);
  return sample;
}

bool looks_like_text(std::string_view bytes) {
  const std::string sample = sample_of(bytes);
  // 16-bit ids have high bytes: of all ids below 8192, and so of most that a text has, that is a control
  // character.
  return !sample.empty() &&
         static_cast<size_t>(std::ranges::count_if(sample, is_control)) * 32 <= sample.size();
}

bool begins_like_json(std::string_view bytes) {
  const std::string_view text = without_mark(bytes.substr(0, kSampleBytes));
  if (text.empty() || (text[0] != '{' && text[0] != '[')) return false;
  const std::string_view rest = without_mark(text.substr(1));
  if (text[0] == '[') return rest.starts_with('{') || rest.starts_with('"');
  if (!rest.starts_with('"')) return false;
  const size_t end = rest.find('"', 1);
  return end != std::string_view::npos && without_mark(rest.substr(end + 1)).starts_with(':');
}

bool begins_with_json_line(std::string_view bytes) {
  const std::string_view text = without_mark(bytes);
  if (!text.starts_with('{')) return false;
  const std::string_view line = text.substr(0, text.find('\n'));
  return nlohmann::json::accept(line) && line.find('}') != std::string_view::npos;
}

}  // namespace trireme
