# SPDX-License-Identifier: MIT
#
# deps::openssl, deps::quic (ngtcp2 with its OpenSSL helper), deps::http3, deps::ev: from the private prefix that
# cmake/deps.sh fetched (.deps/current), else the system's, by pkg-config.
find_package(PkgConfig REQUIRED)

set(prefix ${CMAKE_SOURCE_DIR}/.deps/current/usr)

if(EXISTS ${prefix}/include/ngtcp2)
  file(GLOB libdir ${prefix}/lib/*-linux-gnu*)
  file(GLOB archdir ${prefix}/include/*-linux-gnu*)
  function(add_dep name)
    add_library(deps_${name} INTERFACE)
    add_library(deps::${name} ALIAS deps_${name})
    target_include_directories(deps_${name} SYSTEM INTERFACE ${prefix}/include ${archdir})
    foreach(lib ${ARGN})
      target_link_libraries(deps_${name} INTERFACE ${libdir}/lib${lib}.a)
    endforeach()
  endfunction()
  add_dep(openssl ssl crypto zstd z)
  add_dep(ngtcp2 ngtcp2)
  add_library(deps_quic INTERFACE)
  add_library(deps::quic ALIAS deps_quic)
  set(helper ${libdir}/libngtcp2_crypto_ossl.a)
  add_dep(http3 nghttp3)
  add_dep(ev ev)
  target_link_libraries(deps_openssl INTERFACE ${CMAKE_DL_LIBS})
  target_link_libraries(deps_ev INTERFACE m)
  # The archives were built for a newer glibc, whose headers rename three functions.
  include(CheckSymbolExists)
  include(CheckFunctionExists)
  check_function_exists(__isoc23_strtol H3POOL_HAVE_ISOC23)
  if(NOT H3POOL_HAVE_ISOC23)
    add_library(glibc_compat STATIC ${CMAKE_SOURCE_DIR}/cmake/glibc_compat.c)
    target_link_libraries(deps_openssl INTERFACE glibc_compat)
  endif()
else()
  # The floors: OpenSSL 3.5.0 has bugs in the QUIC-TLS calls; ngtcp2 before 1.22.1 overflows a buffer in qlog.
  pkg_check_modules(openssl REQUIRED IMPORTED_TARGET openssl>=3.5.1)
  pkg_check_modules(quic REQUIRED IMPORTED_TARGET libngtcp2_crypto_ossl>=1.22.1 libngtcp2>=1.22.1)
  pkg_check_modules(http3 REQUIRED IMPORTED_TARGET libnghttp3>=1.15.0)
  find_library(EV_LIBRARY ev REQUIRED)
  add_library(deps_ev INTERFACE)
  add_library(deps::ev ALIAS deps_ev)
  target_link_libraries(deps_ev INTERFACE ${EV_LIBRARY})
  foreach(name openssl http3)
    add_library(deps::${name} ALIAS PkgConfig::${name})
  endforeach()
  add_library(deps_quic INTERFACE)
  add_library(deps::quic ALIAS deps_quic)
  find_library(helper NAMES libngtcp2_crypto_ossl.a)
  if(NOT helper)
    message(STATUS "libngtcp2_crypto_ossl.a is not there: its few blocks per connection come from malloc")
  endif()
endif()

# ngtcp2's OpenSSL helper calls malloc and free without a hook; in a copy of its archive they have other names, those of
# server/mem_bridge.c.
if(helper)
  set(helper_from_pool ${CMAKE_BINARY_DIR}/libngtcp2_crypto_ossl_from_pool.a)
  add_custom_command(OUTPUT ${helper_from_pool} DEPENDS ${helper} VERBATIM
    COMMAND ${CMAKE_OBJCOPY} --redefine-sym malloc=bridge_helper_malloc --redefine-sym free=bridge_helper_free
            ${helper} ${helper_from_pool})
  add_custom_target(helper_archive DEPENDS ${helper_from_pool})
  add_library(deps_helper STATIC IMPORTED)
  set_target_properties(deps_helper PROPERTIES IMPORTED_LOCATION ${helper_from_pool})
  add_dependencies(deps_helper helper_archive)
  target_link_libraries(deps_quic INTERFACE deps_helper)
  # And where it makes a connection's keys is seen, for they stay when the handshake's memory goes.
  foreach(direction rx tx)
    target_link_options(deps_quic INTERFACE -Wl,--wrap=ngtcp2_crypto_derive_and_install_${direction}_key)
  endforeach()
endif()

# In this order: the helper refers to both.
if(TARGET deps_ngtcp2)
  target_link_libraries(deps_quic INTERFACE deps_ngtcp2 deps_openssl)
else()
  target_link_libraries(deps_quic INTERFACE PkgConfig::quic PkgConfig::openssl)
endif()

# deps::hdr: HdrHistogram, for the load generator alone; from the system, else from .deps/hdr (Debian has it from forky
# on). Where there is none, the load generator is left out.
find_path(HDR_INCLUDE hdr/hdr_histogram.h PATHS ${CMAKE_SOURCE_DIR}/.deps/hdr/usr/include)
file(GLOB hdr_libdir ${CMAKE_SOURCE_DIR}/.deps/hdr/usr/lib/*-linux-gnu*)
find_library(HDR_LIBRARY NAMES hdr_histogram_static hdr_histogram PATHS ${hdr_libdir})
if(HDR_INCLUDE AND HDR_LIBRARY)
  add_library(deps_hdr INTERFACE)
  add_library(deps::hdr ALIAS deps_hdr)
  target_include_directories(deps_hdr SYSTEM INTERFACE ${HDR_INCLUDE})
  target_link_libraries(deps_hdr INTERFACE ${HDR_LIBRARY} m)
else()
  message(STATUS "HdrHistogram is not there: h3load is left out")
endif()
