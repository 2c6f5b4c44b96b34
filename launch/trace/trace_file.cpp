#include "launch/trace/trace_file.h"

#include <exception>

#include <nlohmann/json.hpp>

namespace trireme::launch {

template <class Do>
void TraceFile::guarded(const Do& action) noexcept {
  if (!failure_.empty()) return;
  try {
    action();
  } catch (const std::exception& error) {
    failure_ = error.what();
    file_.reset();
  }
}

TraceFile::TraceFile(const std::string& path) noexcept {
  guarded([&] {
    file_.emplace(path);
    file_->write(std::string_view("{\"displayTimeUnit\":\"ms\",\n\"traceEvents\":[\n"));
  });
}

void TraceFile::add(std::string_view events) noexcept {
  guarded([&] { file_->write(events); });
}

// A last event that says nothing, as none may end with a comma.
void TraceFile::finish(const nlohmann::ordered_json& members) noexcept {
  guarded([&] {
    std::string end = R"({"name":"process_labels","ph":"M","pid":0,"tid":0,"args":{"labels":""}}]})";
    end.pop_back();
    for (const auto& [key, value] : members.items()) {
      end += ",\n" + nlohmann::ordered_json(key).dump() + ":" +
             value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
    file_->write(end + "}\n");
    file_->commit();
  });
}

}  // namespace trireme::launch
