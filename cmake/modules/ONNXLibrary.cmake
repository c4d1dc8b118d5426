# The official ONNX C++ library (protobuf reader, checker, inliner, version
# converter, shape inference): targets `onnx` and `onnx_proto`, built once from
# the source distribution of the version that scripts/requirements.txt pins.
#
# Include before HandleLLVMOptions: the library is compiled without LLVM's flags.

set(RWKVC_CACHE "${PROJECT_SOURCE_DIR}/.cache" CACHE PATH
    "Folder that keeps downloaded sources between builds")
set(RWKVC_ONNX_SDIST "" CACHE FILEPATH
    "Source distribution of onnx (tar.gz); empty: fetched with pip")

file(STRINGS "${PROJECT_SOURCE_DIR}/scripts/requirements.txt" _pin
     REGEX "^onnx==")
string(REPLACE "onnx==" "" _version "${_pin}")
# Of onnx-${_version}.tar.gz; change it together with the version.
set(_sha256 008cb0467b2bbee41448acc7da8b6f4e704624cb0d327a2d5adafc7ce19bc5b8)
set(_archive "${RWKVC_ONNX_SDIST}")
if(NOT _archive)
  set(_archive "${RWKVC_CACHE}/onnx-${_version}.tar.gz")
  if(NOT EXISTS "${_archive}")
    message(STATUS "Fetching the sources of onnx ${_version} with pip")
    execute_process(
      COMMAND "${RWKVC_PYTHON}" -m pip download --quiet --no-deps
              --disable-pip-version-check --no-binary onnx "onnx==${_version}"
              --dest "${RWKVC_CACHE}"
      RESULT_VARIABLE _failed OUTPUT_VARIABLE _log ERROR_VARIABLE _log)
    if(_failed OR NOT EXISTS "${_archive}")
      message(FATAL_ERROR
        "The importer needs the sources of onnx ${_version}, and pip "
        "(${RWKVC_PYTHON} -m pip download) could not fetch them. On a machine "
        "without network, fetch onnx-${_version}.tar.gz elsewhere with\n"
        "  pip download --no-deps --no-binary onnx onnx==${_version}\n"
        "and put it into ${RWKVC_CACHE} or name it with "
        "-DRWKVC_ONNX_SDIST=FILE. pip said:\n${_log}")
    endif()
  endif()
elseif(NOT EXISTS "${_archive}")
  message(FATAL_ERROR "RWKVC_ONNX_SDIST names no file: ${_archive}")
endif()

file(SHA256 "${_archive}" _found)
if(NOT _found STREQUAL _sha256)
  message(FATAL_ERROR
    "${_archive} is not the source distribution of onnx ${_version}: its "
    "SHA-256 is ${_found}, expected ${_sha256}. Remove it and configure again.")
endif()
set(_source "${PROJECT_BINARY_DIR}/_deps/onnx-${_version}")
if(NOT EXISTS "${_source}/CMakeLists.txt")
  file(ARCHIVE_EXTRACT INPUT "${_archive}"
       DESTINATION "${PROJECT_BINARY_DIR}/_deps")
endif()

# Found here, or onnx would fetch and build protobuf itself.
find_package(Protobuf)
if(NOT Protobuf_FOUND OR NOT TARGET protobuf::protoc)
  message(FATAL_ERROR "The importer needs protocol buffers; install "
                      "protobuf-compiler and libprotobuf-dev.")
endif()

# A function: its variables must not leak into our own targets.
function(_rwkvc_add_onnx source)
  set(Python3_EXECUTABLE "${RWKVC_PYTHON}")
  set(ONNX_ML ON)
  set(ONNX_INSTALL OFF CACHE BOOL "" FORCE)
  set(CMAKE_EXPORT_COMPILE_COMMANDS OFF)
  set(CMAKE_MESSAGE_LOG_LEVEL WARNING)
  # Compile time matters more than speed: the models' bytes never pass through.
  set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")
  set(CMAKE_CXX_FLAGS "${CMAKE_CXX_FLAGS} -w -ffunction-sections -fdata-sections")
  add_subdirectory("${source}" "${PROJECT_BINARY_DIR}/_deps/onnx-build"
                   EXCLUDE_FROM_ALL SYSTEM)
endfunction()
_rwkvc_add_onnx("${_source}")
