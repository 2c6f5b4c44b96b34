// Each check of the doctor, as a function of what was measured: OK where all is well, and a verdict, the
// ranks and a remedy for each thing that is wrong.
#include "launch/doctor/judge.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/doctor/facts.h"

namespace trireme::launch {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// One thing that is wrong.
struct Fault {
  std::string check;
  Verdict verdict;
  std::function<void(std::vector<RankFacts>&)> spoil;
  std::vector<std::string> words;  ///< that the finding has
};

std::vector<Fault> library_faults() {
  return {
      {"mpi",
       Verdict::fail,
       [](auto& r) { r[2].mpi.loaded = "Open MPI 5.0.1"; },
       {"rank 2 (h2)", "4.1.4", "5.0.1"}},
      {"mpi", Verdict::fail, [](auto& r) { r[0].mpi.loaded = "MPICH 4.1.4"; }, {"rank 0 (h1)", "MPICH"}},
      {"mpi", Verdict::warn, [](auto& r) { r[1].mpi.loaded = "Open MPI 4.0.3"; }, {"rank 1 (h1)", "4.0.3"}},
      {"mpi", Verdict::fail, [](auto& r) { r[1].mpi.thread_level = "serialized"; }, {"serialized"}},
      {"cuda", Verdict::fail, [](auto& r) { r[3].gpu.driver = 12040; }, {"rank 3 (h2)", "12.4", "13.0"}},
      {"cuda", Verdict::warn, [](auto& r) { r[3].gpu.runtime = 13010; }, {"PTX"}},
      {"cuda", Verdict::fail, [](auto& r) { r[0].gpu.runtime = 12080; }, {"libcudart 12.8"}},
      {"cuda", Verdict::warn, [](auto& r) { r[0].gpu.nccl_loaded = 22703; }, {"2.28.9", "2.27.3"}},
      {"cuda", Verdict::fail, [](auto& r) { r[0].gpu.nccl_loaded = 12703; }, {"1.27.3"}},
      {"cuda",
       Verdict::fail,
       [](auto& r) {
         r[1].gpu.num_visible = 0;
         r[1].gpu.why_none = "no driver";
       },
       {"rank 1 (h1)", "2 GPUs are on the bus", "no driver"}},
      {"cuda",
       Verdict::warn,
       [](auto& r) {
         for (RankFacts& rank : r) rank.gpu = {.num_on_bus = 4};
       },
       {"4 on the bus", "no CUDA"}},
      {"hosts",
       Verdict::fail,
       [](auto& r) { r[3].build["program"] = "1234 bytes, hash 2"; },
       {"program", "hash 1 on ranks 0-2 (h1, h2)", "hash 2 on rank 3 (h2)"}},
      {"hosts", Verdict::warn, [](auto& r) { r[2].machine["kernel"] = "5.10"; }, {"5.10 on rank 2 (h2)"}},
      {"hosts",
       Verdict::warn,
       [](auto& r) { r[1].environment["NCCL_ALGO"] = "Ring"; },
       {"NCCL_ALGO", "Ring on rank 1 (h1)", "nothing on ranks 0, 2-3"}},
  };
}

std::vector<Fault> core_faults() {
  return {
      {"binding",
       Verdict::warn,
       [](auto& r) { r[1].cores.allowed = r[0].cores.allowed; },
       {"rank 1 (h1)", "shares cores with rank 0"}},
      {"binding",
       Verdict::warn,
       [](auto& r) { r[2].cores.allowed = {3}; },
       {"rank 2 (h2)", "one core, with 8 threads"}},
      {"binding",
       Verdict::warn,
       [](auto& r) {
         for (int core = 8; core < 16; ++core) r[2].cores.allowed.push_back(core);
       },
       {"rank 2 (h2)", "not bound", "2 NUMA nodes"}},
      {"binding",
       Verdict::fail,
       [](auto& r) { r[1].gpu.uuid = "gpu0"; },
       {"rank 1 (h1)", "the GPU of rank 0"}},
      {"binding",
       Verdict::warn,
       [](auto& r) { r[3].gpu.cores_distance = 21; },
       {"rank 3 (h2)", "distance 21"}},
      {"threads", Verdict::warn, [](auto& r) { r[2].cores.threads = 12; }, {"host of rank 2", "20 threads"}},
      {"threads",
       Verdict::warn,
       [](auto& r) { r[2].cores.load = 14; },
       {"rank 2 (h2)", "load 14.0 on 16 cores"}},
      {"threads",
       Verdict::warn,
       [](auto& r) {
         r[0].cores.threads = 16;
         r[0].environment["OMP_WAIT_POLICY"] = "active";
       },
       {"keep their core"}},
      {"cpu",
       Verdict::warn,
       [](auto& r) { r[2].cores.governor = "powersave"; },
       {"rank 2 (h2)", "powersave"}},
      {"cpu", Verdict::warn, [](auto& r) { r[0].cores.huge_pages = "never"; }, {"huge pages"}},
      {"ptrace", Verdict::warn, [](auto& r) { r[0].may_ptrace = false; }, {"ptrace_scope is 1"}},
      {"ptrace", Verdict::warn, [](auto& r) { r[2].ptrace_scope = 3; }, {"rank 2 (h2)", "ptrace_scope is 3"}},
  };
}

constexpr int64_t kMiB = 1 << 20;

std::vector<Fault> system_faults() {
  return {
      {"shm", Verdict::fail, [](auto& r) { r[0].shm.is_there = false; }, {"no tmpfs"}},
      {"shm", Verdict::fail, [](auto& r) { r[2].shm.free_bytes = kMiB; }, {"rank 2 (h2)", "2 ranks"}},
      {"shm",
       Verdict::warn,
       [](auto& r) { r[2].shm.free_bytes = 64 * kMiB; },
       {"rank 2 (h2)", "64 MiB free"}},
      {"shm",
       Verdict::warn,
       [](auto& r) {
         r[2].shm.stale = {{"/dev/shm/nccl-it's", 8, 9}};
       },
       {"1 segment", "on h2: rm '/dev/shm/nccl-it'\\''s'"}},
      {"limits", Verdict::fail, [](auto& r) { r[1].limits.nofile = 64; }, {"rank 1 (h1)", "limited to 64"}},
      {"limits", Verdict::warn, [](auto& r) { r[1].limits.nofile = 256; }, {"limited to 256"}},
      {"limits",
       Verdict::warn,
       [](auto& r) { r[1].limits.file_size = 100 * kMiB; },
       {"checkpoints may not fit"}},
      {"limits", Verdict::fail, [](auto& r) { r[1].limits.file_size = 100; }, {"checkpoints may not fit"}},
      {"limits",
       Verdict::fail,
       [](auto& r) {
         r[1].limits.has_infiniband = true;
         r[1].limits.memlock = 64 << 10;
       },
       {"InfiniBand"}},
      {"limits",
       Verdict::warn,
       [](auto& r) {
         r[1].limits.has_infiniband = true;
         r[1].limits.memlock = 1024 * kMiB;
       },
       {"InfiniBand"}},
      {"limits",
       Verdict::fail,
       [](auto& r) { r[0].limits.address_space = kMiB << 12; },
       {"CUDA reserves more"}},
      {"limits", Verdict::warn, [](auto& r) { r[0].limits.stack = 100 << 10; }, {"stacks"}},
      {"limits",
       Verdict::warn,
       [](auto& r) {
         r[0].root.is_root = false;
         r[0].limits.nproc = 100;
       },
       {"limited to 100"}},
      {"memory",
       Verdict::fail,
       [](auto& r) {
         r[2].memory = {100 * kMiB, "the control group /x"};
       },
       {"rank 2 (h2)", "the control group /x", "100 MiB"}},
      {"memory", Verdict::warn, [](auto& r) { r[2].memory.available = 1800 * kMiB; }, {"for 2 ranks"}},
      {"root",
       Verdict::warn,
       [](auto& r) {
         r[0].root.is_allowed = false;
         r[0].mpi.launcher = "none";
       },
       {"this is root"}},
      {"environment",
       Verdict::warn,
       [](auto& r) { r[1].environment["ONEDNN_MAX_CPU_ISA"] = "AVX2"; },
       {"rank 1 (h1)", "ONEDNN_MAX_CPU_ISA=AVX2"}},
      {"environment",
       Verdict::fail,
       [](auto& r) { r[1].environment["NCCL_SOCKET_IFNAME"] = "lo"; },
       {"cannot reach each other"}},
  };
}

std::vector<Fault> all_faults() {
  std::vector<Fault> all = library_faults();
  for (const auto& part : {core_faults(), system_faults()}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::string text_of(const Findings& findings) {
  std::string text;
  for (const Finding& f : findings)
    text += fmt::format("{} {}: {} -> {}\n", f.check, to_string(f.verdict), f.text, f.remedy);
  return text;
}

const std::vector<std::string_view> kOfRanks = {"mpi", "cuda",   "binding",     "threads",
                                                "shm", "limits", "memory",      "root",
                                                "cpu", "ptrace", "environment", "hosts"};

TEST(Doctor, HealthyRanksAreOk) {
  for (const int num_hosts : {1, 2, 4}) {
    const std::vector<RankFacts> ranks = test::healthy_ranks(num_hosts);
    for (const std::string_view check : kOfRanks) {
      const Findings findings = judge_local(check, ranks);
      ASSERT_EQ(findings.size(), 1) << text_of(findings);
      EXPECT_EQ(findings[0].verdict, Verdict::ok) << text_of(findings);
      EXPECT_EQ(findings[0].check, check);
      EXPECT_FALSE(findings[0].text.empty());
      EXPECT_TRUE(findings[0].remedy.empty()) << text_of(findings);
    }
  }
}

TEST(Doctor, EachFaultIsFoundByItsCheckAlone) {
  for (const Fault& fault : all_faults()) {
    std::vector<RankFacts> ranks = test::healthy_ranks(2);
    fault.spoil(ranks);
    const Findings findings = judge_local(fault.check, ranks);
    const std::string text = text_of(findings);
    EXPECT_EQ(worst_of(findings), fault.verdict) << text;
    for (const std::string& word : fault.words) EXPECT_THAT(text, HasSubstr(word));
    for (const Finding& finding : findings) {
      EXPECT_EQ(finding.remedy.empty(), finding.verdict == Verdict::ok) << text;
    }
  }
}

TEST(Doctor, EveryCheckOfRanksHasFaults) {
  for (const std::string_view check : kOfRanks) {
    EXPECT_TRUE(std::ranges::any_of(all_faults(), [&](const Fault& fault) { return fault.check == check; }))
        << check;
  }
}

TEST(Doctor, RanksWithTheSameFaultAreOneFinding) {
  std::vector<RankFacts> ranks = test::healthy_ranks(3);
  for (const int rank : {0, 1, 2, 5}) ranks[static_cast<size_t>(rank)].limits.nofile = 256;
  const Findings findings = judge_limits(ranks);
  ASSERT_EQ(findings.size(), 1) << text_of(findings);
  EXPECT_THAT(findings[0].text, HasSubstr("ranks 0-2, 5 (h1, h2, h3)"));
}

TEST(Doctor, NoGpuIsNoFault) {
  std::vector<RankFacts> ranks = test::healthy_ranks(1);
  for (RankFacts& rank : ranks) rank.gpu = {.is_built = true, .toolkit = 13000, .runtime = 13000};
  EXPECT_EQ(worst_of(judge_cuda(ranks)), Verdict::ok);
  EXPECT_THAT(judge_cuda(ranks)[0].text, HasSubstr("no GPU here"));
  for (RankFacts& rank : ranks) rank.gpu = {};
  EXPECT_THAT(judge_cuda(ranks)[0].text, HasSubstr("no CUDA"));
}

TEST(Doctor, AGpuMayBeSharedWhereThatIsAllowed) {
  std::vector<RankFacts> ranks = test::healthy_ranks(1);
  ranks[1].gpu.uuid = ranks[0].gpu.uuid;
  ASSERT_EQ(worst_of(judge_binding(ranks)), Verdict::fail);
  for (RankFacts& rank : ranks) rank.gpu.may_share = true;
  EXPECT_EQ(worst_of(judge_binding(ranks)), Verdict::ok);
}

TEST(Doctor, Disks) {
  const auto judged = [](const std::function<void(DiskFacts&)>& spoil) {
    std::vector<RankFacts> ranks = test::healthy_ranks(2);
    spoil(ranks[2].disks[0]);
    return judge_disk(ranks, {});
  };
  EXPECT_EQ(worst_of(judged([](DiskFacts&) {})), Verdict::ok);
  const auto expect = [&](Verdict verdict, const std::string& word,
                          const std::function<void(DiskFacts&)>& spoil) {
    const Findings findings = judged(spoil);
    EXPECT_EQ(worst_of(findings), verdict) << text_of(findings);
    EXPECT_THAT(text_of(findings), AllOf(HasSubstr("rank 2 (h2)"), HasSubstr(word)));
  };
  expect(Verdict::warn, "writes 20 MB/s", [](DiskFacts& d) { d.write_rate = 20e6; });
  expect(Verdict::warn, "5.00 GiB left", [](DiskFacts& d) { d.free_bytes = int64_t{5} << 30; });
  expect(Verdict::fail, "left", [](DiskFacts& d) { d.free_bytes = 1 << 20; });
  expect(Verdict::fail, "Read-only",
         [](DiskFacts& d) { d.error = "creating a file: Read-only file system"; });
  expect(Verdict::fail, "mount it anew",
         [](DiskFacts& d) { d.error = "creating a file: Stale file handle"; });
  const SharedFacts shared[] = {{"/runs", {2}}};
  const Findings findings = judge_disk(test::healthy_ranks(2), shared);
  EXPECT_EQ(worst_of(findings), Verdict::fail);
  EXPECT_THAT(text_of(findings),
              AllOf(HasSubstr("rank 2 (h2)"), HasSubstr("/runs is not the directory of rank 0")));
}

TEST(Doctor, ClocksAreJudgedByWhatIsSure) {
  const std::vector<RankFacts> ranks = test::healthy_ranks(2);
  const auto verdict = [&](double offset, double bound) {
    const ClockFacts clocks[] = {{2, offset, bound}};
    return worst_of(judge_clock(ranks, clocks));
  };
  EXPECT_EQ(verdict(0.01, 0.001), Verdict::ok);
  EXPECT_EQ(verdict(-2, 0.5), Verdict::warn);
  EXPECT_EQ(verdict(2, 1.5), Verdict::ok) << "it may be half a second";
  EXPECT_EQ(verdict(-400, 0.5), Verdict::fail);
  const ClockFacts behind[] = {{2, -3, 0.001}};
  EXPECT_THAT(judge_clock(ranks, behind)[0].text, AllOf(HasSubstr("rank 2 (h2)"), HasSubstr("3 s behind")));
  EXPECT_THAT(judge_clock(ranks, {})[0].text, HasSubstr("one host"));
}

TEST(Doctor, AWrongAllReduceNamesAxisAndRanks) {
  const std::vector<RankFacts> ranks = test::healthy_ranks(2);
  std::vector<AxisFacts> axes = {{"tensor", "nccl", {0, 1}, 1 << 20, 1e-5, 1e10, {}, 0},
                                 {"tensor", "nccl", {2, 3}, 1 << 20, 1e-5, 1e10, {}, 0}};
  EXPECT_EQ(worst_of(judge_axes(ranks, axes)), Verdict::ok);
  axes[1].wrong = {3};
  axes[1].num_wrong = 7;
  const Findings findings = judge_axes(ranks, axes);
  EXPECT_EQ(worst_of(findings), Verdict::fail);
  EXPECT_THAT(findings[0].text,
              AllOf(HasSubstr("rank 3 (h2)"), HasSubstr("tensor"), HasSubstr("7 elements")));
  EXPECT_EQ(worst_of(judge_axes(ranks, {})), Verdict::ok);
}

TEST(Doctor, AGroupThatIsSlowerThanOthersOfItsAxis) {
  const std::vector<RankFacts> ranks = test::healthy_ranks(4);
  std::vector<AxisFacts> axes;
  for (int i = 0; i < 4; ++i)
    axes.push_back({"tensor", "nccl", {2 * i, 2 * i + 1}, 1 << 20, 1e-5, 1e10, {}, 0});
  axes[2].bus_bandwidth = 3.4e9;
  EXPECT_EQ(worst_of(judge_axes(ranks, axes)), Verdict::ok);
  axes[2].bus_bandwidth = 3.2e9;
  const Findings findings = judge_axes(ranks, axes);
  EXPECT_EQ(worst_of(findings), Verdict::warn);
  EXPECT_THAT(findings[0].text, AllOf(HasSubstr("ranks 4-5 (h3)"), HasSubstr("3.2 GB/s")));
}

/// All pairs of hosts at 1 GB/s, those of one host at `rate`.
Findings links_with_slow_host(int num_hosts, int slow, double rate, double latency) {
  std::vector<LinkFacts> links;
  for (int a = 0; a < num_hosts; ++a) {
    for (int b = a + 1; b < num_hosts; ++b) {
      const bool is_slow = a == slow || b == slow;
      links.push_back({2 * a, 2 * b, is_slow ? latency : 1e-5, is_slow ? rate : 1e9, 0});
    }
  }
  return judge_links(test::healthy_ranks(num_hosts), links);
}

TEST(Doctor, ASlowHostIsNamed) {
  for (const int num_hosts : {3, 4, 5, 8}) {
    EXPECT_EQ(worst_of(links_with_slow_host(num_hosts, 1, 0.4e9, 2.5e-5)), Verdict::ok);
    const Findings slow = links_with_slow_host(num_hosts, 1, 0.1e9, 1e-5);
    EXPECT_EQ(worst_of(slow), Verdict::warn);
    EXPECT_THAT(text_of(slow),
                AllOf(HasSubstr("all of them with h2"), HasSubstr("100 MB/s"), HasSubstr("--exclude=h2")));
    EXPECT_THAT(text_of(links_with_slow_host(num_hosts, 2, 1e9, 1e-3)),
                AllOf(HasSubstr("latency"), HasSubstr("all of them with h3")));
  }
}

TEST(Doctor, LinksOfOneHostAndChangedMessages) {
  EXPECT_EQ(worst_of(judge_links(test::healthy_ranks(1), {})), Verdict::ok);
  const LinkFacts links[] = {{0, 2, 1e-5, 1e9, 3}};
  const Findings findings = judge_links(test::healthy_ranks(2), links);
  EXPECT_EQ(worst_of(findings), Verdict::fail);
  EXPECT_THAT(findings[0].text, HasSubstr("h1 and h2 (ranks 0 and 2)"));
}

}  // namespace
}  // namespace trireme::launch
