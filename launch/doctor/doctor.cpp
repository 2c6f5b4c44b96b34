#include "launch/doctor/doctor.h"

#include <cstdlib>

#include <fmt/format.h>

#include "launch/doctor/check_timer.h"
#include "launch/doctor/judge.h"
#include "launch/doctor/measure_host.h"
#include "launch/doctor/traffic.h"
#include "launch/preflight/choose_device.h"
#include "runtime/comm/mpi/mpi_versions.h"
#include "runtime/comm/nccl/nccl_communicator.h"
#include "runtime/device/cpu/cpu_device.h"

namespace trireme::launch {

namespace {

bool has_variable(const char* name) { return std::getenv(name) != nullptr; }

RankFacts measure_self(int rank, const DoctorPlace& place, const DoctorOptions& options) {
  RankFacts facts;
  facts.rank = rank;
  facts.host = place.host;
  facts.local_rank = place.local_rank;
  facts.local_size = place.local_size;
  facts.build = place.build;
  facts.machine = measure_machine();
  facts.environment = measure_environment();
  const MpiVersions mpi = mpi_versions();
  facts.mpi = {mpi.built, mpi.loaded, mpi.thread_level, place.launcher, place.pmix};
  facts.cores = measure_cores(options.run.threads, place.local_size);
  if (options.wants("cuda") || options.wants("binding"))
    facts.gpu = measure_gpu(options.run.device == DeviceKind::cpu, place.local_rank, facts.cores);
  facts.gpu.may_share = options.run.share_device;
  facts.limits = measure_limits();
  facts.root = measure_root();
  measure_ptrace(facts);
  if (place.local_rank != 0) return facts;
  if (options.wants("shm")) facts.shm = measure_shm();
  facts.memory = measure_memory();
  if (options.wants("disk")) {
    facts.disks.push_back(measure_disk(options.directory, "run directory", options.disk_bytes));
    facts.disks.push_back(measure_disk(options.temporary, "temporary directory", options.disk_bytes));
  }
  return facts;
}

std::vector<RankFacts> gather_facts(Communicator& world, const RankFacts& mine) {
  std::vector<RankFacts> all;
  for (const std::string& text : gather_texts(world, to_text(mine))) all.push_back(rank_facts_of(text));
  return all;
}

std::vector<int> first_ranks(const std::vector<RankFacts>& ranks) {
  std::vector<int> firsts;
  for (const RankFacts& rank : ranks) {
    if (rank.local_rank == 0) firsts.push_back(rank.rank);
  }
  return firsts;
}

/// The all-reduces where a run's would be. What speaks against that is a finding, and they are tried on the
/// host.
void examine_axes(Communicator& world, const DoctorPlace& place, const DoctorOptions& options,
                  CheckTimer& timer, Examination& found) {
  timer.begin("devices");
  DeviceChoice choice;
  std::unique_ptr<Communicator> ranks = world.split(0, world.rank(), "world");
  try {
    choice = choose_device(options.run, *ranks, place.local_rank);
    if (choose_backend(options.run, choice, world.size()) == BackendKind::nccl)
      ranks = make_nccl_world(std::move(ranks), choice.device);
  } catch (const UserError& error) {  // the same on all ranks
    found.findings.push_back(
        {"axes", Verdict::fail, error.what(), "as this says; below the CPU's communication"});
  }
  timer.end();
  Context ctx(choice.device, 1);
  const int64_t usual = choice.device.type == DeviceType::cpu ? int64_t{4} << 20 : int64_t{64} << 20;
  const int64_t bytes = options.traffic_bytes > 0 ? options.traffic_bytes : usual;
  found.axes = measure_axes(ctx, *ranks, options.plan, bytes, timer);
}

void judge_all(const DoctorOptions& options, Examination& found) {
  std::vector<Finding> before = std::move(found.findings);
  found.findings.clear();
  for (const std::string_view check : check_names()) {
    if (!options.wants(check)) continue;
    Findings findings = check == "disk"    ? judge_disk(found.ranks, found.shared)
                        : check == "clock" ? judge_clock(found.ranks, found.clocks)
                        : check == "axes"  ? judge_axes(found.ranks, found.axes)
                        : check == "links" ? judge_links(found.ranks, found.links)
                                           : judge_local(check, found.ranks);
    for (Finding& finding : before) {
      if (finding.check == check) found.findings.push_back(std::move(finding));
    }
    found.findings.insert(found.findings.end(), findings.begin(), findings.end());
  }
}

/// What rank 0 has found, in a word, for the others.
void share_verdict(Communicator& world, Examination& found) {
  auto verdict = static_cast<int64_t>(found.verdict());
  world.broadcast(*cpu::make_compute_stream(), Tensor::borrow(&verdict, {1}, DType::i64), 0);
  if (world.rank() != 0) found.findings = {{"all", static_cast<Verdict>(verdict), "as rank 0 says", ""}};
}

}  // namespace

DoctorPlace place_by_environment() {
  DoctorPlace place;
  place.launcher = has_variable("OMPI_COMM_WORLD_SIZE") ? "mpirun"
                   : has_variable("SLURM_STEP_ID") && (has_variable("PMIX_RANK") || has_variable("PMI_RANK"))
                       ? "srun"
                   : has_variable("PMIX_RANK") || has_variable("PMI_RANK") ? "another launcher"
                                                                           : "none";
  if (const char* pmix = std::getenv("PMIX_VERSION")) place.pmix = pmix;
  return place;
}

Examination examine(Communicator& world, const DoctorPlace& place, const DoctorOptions& options) {
  constexpr int kMostRounds = 15;
  CheckTimer timer(world, {.check = options.seconds});
  Examination found;
  RankFacts mine;
  {
    const TimedCheck check(timer, "what each rank finds by itself, its disk the longest");
    mine = measure_self(world.rank(), place, options);
  }
  {
    const TimedCheck check(timer, "gathering what ranks have found");
    found.ranks = gather_facts(world, mine);
  }
  std::vector<std::string> hosts;
  for (const RankFacts& rank : found.ranks) hosts.push_back(rank.host);
  timer.name_hosts(hosts);
  const std::vector<int> firsts = first_ranks(found.ranks);
  if (options.wants("clock")) {
    const TimedCheck check(timer, "clock");
    found.clocks = measure_clocks(world, firsts);
  }
  if (options.wants("disk")) {
    const TimedCheck check(timer, "shared run directory");
    found.shared = {look_for_shared(world, firsts, options.directory)};
  }
  if (options.wants("links")) {
    const TimedCheck check(timer, "links");
    const int64_t bytes = options.traffic_bytes > 0 ? options.traffic_bytes : int64_t{4} << 20;
    found.links = measure_links(world, firsts, bytes, kMostRounds);
  }
  if (options.wants("axes")) examine_axes(world, place, options, timer, found);
  const TimedCheck check(timer, "verdict");
  if (world.rank() == 0) judge_all(options, found);
  share_verdict(world, found);
  return found;
}

}  // namespace trireme::launch
