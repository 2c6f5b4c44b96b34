// A conversation with a model, line by line.
#pragma once

#include <cstdio>
#include <optional>
#include <string>

#include "launch/generate/generate.h"
#include "launch/generate/inputs.h"
#include "launch/generate/text_generator.h"

namespace trireme::launch {

/// Lines of a descriptor, without its thread being held up where a signal comes.
class LineReader {
 public:
  explicit LineReader(int descriptor) : descriptor_(descriptor) {}

  /// The next line, without its end; nothing at the end of the file, or once a StopRequest has a signal.
  std::optional<std::string> next();

 private:
  bool fill();

  int descriptor_;
  std::string read_;
  bool is_end_ = false;
};

/// Each line of standard input is a message, until its end; answers go to `out` as they come. All ranks call
/// it. SIGINT ends an answer, and at a line's beginning the conversation, as other signals do anywhere
/// (AgreedEnd).
void converse(Communicator& world, const GenerateArguments& arguments, const GenerationInputs& inputs,
              TextGenerator& generator, std::FILE* out);

}  // namespace trireme::launch
