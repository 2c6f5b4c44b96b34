#include "tests/launch/serve/metrics/prometheus_page.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "launch/serve/metrics/prometheus_text.h"

namespace trireme::test {

namespace {

[[noreturn]] void refuse(const std::string& line, const char* why) {
  throw std::runtime_error(fmt::format("{}: {}", why, line));
}

bool is_name(const std::string& word, const char* others) {
  const auto is_start = [&](char c) {
    return std::isalpha(c) != 0 || c == '_' || std::string_view(others).find(c) != std::string_view::npos;
  };
  if (word.empty() || !is_start(word[0])) return false;
  for (const char c : word) {
    if (!is_start(c) && std::isdigit(c) == 0) return false;
  }
  return true;
}

class Reader {
 public:
  PrometheusPage read(const std::string& text) {
    if (text.empty() || text.back() != '\n') refuse(text, "no newline at the end");
    for (size_t at = 0; at < text.size();) {
      const size_t end = text.find('\n', at);
      line_ = text.substr(at, end - at);
      at = end + 1;
      line_.starts_with("#") ? read_comment() : read_sample();
    }
    check_histograms();
    return page_;
  }

 private:
  void read_comment() {
    const bool is_help = line_.starts_with("# HELP ");
    if (!is_help && !line_.starts_with("# TYPE ")) refuse(line_, "neither HELP nor TYPE");
    const size_t space = line_.find(' ', 7);
    if (space == std::string::npos) refuse(line_, "a name alone");
    const std::string name = line_.substr(7, space - 7), rest = line_.substr(space + 1);
    if (!is_name(name, ":")) refuse(line_, "not a name");
    if (is_help) {
      if (page_.types.contains(name)) refuse(line_, "twice");
      page_.types[name] = "";
    } else {
      if (name != metric_ || !page_.types[name].empty()) refuse(line_, "TYPE has to follow its HELP");
      if (rest != "counter" && rest != "gauge" && rest != "histogram") refuse(line_, "unknown type");
      page_.types[name] = rest;
    }
    metric_ = name;
  }

  void read_sample() {
    PrometheusPage::Sample sample;
    const size_t end = line_.find_first_of("{ ");
    sample.name = line_.substr(0, end);
    const std::string& type = page_.types[metric_];
    const bool fits = type == "histogram"
                          ? sample.name == metric_ + "_bucket" || sample.name == metric_ + "_sum" ||
                                sample.name == metric_ + "_count"
                          : !type.empty() && sample.name == metric_;
    if (!fits) refuse(line_, "a sample of another metric");
    at_ = end;
    if (line_[at_] == '{') read_labels(sample.labels);
    if (line_[at_] != ' ') refuse(line_, "no value");
    const std::string number = line_.substr(at_ + 1);
    char* rest = nullptr;
    sample.value = std::strtod(number.c_str(), &rest);
    if (number.empty() || *rest != 0) refuse(line_, "not a number");
    if (type == "counter" && !(sample.value >= 0)) refuse(line_, "a counter below 0");
    if (!seen_.insert({sample.name, sample.labels}).second) refuse(line_, "twice");
    page_.samples.push_back(sample);
  }

  void read_labels(PrometheusPage::Labels& labels) {
    do {
      const size_t equals = line_.find('=', ++at_);
      if (equals == std::string::npos || line_[equals + 1] != '"') refuse(line_, "a label without a value");
      const std::string label = line_.substr(at_, equals - at_);
      if (!is_name(label, "") || labels.contains(label)) refuse(line_, "a bad label");
      at_ = equals + 2;
      labels[label] = read_quoted();
    } while (line_[at_] == ',');
    if (line_[at_] != '}') refuse(line_, "labels without an end");
    ++at_;
  }

  std::string read_quoted() {
    std::string text;
    for (; at_ < line_.size() && line_[at_] != '"'; ++at_) {
      if (line_[at_] != '\\') {
        text += line_[at_];
        continue;
      }
      const char escaped = line_[++at_];
      if (escaped != '\\' && escaped != '"' && escaped != 'n') refuse(line_, "a bad escape");
      text += escaped == 'n' ? '\n' : escaped;
    }
    if (at_ >= line_.size()) refuse(line_, "a quote without an end");
    ++at_;
    return text;
  }

  void check_histograms() const {
    for (const auto& [name, type] : page_.types) {
      if (type.empty()) refuse(name, "HELP without TYPE");
      if (type != "histogram") continue;
      double bound = -INFINITY, below = 0;
      for (const PrometheusPage::Sample& s : page_.samples) {
        if (s.name != name + "_bucket") continue;
        const double next = std::strtod(s.labels.at("le").c_str(), nullptr);
        if (!(next > bound) || s.value < below) refuse(name, "buckets that do not ascend");
        bound = next;
        below = s.value;
      }
      if (!std::isinf(bound)) refuse(name, "no bucket +Inf");
      if (page_.value(name + "_count") != below) refuse(name, "the count is not that of +Inf");
      if (!page_.has(name + "_sum")) refuse(name, "no sum");
    }
  }

  PrometheusPage page_;
  std::string line_, metric_;
  size_t at_ = 0;
  std::set<std::pair<std::string, PrometheusPage::Labels>> seen_;
};

}  // namespace

double PrometheusPage::value(const std::string& name, const Labels& labels) const {
  const Sample* found = nullptr;
  for (const Sample& s : samples) {
    bool fits = s.name == name;
    for (const auto& [label, text] : labels)
      fits = fits && s.labels.contains(label) && s.labels.at(label) == text;
    if (!fits) continue;
    if (found != nullptr) throw std::runtime_error("several samples of " + name);
    found = &s;
  }
  if (found == nullptr) throw std::runtime_error("no sample of " + name);
  return found->value;
}

bool PrometheusPage::has(const std::string& name) const {
  return std::ranges::any_of(samples, [&](const Sample& s) { return s.name == name; });
}

std::vector<std::string> PrometheusPage::bounds(const std::string& name) const {
  std::vector<std::string> found;
  for (const Sample& s : samples) {
    if (s.name == name + "_bucket") found.push_back(s.labels.at("le"));
  }
  return found;
}

PrometheusPage read_prometheus(const std::string& text) { return Reader().read(text); }

}  // namespace trireme::test

namespace trireme::launch {

namespace {

TEST(PrometheusText, EscapesWhatTheFormatWants) {
  PrometheusText page;
  page.metric("a:b_total", "counter", "one \\ two\nthree \"four\"");
  page.sample({{"name", "c:\\d\n\"e\","}, {"f", ""}}, 3);
  EXPECT_EQ(page.text(),
            "# HELP a:b_total one \\\\ two\\nthree \"four\"\n# TYPE a:b_total counter\n"
            "a:b_total{name=\"c:\\\\d\\n\\\"e\\\",\",f=\"\"} 3\n");
  EXPECT_EQ(test::read_prometheus(page.text()).value("a:b_total", {{"name", "c:\\d\n\"e\","}}), 3);
}

TEST(PrometheusText, BoundsAreThoseOfPythonsClient) {
  EXPECT_EQ(bound_text(0.001), "0.001");
  EXPECT_EQ(bound_text(1), "1.0");
  EXPECT_EQ(bound_text(7.5), "7.5");
  EXPECT_EQ(bound_text(500000), "500000.0");
  EXPECT_EQ(bound_text(2e6), "2e+06");
  EXPECT_EQ(bound_text(INFINITY), "+Inf");
}

TEST(PrometheusText, HistogramsAddUpAndKeepWhatLiesBeyondTheLargestBound) {
  constexpr double kBounds[] = {1, 2, 5};
  Histogram histogram(kBounds);
  for (const double value : {0.5, 1.0, 1.5, 4.0, 6.0}) histogram.observe(value);
  PrometheusText page;
  page.metric("h", "histogram", "values");
  page.sample({}, histogram, 2);
  EXPECT_EQ(page.text(),
            "# HELP h values\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"2.0\"} 3\n"
            "h_bucket{le=\"+Inf\"} 5\nh_sum 13\nh_count 5\n");
}

TEST(PrometheusText, ValuesThatAreNoNumbers) {
  PrometheusText page;
  page.metric("g", "gauge", "values");
  for (const double value : {1e300, double{-INFINITY}, double{NAN}})
    page.sample({{"of", fmt::format("{}", value)}}, value);
  EXPECT_NE(page.text().find("} 1e+300\n"), std::string::npos) << page.text();
  EXPECT_NE(page.text().find("} -Inf\n"), std::string::npos) << page.text();
  EXPECT_NE(page.text().find("} NaN\n"), std::string::npos) << page.text();
}

}  // namespace

}  // namespace trireme::launch
