# SPDX-License-Identifier: MIT
#
# h3pool::settings: what every target of the project is compiled with.
find_package(Threads REQUIRED)

add_library(h3pool_settings INTERFACE)
add_library(h3pool::settings ALIAS h3pool_settings)
target_compile_features(h3pool_settings INTERFACE c_std_17)
target_compile_definitions(h3pool_settings INTERFACE _GNU_SOURCE)
target_compile_options(h3pool_settings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wwrite-strings -Wvla -Wundef -fno-common
  $<$<BOOL:${H3POOL_WERROR}>:-Werror>)
# Assertions stay in release builds.
foreach(type RELEASE RELWITHDEBINFO MINSIZEREL)
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${type} "${CMAKE_C_FLAGS_${type}}")
endforeach()
target_link_libraries(h3pool_settings INTERFACE Threads::Threads)
if(H3POOL_SANITIZE)
  target_compile_options(h3pool_settings INTERFACE -fsanitize=${H3POOL_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(h3pool_settings INTERFACE -fsanitize=${H3POOL_SANITIZE})
endif()
