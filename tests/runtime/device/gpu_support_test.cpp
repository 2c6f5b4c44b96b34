#include "runtime/device/gpu_support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(GpuSupport, CodeRunsWhereCudaSaysThatItDoes) {
  const auto runs = [](const char* architectures, int capability) {
    return has_code_for(architectures, capability / 10, capability % 10);
  };
  EXPECT_TRUE(runs("80-real,90-real", 80));
  EXPECT_TRUE(runs("80-real,90-real", 86)) << "machine code serves newer minor versions";
  EXPECT_FALSE(runs("86-real", 80)) << "but no older ones";
  EXPECT_FALSE(runs("80-real", 90)) << "and no other major version";
  EXPECT_TRUE(runs("80", 90)) << "PTX does";
  EXPECT_TRUE(runs("80-virtual", 120));
  EXPECT_FALSE(runs("90-virtual", 89));
  EXPECT_FALSE(runs("80-real,90-real,100", 75));
  EXPECT_TRUE(runs("80-real,90-real,100", 103));
  EXPECT_TRUE(runs("90a", 90));
  EXPECT_FALSE(runs("90a", 100));
  EXPECT_TRUE(runs("100f-real", 103));
  EXPECT_FALSE(runs("100f", 120));
  EXPECT_TRUE(runs("native", 75)) << "says nothing";
  EXPECT_FALSE(runs("", 90)) << "nothing was built";
}

TEST(GpuSupport, EveryReasonHasItsWords) {
  EXPECT_EQ(why_no_gpu({0, 13000, "CUDA driver version is insufficient for CUDA runtime version"}),
            "there is no NVIDIA driver (CUDA driver version is insufficient for CUDA runtime version)");
  EXPECT_THAT(
      why_no_gpu({12040, 13000, "insufficient"}),
      AllOf(HasSubstr("too old"), HasSubstr("up to 12.4"), HasSubstr("CUDA 13.0"), HasSubstr("driver 580")));
  EXPECT_THAT(why_no_gpu({13000, 13020, "no device", "7"}),
              AllOf(HasSubstr("CUDA_VISIBLE_DEVICES='7'"), HasSubstr("no device")))
      << "minor versions go together";
  EXPECT_THAT(why_no_gpu({13000, 13000, "", ""}), HasSubstr("CUDA_VISIBLE_DEVICES=''"));
  EXPECT_EQ(why_no_gpu({13000, 13000, "", nullptr}), "the driver shows no GPU");
}

TEST(GpuSupport, TwoCopiesOfALibraryAreNamed) {
  EXPECT_THAT(
      duplicate_libraries({"/usr/lib/libnccl.so.2", "/usr/lib/libcublas.so.13", "/usr/lib/libcublasLt.so.13",
                           "/usr/lib/libcudnn.so.9", "/usr/lib/libcudnn_graph.so.9", "/usr/lib/libz.so.1"}),
      IsEmpty());
  EXPECT_THAT(
      duplicate_libraries({"/a/libnccl.so.2", "/a/libcudart.so.13", "/b/libcudart.so.12.4", "/b/libnccl.so"}),
      ElementsAre("libcudart: /a/libcudart.so.13 and /b/libcudart.so.12.4",
                  "libnccl: /a/libnccl.so.2 and /b/libnccl.so"));
}

TEST(GpuSupport, SeesWhatThisProcessHasLoaded) {
  EXPECT_THAT(loaded_libraries(), Contains(HasSubstr("libstdc++.so")));
  EXPECT_THAT(duplicate_libraries(loaded_libraries()), IsEmpty());
}

TEST(GpuSupport, PartsOfAGpuAreKnownByName) {
  EXPECT_TRUE(is_gpu_slice("NVIDIA A100-SXM4-40GB MIG 1g.5gb"));
  EXPECT_FALSE(is_gpu_slice("NVIDIA H200"));
}

}  // namespace
}  // namespace trireme
