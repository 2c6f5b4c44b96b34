#!/usr/bin/env bash
# bare_root.sh PACK: starts the bundle PACK (tests/gpu_bundle.sh) in a bare Debian root, to which this machine's NVIDIA libraries
# are all that is added: its tests are listed, two ranks train on the CPU, and without those libraries it says what is missing.
# Exit status: 0 when all is well, 1 when not, 3 when it cannot be tried here; it says why.
set -euo pipefail
pack=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

not_run() { echo "bare_root: not run: $1"; exit 3; }
if ((EUID != 0)); then not_run "a root of its own takes the rights of root"; fi
launch/setup.sh bare-root || true
for tool in debootstrap unshare chroot; do
  if ! command -v "$tool" >/dev/null; then not_run "there is no $tool here"; fi
done
if ! unshare --mount true 2>/dev/null; then not_run "no mounts of its own are allowed here"; fi
nvidia=$(ldconfig -p | sed -n 's/.*libcudart\.so.* => \(.*\)/\1/p' | sed -n 1p)
if [[ ! $nvidia ]]; then not_run "the loader knows no libcudart here"; fi
nvidia=$(dirname "$(realpath "$nvidia")")

root=$PWD/build-gpu-bundle/bare
if [[ ! -f $root/complete ]]; then
  rm -rf "$root"
  mirror=$(apt-get indextargets --format "\$(REPO_URI)" | sed -n 1p)
  # shellcheck source=/dev/null
  debootstrap --variant=minbase "$(source /etc/os-release && echo "$VERSION_CODENAME")" "$root" "$mirror" >"$root.log" 2>&1 ||
    not_run "debootstrap failed: $(tail -n 1 "$root.log")"
  rm -rf "$root"/var/cache/apt "$root"/var/lib/apt/lists
  touch "$root/complete"
fi
rm -rf "$root"/{bundle,out,text,run}
mkdir -p "$root"/{bundle,out,usr/local/cuda/lib64}
tar -C "$root/bundle" --strip-components=1 -xJf "$pack"
cat docs/*.md >"$root/text"

# inside COMMAND...: in the root, with an empty environment; mounts end with it.
inside() {
  # shellcheck disable=SC2016 # expanded by the shell inside
  unshare --mount --fork --pid bash -c '
    root=$1 nvidia=$2
    shift 2
    mount --make-rprivate / && mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" || exit
    if [[ $nvidia ]]; then mount --bind -o ro "$nvidia" "$root/usr/local/cuda/lib64" || exit; fi
    exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"' _ "$root" "$@"
}
gpu=(/bundle/tests/gpu.sh --prebuilt /bundle)

echo "== without NVIDIA's libraries it stops and names them"
begin=$SECONDS
if inside "" "${gpu[@]}" --out /out --stages list >"$root/out/refusal" 2>&1; then echo "bare_root: it did not stop"; exit 1; fi
if ((SECONDS - begin > 5)); then echo "bare_root: it took $((SECONDS - begin)) s to stop"; exit 1; fi
for name in libcudart libcublas libcublasLt libcudnn libnccl libnvrtc; do
  if ! grep -q "trireme lacks.* $name\.so" "$root/out/refusal"; then
    cat "$root/out/refusal"
    echo "bare_root: it does not name $name"
    exit 1
  fi
done

echo "== with them it lists its tests"
inside "$nvidia" "${gpu[@]}" --out /out --stages list

echo "== without a GPU no check runs, and each says so"
status=0
inside "$nvidia" "${gpu[@]}" --out /out >"$root/out/all" 2>&1 || status=$?
if ((status != 3)) || ! grep -q "ranks: graph over nccl .*not run .*no GPU" "$root/out/all"; then
  cat "$root/out/all"
  echo "bare_root: exit $status, expected 3 and checks that are not run"
  exit 1
fi

echo "== two ranks train on the CPU"
inside "$nvidia" "${gpu[@]}" -- mpirun --oversubscribe --bind-to none -np 2 trireme train --data.text /text --model.preset llama-tiny \
  --train.steps 3 --train.log-every 1 --run.device cpu --run.threads 1 --run.dir /run/two
grep -c '"loss"' "$root/run/two/metrics.jsonl"
echo "bare_root: passed"
