#include "launch/generate/conversation.h"

#include <array>
#include <csignal>

#include <poll.h>
#include <unistd.h>

#include "launch/checkpoint/agreed.h"
#include "launch/process/stop_request.h"
#include "runtime/base/error.h"
#include "runtime/comm/agreed_end.h"

namespace trireme::launch {

namespace {

void print(std::FILE* out, const std::string& text) {
  std::fputs(text.c_str(), out);
  std::fflush(out);
}

/// SIGINT is for the answer alone, and forgotten then; what ends the program stays.
int64_t end_of_answer(std::FILE* out) {
  if (std::ferror(out) != 0) return kOutputLost;
  const int signal = StopRequest::signal();
  if (signal == SIGINT) StopRequest::forget();
  return signal;
}

class Conversation {
 public:
  Conversation(const GenerateArguments& arguments, const GenerationInputs& inputs, std::FILE* out)
      : arguments_(arguments), inputs_(inputs), out_(out), shows_prompt_(::isatty(STDIN_FILENO) == 1) {
    messages_ = nlohmann::ordered_json::array();
    if (!arguments.system.empty()) messages_.push_back(chat_message("system", arguments.system));
  }

  /// The next request; nothing at the end.
  std::optional<TextRequest> next() {
    std::optional<std::string> line;
    do {
      if (shows_prompt_) print(out_, "> ");
      line = lines_.next();
    } while (line && line->find_first_not_of(" \t\r") == std::string::npos);
    if (!line) return std::nullopt;
    messages_.push_back(chat_message("user", *line));
    Prompt prompt;
    prompt.messages = messages_;
    prompt.options = arguments_.text;
    prompt.where = fmt::format("message {}", ++num_lines_);
    return request_of(prompt, inputs_.rules);
  }

  void piece(const std::string& text) {
    if (!arguments_.is_json) print(out_, shown(text, out_));
  }

  void add(const Answer& answer) {
    messages_.push_back(chat_message("assistant", answer.text()));
    print(out_, arguments_.is_json ? line_of(answer.json(arguments_.has_logprobs))
                                   : std::string(shows_prompt_ ? "\n\n" : "\n"));
  }

 private:
  const GenerateArguments& arguments_;
  const GenerationInputs& inputs_;
  std::FILE* out_;
  bool shows_prompt_;
  LineReader lines_{STDIN_FILENO};
  nlohmann::ordered_json messages_;
  int64_t num_lines_ = 0;
};

}  // namespace

std::optional<std::string> LineReader::next() {
  while (true) {
    const size_t end = read_.find('\n');
    if (end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    if (is_end_ && !read_.empty()) return std::exchange(read_, {});
    if (is_end_ || !fill()) return std::nullopt;
  }
}

bool LineReader::fill() {
  constexpr int kMilliseconds = 100;
  pollfd waited{descriptor_, POLLIN, 0};
  while (StopRequest::signal() == 0) {
    if (::poll(&waited, 1, kMilliseconds) <= 0) continue;
    std::array<char, 4096> bytes;
    const ssize_t count = ::read(descriptor_, bytes.data(), bytes.size());
    if (count > 0) read_.append(bytes.data(), static_cast<size_t>(count));
    is_end_ = count <= 0;
    return true;
  }
  return false;
}

void converse(Communicator& world, const GenerateArguments& arguments, const GenerationInputs& inputs,
              TextGenerator& generator, std::FILE* out) {
  const bool is_main = world.rank() == 0;
  std::optional<Conversation> conversation;
  if (is_main) conversation.emplace(arguments, inputs, out);
  int64_t signal = 0;
  while (signal == 0 || signal == SIGINT) {
    SharedRequests own;
    std::vector<Answer> answers;
    together(world, [&] {
      if (!is_main) return;
      std::optional<TextRequest> request = conversation->next();
      own.is_end = !request;
      if (!request) return;
      own.requests.push_back(request->generation);
      answers.emplace_back(std::move(*request), inputs.tokenizer.get());
    });
    const SharedRequests shared = share(world, own);
    if (shared.is_end) {
      signal = share_number(world, is_main ? StopRequest::signal() : 0);
      break;
    }
    signal = generator.run(
        shared.requests, answers, [out] { return end_of_answer(out); },
        [&](size_t, const std::string& piece) { conversation->piece(piece); });
    if (is_main) conversation->add(answers.front());
  }
  if (signal != 0 && signal != kOutputLost)
    throw AgreedEnd(exit_code_of_signal(static_cast<int>(signal)),
                    fmt::format("ended by {}", signal_name(static_cast<int>(signal))));
}

}  // namespace trireme::launch
