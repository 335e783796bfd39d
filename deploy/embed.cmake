# Text files that the binary carries: named queries, migrations, the JSON Schema, the OpenAPI description.
# deploy/embed writes C from them; see there for the form.
file(GLOB embedded_files CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/engine/store/sql/*.sql
  ${CMAKE_SOURCE_DIR}/migrations/*.sql
  ${CMAKE_SOURCE_DIR}/api/*.yaml
  ${CMAKE_SOURCE_DIR}/api/*.json)
set(embedded_dir ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${embedded_dir})
add_custom_command(
  OUTPUT ${embedded_dir}/queries.c ${embedded_dir}/queries.h ${embedded_dir}/embedded.c ${embedded_dir}/embedded.h
  COMMAND sh ${CMAKE_SOURCE_DIR}/deploy/embed ${CMAKE_SOURCE_DIR} ${embedded_dir}
  DEPENDS ${embedded_files} ${CMAKE_SOURCE_DIR}/deploy/embed
  VERBATIM)
add_library(millrace_embedded STATIC ${embedded_dir}/queries.c ${embedded_dir}/embedded.c)
target_include_directories(millrace_embedded PUBLIC ${embedded_dir})
