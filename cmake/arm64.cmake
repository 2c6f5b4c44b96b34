# Debian's cross compiler for arm64 (launch/setup.sh arm64): cmake --preset arm64, docs/arm64.md.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
# Runs the tests' programs that are built with it.
find_program(TRIREME_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(TRIREME_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${TRIREME_QEMU} -L /usr/aarch64-linux-gnu)
endif()
