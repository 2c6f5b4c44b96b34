#!/usr/bin/env bash
# same_losses.sh DIR NEW COMMAND...: runs the training in COMMAND into the folder NEW; its losses have to be those of the run in
# DIR to within 1 % (sums are taken in another order). Without a run in DIR it only has to end well with losses.
set -uo pipefail
before=$1 new=$2
shift 2
"$@" --run.dir "$new" || exit

losses() { sed -n 's/.*"loss":\([-+.0-9eE]*\).*/\1/p' "$1/metrics.jsonl"; }
mapfile -t now < <(losses "$new")
if ((${#now[@]} == 0)); then echo "same_losses: no losses in $new/metrics.jsonl"; exit 1; fi
if [[ ! -f $before/metrics.jsonl ]]; then
  echo "same_losses: ${#now[@]} losses, no run to compare them with"
  exit 0
fi
paste <(losses "$before") <(losses "$new") | awk '
  NF != 2 { print "same_losses: step " NR " is missing in one run"; exit failed = 1 }
  { d = $1 - $2; if (d < 0) d = -d; if (d > 0.01 * $1) { print "same_losses: step " NR ": " $1 " and " $2; exit failed = 1 } }
  END { if (!failed) print "same_losses: " NR " losses agree"; exit failed }'
