# What pages carry (launch/page): dygraphs as Debian packages it, and launch/page's own script and style, as texts in a source.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/assets)
set(assets_source ${PROJECT_BINARY_DIR}/assets/page_assets.cpp)
set(assets_text "#include \"launch/page/assets.h\"\n\nnamespace trireme::launch {\n")
foreach(name_file
    dygraphs_script=${DYGRAPHS_FOLDER}/dygraph.min.js
    dygraphs_style=${DYGRAPHS_FOLDER}/dygraph.min.css
    dygraphs_licence=${DYGRAPHS_LICENCE}
    page_script=${PROJECT_SOURCE_DIR}/launch/page/page.js
    page_style=${PROJECT_SOURCE_DIR}/launch/page/page.css)
  string(REGEX MATCH "^([^=]+)=(.+)$" name_file ${name_file})
  set(name ${CMAKE_MATCH_1})
  set(file ${CMAKE_MATCH_2})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} content)
  string(FIND "${content}" ")page-asset\"" end_of_text)
  if(NOT end_of_text EQUAL -1)
    message(FATAL_ERROR "${file}: holds what ends a raw string of ${assets_source}")
  endif()
  string(APPEND assets_text "std::string_view ${name}() {\n  return R\"page-asset(${content})page-asset\";\n}\n")
endforeach()
string(APPEND assets_text "}  // namespace trireme::launch\n")
file(WRITE ${assets_source}.new "${assets_text}")
file(COPY_FILE ${assets_source}.new ${assets_source} ONLY_IF_DIFFERENT)
target_sources(trireme_launch PRIVATE ${assets_source})
