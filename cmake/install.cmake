# cmake --install: the program, the libraries with their headers, and the package that find_package(Trireme) finds.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(trireme_flags PROPERTIES EXPORT_NAME flags)
set_target_properties(trireme_library PROPERTIES EXPORT_NAME trireme)
install(TARGETS trireme RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS trireme_flags trireme_runtime trireme_parallel trireme_models trireme_launch trireme_library EXPORT TriremeTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
# Headers that want those of a vendor, and those of the bodies of ops, are private.
install(DIRECTORY runtime parallel models launch DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/trireme FILES_MATCHING PATTERN "*.h"
  PATTERN "ops/cpu" EXCLUDE PATTERN "cuda" EXCLUDE PATTERN "nccl" EXCLUDE PATTERN "python" EXCLUDE PATTERN "mpi_group.h" EXCLUDE
  PATTERN "mpi_progress.h" EXCLUDE)
install(FILES ${PROJECT_BINARY_DIR}/include/trireme/trireme.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/trireme)

# Job scripts, for trireme launch --submit and to be copied.
install(DIRECTORY cluster/slurm cluster/mpi DESTINATION ${CMAKE_INSTALL_DATADIR}/trireme)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/Trireme)
install(EXPORT TriremeTargets NAMESPACE Trireme:: DESTINATION ${package_folder})
configure_package_config_file(cmake/TriremeConfig.cmake.in ${PROJECT_BINARY_DIR}/TriremeConfig.cmake
  INSTALL_DESTINATION ${package_folder})
# Before 1.0 a minor version may change what others compile against.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/TriremeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/TriremeConfig.cmake ${PROJECT_BINARY_DIR}/TriremeConfigVersion.cmake
  DESTINATION ${package_folder})
