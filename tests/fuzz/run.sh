#!/usr/bin/env bash
# Fuzzes the readers of checkpoints', models' and tokenizers' files, and of requests, with libFuzzer and the address and undefined sanitizers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
  cat <<'END'
Usage: tests/fuzz/run.sh [SECONDS [FOLDER]]

Compiles the readers with clang (Debian: clang, libfmt-dev, libboost-dev, nlohmann-json3-dev, libxxhash-dev, libpcre2-dev, libonig-dev, libutf8proc-dev)
in FOLDER (build-fuzz) and
fuzzes each for SECONDS (60), from the seeds of tests/fuzz/fuzz_cases.cpp and what was found before. What breaks one lies in
FOLDER as CASE-crash-*; the program given that file as argument shows it again.
END
}
if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi
seconds=${1:-60} folder=${2:-build-fuzz}

mkdir -p "$folder/objects"
sources=(tests/fuzz/{fuzz_cases,grammar_case,hf_case,http_case,request_case,teacher_case,tokenizer_case}.cpp launch/serve/http/{body_reader,request_reader,request_target,reply_text}.cpp parallel/checkpoint/format/{manifest,stored_files,slice,cut_range,proof_hash}.cpp runtime/base/error.cpp
  runtime/tensor/shape.cpp runtime/ops/cpu/element_hash.cpp runtime/io/files/{file,mapped_file,mapped_files,atomic_file}.cpp
  runtime/io/{digest/{file_signs,xxh3},json/{sealed_json,strict_json,utf8,json_file},safetensors/{safetensors,sharded_safetensors}}.cpp
  runtime/base/parallel_for.cpp runtime/ops/cpu/weight_blocks.cpp runtime/io/gguf/*.cpp runtime/text/*/*.cpp
  models/formats/hf/*.cpp models/formats/{hf_config,hf_tensors,mapped_weights,model_differences,tensor_map}.cpp models/formats/gguf_{architecture,config,differences,keys,rotary,tensors}.cpp
  models/distill/{teacher_codes,teacher_shards}.cpp models/config/{model_config,moe_config,rotary_errors}.cpp models/{families,spec}/*.cpp
  parallel/plan/nearest.cpp parallel/module/parameter.cpp runtime/device/{allocator,block_pool}.cpp runtime/io/safetensors/float_block.cpp
  launch/serve/{protocol,protocol/*,metrics}/*.cpp launch/generate/{chat_format,stopped_text}.cpp
  launch/serve/http/{request_reader,reply_text,request_target}.cpp launch/report/number_text.cpp)
mapfile -t -O "${#sources[@]}" sources < <(find runtime/data/tokenizer runtime/data/text_documents.cpp runtime/data/tokens -name '*.cpp')
# OpenMP's header is GCC's; clang compiles without OpenMP here.
flags=(-std=c++20 -O1 -g1 -fno-omit-frame-pointer -ffunction-sections -fdata-sections -I. -DTRIREME_ONE_VERSION -Wno-source-uses-openmp
  -idirafter "$(dirname "$(gcc -print-file-name=include/omp.h)")")
objects=()
for source in "${sources[@]}"; do
  object=$folder/objects/${source//\//_}.o
  if [[ ! $object -nt $source ]]; then
    clang++ "${flags[@]}" -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -c "$source" -o "$object"
  fi
  objects+=("$object")
done
clang++ "${flags[@]}" -fsanitize=address,undefined tests/fuzz/fuzz_main.cpp "${objects[@]}" -lfmt -lxxhash -lpcre2-8 -lutf8proc -lgomp -Wl,--gc-sections -o "$folder/seeds"
"$folder/seeds" "$folder/corpus"
for name in manifest safetensors gguf hf http template grammar tokenizer request; do
  clang++ "${flags[@]}" "-DTRIREME_FUZZ_CASE=\"$name\"" -fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_main.cpp \
    "${objects[@]}" -lfmt -lxxhash -lpcre2-8 -lutf8proc -lgomp -Wl,--gc-sections -o "$folder/$name"
  "$folder/$name" "$folder/corpus/$name" -max_total_time="$seconds" -max_len=20000 -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=1 -verbosity=0 -artifact_prefix="$folder/$name-"
done
