#include "launch/checkpoint/finished_run.h"

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "runtime/base/error.h"
#include "runtime/io/files/durable_file.h"
#include "runtime/io/files/file.h"

namespace trireme::launch {

namespace {

std::string mark_path(const std::string& directory) { return directory + "/finished"; }

}  // namespace

void mark_finished(const std::string& run_directory, int64_t steps) {
  FileCalls calls;
  replace_file(calls, mark_path(run_directory), fmt::format("{} steps\n", steps));
}

int64_t finished_steps(const std::string& run_directory) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(mark_path(run_directory), error)) return -1;
  const std::string words = read_text_file(mark_path(run_directory));
  char* end = nullptr;
  const auto steps = std::strtoll(words.c_str(), &end, 10);
  return std::string(end) == " steps\n" ? steps : -1;
}

void remove_finished_mark(const std::string& run_directory) {
  FileCalls calls;
  remove_file(calls, mark_path(run_directory));
}

}  // namespace trireme::launch
