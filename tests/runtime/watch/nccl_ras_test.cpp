// NCCL's RAS as a witness, with a server in its place.
#include "runtime/watch/ras/nccl_ras.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "runtime/watch/channel/addresses.h"

namespace trireme::watch {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Answers one question with `text`, and closes; nothing: it says no word.
class FakeRas {
 public:
  explicit FakeRas(std::string text)
      : listener_(listen_on({"127.0.0.1"}, port_)), thread_([this, text] { serve(text); }) {}
  ~FakeRas() { thread_.join(); }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  std::string asked() const { return asked_; }

 private:
  void serve(const std::string& text) {
    FileDescriptor socket;
    for (int i = 0; i < 5000 && socket.get() < 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      socket = accept_from(listener_.get());
    }
    char buffer[256];
    ssize_t size = 0;
    for (int i = 0; i < 5000 && size <= 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      size = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    }
    asked_.assign(buffer, static_cast<size_t>(std::max<ssize_t>(size, 0)));
    if (text.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(600));
    ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }

  uint16_t port_ = 0;
  FileDescriptor listener_;
  std::string asked_;
  std::thread thread_;
};

TEST(NcclRas, ErrorsAndWarningsAreKept) {
  FakeRas ras(
      "NCCL version 2.28.9\n\nJob summary\n===========\n\nErrors\n======\n\nINCOMPLETE: rank 3 is not "
      "there\n\nWarnings\n\n");
  EXPECT_THAT(ask_ras(ras.address(), 5),
              ElementsAre("Errors", "INCOMPLETE: rank 3 is not there", "Warnings"));
  EXPECT_EQ(ras.asked(), "verbose status\n");
}

TEST(NcclRas, AnAnswerWithoutErrorsIsCutToWhatAScreenHolds) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "line " + std::to_string(i) + "\n";
  FakeRas ras(text);
  const auto lines = ask_ras(ras.address(), 5);
  EXPECT_LT(lines.size(), 20u);
  EXPECT_EQ(lines[0], "line 0");
}

TEST(NcclRas, WhoeverDoesNotAnswerIsNotWaitedFor) {
  {
    FakeRas ras("");
    EXPECT_THAT(ask_ras(ras.address(), 0.2), ElementsAre(HasSubstr("says nothing")));
  }
  EXPECT_THAT(ask_ras("127.0.0.1:1", 1), ElementsAre(HasSubstr("does not answer")));
  EXPECT_THAT(ask_ras("nonsense", 1), ElementsAre(HasSubstr("expected host:port")));
}

}  // namespace
}  // namespace trireme::watch
