# Checks of tests/gpu.sh: run one after the other, each with its limit, each reported as soon as it is done.
# shellcheck shell=bash
# shellcheck disable=SC2154 # out, whole, device, stage, prebuilt and why_not are tests/gpu.sh's

names=() results=() seconds=() notes=()

# begin_report: from now on results are in $out, however this process ends.
begin_report() {
  work=$(mktemp -d)  # figures of single checks; what is to stay goes into gpu.json
  mkdir -p "$out" || exit 2
  rm -f "$out"/{gpu.jsonl,gpu.json,logs.txt,table.txt}
  trap 'end_of_report' EXIT
  trap 'stopped TERM 143' TERM
  trap 'stopped INT 130' INT
}

end_of_report() {
  if [[ ${clock_watcher:-} ]]; then kill "$clock_watcher" 2>/dev/null; fi
  if [[ ! ${reported:-} ]]; then write_report; show_table; fi
  rm -rf "$work"
}

# stopped SIGNAL STATUS: ends what is running; its row says so.
stopped() {
  trap '' TERM INT
  if [[ ${running:-} ]]; then
    kill -TERM "$running" 2>/dev/null
    keep_log "$check_name"
    record "$check_name" FAILED $((SECONDS - check_begin)) "stopped by $1"
  fi
  exit "$2"
}

# check NAME LIMIT COMMAND...: passed, or failed with the last words of the command. Where $why_not has a reason, or a program
# of the command is not there, or no time is left, it does not run.
check() {
  check_name=$1 check_begin=$SECONDS
  local name=$1 limit=$2 left=$((whole - SECONDS)) word status
  shift 2
  for word; do
    if [[ ! $why_not && $word == "$bin"/* && ! -x $word ]]; then local why_not="no ${word#"$bin"/} in $bin"; fi
  done
  if [[ ! $why_not ]] && ((left < 5)); then local why_not="no time left of $whole s"; fi
  if [[ $why_not ]]; then
    record "$name" "not run" 0 "$why_not"
    return 1
  fi
  if ((limit > left)); then limit=$left; fi
  clock_begin=$(lines_of_clocks)
  # In the background: a signal that ends the whole is heard at once.
  : >"$work/log"
  timeout -k 5 "$limit" "$@" >>"$work/log" 2>&1 &
  running=$!
  wait "$running"
  status=$?
  running=''
  keep_log "$name"
  if ((status == 0)); then
    record "$name" passed $((SECONDS - check_begin)) ""
  elif ((status == 124 || status == 137 && SECONDS - check_begin >= limit)); then
    record "$name" FAILED $((SECONDS - check_begin)) "not done after $limit s"
  else
    record "$name" FAILED $((SECONDS - check_begin)) "exit $status: $(tail -n 1 "$work/log" | tr -cd '\40-\176' | cut -c1-160)"
    tail -n 15 "$work/log"
  fi
  return $status
}

# suite NAME LIMIT PROGRAM FILTER: a check of the tests that match; the program fails where none does.
suite() { check "$1" "$2" "$3" --gtest_brief=1 --gtest_filter="$4"; }

# keep_log NAME: what the check said; of long logs the beginning and the end.
keep_log() {
  {
    printf '\n==== %s\n' "$1"
    if (($(stat -c %s "$work/log") > 180000)); then
      head -c 60000 "$work/log"
      printf '\n.... left out\n'
      tail -c 120000 "$work/log"
    else
      cat "$work/log"
    fi
  } >>"$out/logs.txt"
}

# json TEXT: as a string of JSON; other control characters become spaces.
json() {
  local text=${1//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//[[:cntrl:]]/ }"
}

# record NAME RESULT SECONDS NOTE: a row of the table, a line of gpu.jsonl, and gpu.json anew where there are new figures.
record() {
  names+=("$1") results+=("$2") seconds+=("$3") notes+=("$4")
  printf '{"stage": %s, "check": %s, "result": %s, "seconds": %d, "note": %s, "gpu": %s}\n' "$(json "$stage")" "$(json "$1")" \
    "$(json "$2")" "$3" "$(json "$4")" "$(clocks_since "${clock_begin:-}")" >>"$out/gpu.jsonl"
  clock_begin=''
  printf '%-8s %s (%d s)%s\n' "$2" "$1" "$3" "${4:+: $4}"
  local now
  now=$(find "$work" -maxdepth 1 -type f '(' -name '*.json' -o -name 'ncu-*' ')' | wc -l)
  if ((now != figures)); then figures=$now; write_report; fi
}
figures=0

# write_report: gpu.json of the rows so far, and of the figures that the benchmarks left; these as text too.
write_report() {
  {
    printf '{"device": %s, "commit": %s, "checks": [\n' "$(json "${device:-none}")" "$(json "$(commit_of_programs)")"
    sed '$!s/$/,/' "$out/gpu.jsonl" 2>/dev/null
    printf ']}\n'
  } >"$work/gpu.json" && mv "$work/gpu.json" "$out/gpu.json"
  if command -v python3 >/dev/null; then python3 tests/bench/peers/compare.py "$out/gpu.json" "$work" >"$work/figures" 2>&1; fi
}

commit_of_programs() {
  if [[ -f $prebuilt/COMMIT ]]; then cat "$prebuilt/COMMIT"; else git rev-parse HEAD 2>/dev/null || echo unknown; fi
}

# In the file first: whoever reads the output may be gone.
show_table() {
  local i
  {
    cat "$work/figures" 2>/dev/null
    printf '\n%-34s %-8s %5s  %s\n' check result s note
    for i in "${!names[@]}"; do printf '%-34s %-8s %5d  %s\n' "${names[i]}" "${results[i]}" "${seconds[i]}" "${notes[i]}"; done
  } >"$out/table.txt"
  cat "$out/table.txt"
}

finish() {
  write_report
  show_table
  reported=yes
  case " ${results[*]} " in
    *" FAILED "*) exit 1 ;;
    *" not run "*) exit 3 ;;
    "  ") echo "gpu: no check ran" >&2; exit 1 ;;
  esac
  exit 0
}

# watch_clocks: notes the GPU's clocks (MHz), power (W), temperature and throttling each second, where there is one.
watch_clocks() {
  if [[ ! $device ]]; then return; fi
  {
    reasons=clocks_event_reasons.active  # as drivers call them since 535
    if ! nvidia-smi --query-gpu=$reasons --format=csv >/dev/null; then reasons=clocks_throttle_reasons.active; fi
    while kill -0 $$ && nvidia-smi --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu,$reasons \
      --format=csv,noheader,nounits && sleep 1; do :; done
  } >"$work/clocks" 2>/dev/null &
  clock_watcher=$!
}
lines_of_clocks() { wc -l 2>/dev/null <"$work/clocks" || echo 0; }

# clocks_since LINE: least and most of them since that line, as JSON, or the last ones; reasons for throttling but idleness.
clocks_since() {
  if [[ ! $1 || ! -s $work/clocks ]]; then echo null; return; fi
  local lines
  lines=$(tail -n "+$(($1 + 1))" "$work/clocks")
  awk -F', *' '
    { for (i = 1; i <= 4; ++i) { if (NR == 1 || $i + 0 < low[i]) low[i] = $i + 0; if (NR == 1 || $i + 0 > high[i]) high[i] = $i + 0 }
      if ($5 !~ /^0x0*[01]$/) throttled[$5] = 1 }
    END {
      for (reason in throttled) reasons = reasons (reasons ? ", " : "") "\"" reason "\""
      printf "{\"sm_mhz\": [%d, %d], \"memory_mhz\": [%d, %d], \"watt\": [%d, %d], \"celsius\": [%d, %d], \"throttled\": [%s]}\n",
        low[1], high[1], low[2], high[2], low[3], high[3], low[4], high[4], reasons
    }' <<<"${lines:-$(tail -n 1 "$work/clocks")}"
}
