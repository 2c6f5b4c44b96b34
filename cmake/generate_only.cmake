# What of each room a program that generates alone is made of (TRIREME_GENERATE_ONLY): most folders whole, of which the linker
# drops what nothing reaches.
set(TRIREME_LEAVE_OUT "^runtime/watch/[^h]|^runtime/watch/h[^/]*/|^runtime/comm/threads/|/ops/(cpu/)?compress/"
  "^models/(compress|distill|session)/")
set(TRIREME_LAUNCH_KEEPS "^launch/(cli/|config/|generate/|process/|preflight/|report/[^/]*$|bench/generation/|lean/)"
  "^launch/commands/(bench_generation|generate_command|gguf_info|info_tables)\\.cpp$" "^launch/export/own_model\\.cpp$"
  "^launch/process/")
set(TRIREME_LAUNCH_LEAVES "^launch/cli/command_line\\.cpp$" "^launch/preflight/preflight\\.cpp$")

function(trireme_keep_for_generation var room)
  set(kept ${${var}})
  list(JOIN TRIREME_LEAVE_OUT "|" leave_out)
  list(FILTER kept EXCLUDE REGEX "${leave_out}")
  if(room STREQUAL "launch")
    list(JOIN TRIREME_LAUNCH_KEEPS "|" keeps)
    list(JOIN TRIREME_LAUNCH_LEAVES "|" leaves)
    list(FILTER kept INCLUDE REGEX "${keeps}")
    list(FILTER kept EXCLUDE REGEX "${leaves}")
  endif()
  set(${var} ${kept} PARENT_SCOPE)
endfunction()
