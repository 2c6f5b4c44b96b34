#include "runtime/data/tokenizer/steps/decoder.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <memory>

#include <fmt/format.h>

#include "runtime/data/tokenizer/byte_alphabet.h"
#include "runtime/data/tokenizer/steps/normalizer.h"
#include "runtime/io/json/utf8.h"

namespace trireme {
namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

std::string joined(const std::vector<std::string>& tokens) {
  std::string text;
  for (const auto& token : tokens) text += token;
  return text;
}

// The blanks that a join of words leaves and English does not have.
std::string cleaned_up(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [wanted, content] : kRules) text = replace_all(text, wanted, content);
  return text;
}

}  // namespace

std::string bytes_of_token(std::string_view token) {
  return unspell_bytes(token).value_or(std::string(token));
}

DecodeStep make_byte_level_decoder() {
  return [](std::vector<std::string>& tokens) {
    for (auto& token : tokens) token = bytes_of_token(token);
    tokens = {joined(tokens)};
  };
}

DecodeStep make_metaspace_decoder(const MetaspaceOptions& options) {
  return [options](std::vector<std::string>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool drops = i == 0 && options.prepend != PrependScheme::never;
      tokens[i] = replace_all(tokens[i], options.replacement, drops ? "" : " ");
    }
  };
}

std::optional<uint8_t> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with(">")) return std::nullopt;
  uint8_t byte = 0;
  const char* end = token.data() + 5;
  const auto [rest, error] = std::from_chars(token.data() + 3, end, byte, 16);
  return error == std::errc() && rest == end ? std::optional(byte) : std::nullopt;
}
std::string fallback_token(uint8_t byte) { return fmt::format("<0x{:02X}>", byte); }

DecodeStep make_byte_fallback_decoder() {
  return [](std::vector<std::string>& tokens) {
    std::vector<std::string> out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (!find_utf8_error(bytes)) {
        out.push_back(bytes);
      } else {
        for (size_t i = 0; i < bytes.size(); ++i) out.emplace_back(kReplacementCharacter);
      }
      bytes.clear();
    };
    for (auto& token : tokens) {
      if (const auto byte = fallback_byte(token)) {
        bytes += static_cast<char>(*byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  };
}

DecodeStep make_fuse_decoder() {
  return [](std::vector<std::string>& tokens) { tokens = {joined(tokens)}; };
}

DecodeStep make_strip_decoder(char32_t content, size_t start, size_t stop) {
  std::string one;
  append_utf8(one, content);
  return [one, start, stop](std::vector<std::string>& tokens) {
    for (auto& token : tokens) {
      std::string_view rest = token;
      for (size_t n = 0; n < start && rest.starts_with(one); ++n) rest.remove_prefix(one.size());
      for (size_t n = 0; n < stop && rest.ends_with(one); ++n) rest.remove_suffix(one.size());
      token = std::string(rest);
    }
  };
}

DecodeStep make_replace_decoder(std::string wanted, std::string content) {
  return [wanted = std::move(wanted), content = std::move(content)](std::vector<std::string>& tokens) {
    for (auto& token : tokens) token = replace_all(token, wanted, content);
  };
}
DecodeStep make_replace_decoder(Pattern wanted, std::string content) {
  auto shared = std::make_shared<const Pattern>(std::move(wanted));
  return [shared, content = std::move(content)](std::vector<std::string>& tokens) {
    for (auto& token : tokens) {
      if (!token.empty()) token = replace_matches(token, *shared, content);
    }
  };
}

DecodeStep make_wordpiece_decoder(std::string prefix, bool cleanup) {
  return [prefix = std::move(prefix), cleanup](std::vector<std::string>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      std::string& token = tokens[i];
      if (i > 0 && token.starts_with(prefix)) {
        token.erase(0, prefix.size());
      } else if (i > 0) {
        token.insert(0, " ");
      }
      if (cleanup) token = cleaned_up(std::move(token));
    }
  };
}

DecodeStep make_bpe_decoder(std::string suffix) {
  return [suffix = std::move(suffix)](std::vector<std::string>& tokens) {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
  };
}

}  // namespace trireme
