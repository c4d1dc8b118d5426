# Helpers of the rwkvc build.

# A header that nearly every compiler source needs, precompiled once.
add_library(RWKVCPrecompiled OBJECT ${PROJECT_SOURCE_DIR}/cmake/Precompiled.cpp)
target_precompile_headers(RWKVCPrecompiled PRIVATE
                          ${PROJECT_SOURCE_DIR}/cmake/Precompiled.h)
target_compile_options(RWKVCPrecompiled PRIVATE -Xclang -fno-pch-timestamp)

# add_rwkvc_library(NAME source... [DEPENDS target...] [LINK_LIBS library...])
# A static library of the compiler, linked against libMLIR.so only.
function(add_rwkvc_library name)
  cmake_parse_arguments(ARG "NO_PCH" "" "DEPENDS;LINK_LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  if(NOT ARG_NO_PCH)
    target_precompile_headers(${name} REUSE_FROM RWKVCPrecompiled)
    target_compile_options(${name} PRIVATE -Xclang -fno-pch-timestamp)
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS} MLIR LLVM)
  target_include_directories(
    ${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                   $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
                   $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  install(TARGETS ${name} EXPORT RWKVCTargets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

# add_rwkvc_doc(FILE.td OUTPUT.md command...)
# A page of docs/ in the build folder, made from TableGen by target `docs`.
add_custom_target(docs)
function(add_rwkvc_doc source output)
  get_filename_component(name ${output} NAME_WE)
  set(LLVM_TARGET_DEFINITIONS ${source})
  tablegen(MLIR ${name}.md ${ARGN})
  set(page ${PROJECT_BINARY_DIR}/docs/${output})
  add_custom_command(
    OUTPUT ${page}
    COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_CURRENT_BINARY_DIR}/${name}.md
            ${page}
    DEPENDS ${CMAKE_CURRENT_BINARY_DIR}/${name}.md)
  add_custom_target(docs-${name} DEPENDS ${page})
  add_dependencies(docs docs-${name})
endfunction()
