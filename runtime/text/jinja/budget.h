// What a template may use, so that none hangs or fills the memory, and the error of all helpers.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

namespace trireme::jinja {

/// An error whose place the evaluator knows.
struct TemplateError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw TemplateError(fmt::format(format, std::forward<Args>(args)...));
}

struct Limits {
  int64_t steps = 50'000'000;        ///< expressions, statements, elements looked at
  int64_t bytes = int64_t{1} << 30;  ///< of all strings and lists that are made on the way
  int64_t output_bytes = int64_t{256} << 20;
  int nesting = 400;  ///< of expressions, statements and calls of macros
};

class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  void step(int64_t count = 1) {
    if ((steps_ += count) > limits_.steps) fail("the template takes more than {} steps", limits_.steps);
  }
  void bytes(int64_t count) {
    if (count > limits_.bytes || (bytes_ += count) > limits_.bytes) {
      fail("the template makes more than {} bytes of text", limits_.bytes);
    }
  }
  void output(int64_t size) const {
    if (size > limits_.output_bytes) fail("the output is longer than {} bytes", limits_.output_bytes);
  }

  /// Nesting while it lives.
  class Level {
   public:
    explicit Level(Budget& budget) : budget_(budget) {
      if (budget_.level_ >= budget_.limits_.nesting)
        fail("nested more than {} deep", budget_.limits_.nesting);
      ++budget_.level_;
    }
    ~Level() { --budget_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Budget& budget_;
  };

 private:
  Limits limits_;
  int64_t steps_ = 0, bytes_ = 0;
  int level_ = 0;
};

}  // namespace trireme::jinja
