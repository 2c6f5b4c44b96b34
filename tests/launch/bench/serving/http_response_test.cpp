#include "launch/bench/serving/http_response.h"

#include <gtest/gtest.h>

namespace trireme::launch {

namespace {

struct Read {
  std::string body, trouble;
  int status = 0;
  bool is_complete = false, keeps_alive = false;
  double retry_after = 0;
};

/// Fed in pieces of `size` bytes.
Read read_answer(const std::string& bytes, size_t size, bool closes = false) {
  Read read;
  HttpResponseReader reader([&](std::string_view piece) { read.body += piece; });
  for (size_t at = 0; at < bytes.size(); at += size) reader.feed(std::string_view(bytes).substr(at, size));
  if (closes) reader.close();
  read.trouble = reader.trouble();
  read.status = reader.status();
  read.is_complete = reader.is_complete();
  read.keeps_alive = reader.keeps_alive();
  read.retry_after = reader.retry_after();
  return read;
}

TEST(HttpResponse, ALengthInPiecesOfEverySize) {
  const std::string bytes = "HTTP/1.1 429 Too Many\r\ncontent-LENGTH:  5 \r\nRetry-After: 7\r\n\r\nhello";
  for (size_t size = 1; size <= bytes.size(); ++size) {
    const Read read = read_answer(bytes, size);
    EXPECT_EQ(read.body, "hello") << size;
    EXPECT_EQ(read.status, 429);
    EXPECT_EQ(read.retry_after, 7);
    EXPECT_TRUE(read.is_complete && read.keeps_alive && read.trouble.empty()) << size << read.trouble;
  }
  EXPECT_FALSE(read_answer(bytes.substr(0, bytes.size() - 1), 3).is_complete);
}

TEST(HttpResponse, ChunksInPiecesOfEverySize) {
  const std::string bytes =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;name=value\r\nhel\r\n0A\r\nlo\r\n\r\n "
      "123\r\n0\r\nTrailer: x\r\n\r\n";
  for (size_t size = 1; size <= bytes.size(); ++size) {
    const Read read = read_answer(bytes, size);
    EXPECT_EQ(read.body, "hello\r\n\r\n 123") << size;
    EXPECT_TRUE(read.is_complete && read.keeps_alive && read.trouble.empty()) << size << read.trouble;
  }
  EXPECT_FALSE(read_answer(bytes.substr(0, bytes.size() - 2), 3).is_complete);
}

TEST(HttpResponse, WithoutALengthTheEndOfTheConnectionEndsIt) {
  const std::string bytes = "HTTP/1.1 200 OK\r\n\r\nhello";
  EXPECT_FALSE(read_answer(bytes, 4).is_complete);
  const Read read = read_answer(bytes, 4, true);
  EXPECT_EQ(read.body, "hello");
  EXPECT_TRUE(read.is_complete && read.trouble.empty());
  EXPECT_FALSE(read.keeps_alive);
}

TEST(HttpResponse, WhatKeepsAConnectionOpen) {
  EXPECT_FALSE(
      read_answer("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", 9).keeps_alive);
  EXPECT_FALSE(read_answer("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 9).keeps_alive);
  EXPECT_TRUE(read_answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 9).keeps_alive);
}

TEST(HttpResponse, ContinueIsFollowedByTheAnswer) {
  const Read read =
      read_answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", 5);
  EXPECT_EQ(read.status, 204);
  EXPECT_TRUE(read.is_complete);
}

TEST(HttpResponse, WhatIsNoAnswer) {
  for (const std::string bytes :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc\r\n", "HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\nno header\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"}) {
    const Read read = read_answer(bytes, 7);
    EXPECT_NE(read.trouble, "") << bytes;
    EXPECT_FALSE(read.keeps_alive) << bytes;
  }
  EXPECT_NE(read_answer(std::string(100'000, 'x'), 1000).trouble, "");
  EXPECT_NE(read_answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 7, true).trouble, "");
  EXPECT_NE(read_answer("", 7, true).trouble, "");
}

}  // namespace

}  // namespace trireme::launch
