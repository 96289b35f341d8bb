# The library `kt_tflm_runtime`: TensorFlow Lite Micro, compiled from a checkout of yours.
#
#   KT_TFLM_DIR          the checkout of tflite-micro
#   KT_TFLM_THIRD_PARTY  folder with flatbuffers, gemmlowp and ruy; by default where the checkout's
#                        own Makefile downloads them
#   KT_TFLM_KERNELS      "reference", or "cmsis_nn" with
#   KT_CMSIS_NN_DIR      the checkout of CMSIS-NN, and
#   KT_CMSIS_DIR         the folder with CMSIS's Core/Include
#
# A project that has TensorFlow Lite Micro already (a module, a component, a library of the board's
# SDK) needs none of this: it links kt_tflm.cc and the generated sources with what it has.
set(KT_TFLM_DIR "" CACHE PATH "Checkout of tflite-micro")
set(KT_TFLM_KERNELS "reference" CACHE STRING "Kernels: reference or cmsis_nn")
set(downloads "${KT_TFLM_DIR}/tensorflow/lite/micro/tools/make/downloads")
set(KT_TFLM_THIRD_PARTY "${downloads}" CACHE PATH "Folder with flatbuffers, gemmlowp, ruy")
set(KT_CMSIS_NN_DIR "${KT_TFLM_THIRD_PARTY}/cmsis_nn" CACHE PATH "Checkout of CMSIS-NN")
set(KT_CMSIS_DIR "${KT_TFLM_THIRD_PARTY}/cmsis/CMSIS" CACHE PATH "Folder with CMSIS's Core/Include")

set(micro "${KT_TFLM_DIR}/tensorflow/lite/micro")
if(NOT EXISTS "${micro}/micro_interpreter.h")
  message(FATAL_ERROR "KT_TFLM_DIR must name a checkout of tflite-micro, received "
                      "'${KT_TFLM_DIR}'. Set it with -DKT_TFLM_DIR=/path/to/tflite-micro.")
endif()

set(lite "${KT_TFLM_DIR}/tensorflow/lite")
set(mlir "${KT_TFLM_DIR}/tensorflow/compiler/mlir/lite")
file(GLOB sources
     "${micro}/*.cc" "${micro}/arena_allocator/*.cc" "${micro}/memory_planner/*.cc"
     "${micro}/tflite_bridge/*.cc" "${lite}/core/api/*.cc" "${lite}/core/c/*.cc"
     "${lite}/kernels/kernel_util.cc" "${lite}/kernels/internal/*.cc"
     "${mlir}/core/api/*.cc" "${mlir}/core/c/*.cc" "${mlir}/schema/schema_utils.cc")
file(GLOB kernels "${micro}/kernels/*.cc")
if(KT_TFLM_KERNELS STREQUAL "cmsis_nn")
  # A kernel of the folder takes the place of the reference kernel of its name.
  file(GLOB replacing "${micro}/kernels/cmsis_nn/*.cc")
  foreach(one IN LISTS replacing)
    get_filename_component(name "${one}" NAME)
    list(REMOVE_ITEM kernels "${micro}/kernels/${name}")
  endforeach()
  file(GLOB_RECURSE cmsis_nn "${KT_CMSIS_NN_DIR}/Source/*.c")
  # Floats: switched off below, and not what int8 nodes need.
  list(FILTER cmsis_nn EXCLUDE REGEX "_f(16|32)[^/]*\\.c$")
  list(APPEND kernels ${replacing} ${cmsis_nn})
endif()
list(APPEND sources ${kernels})
list(FILTER sources EXCLUDE REGEX "(_test|test_helpers?|_test_common|_runner|hexdump)[^/]*\\.cc$|/(fake|mock)_")

add_library(kt_tflm_runtime STATIC ${sources})
target_include_directories(kt_tflm_runtime SYSTEM PUBLIC
  "${KT_TFLM_DIR}" "${KT_TFLM_THIRD_PARTY}/flatbuffers/include" "${KT_TFLM_THIRD_PARTY}/gemmlowp"
  "${KT_TFLM_THIRD_PARTY}/ruy")
target_compile_features(kt_tflm_runtime PUBLIC cxx_std_17)
target_compile_definitions(kt_tflm_runtime PUBLIC TF_LITE_STATIC_MEMORY TF_LITE_DISABLE_X86_NEON
  $<$<CONFIG:Release,MinSizeRel>:TF_LITE_STRIP_ERROR_STRINGS>)
target_compile_options(kt_tflm_runtime PRIVATE -w -ffunction-sections -fdata-sections)
# The same for the sources of the model: without run-time types TensorFlow Lite Micro has none to
# give, and without -fno-threadsafe-statics a bare-metal image needs locks.
target_compile_options(kt_tflm_runtime PUBLIC
  $<$<COMPILE_LANGUAGE:CXX>:-fno-rtti> $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions>
  $<$<COMPILE_LANGUAGE:CXX>:-fno-threadsafe-statics>)
if(KT_TFLM_KERNELS STREQUAL "cmsis_nn")
  # PUBLIC: without CMSIS_NN the model's sources would link the generic kernels in silence.
  target_compile_definitions(kt_tflm_runtime PUBLIC CMSIS_NN ARM_NN_ENABLE_F16=0 ARM_NN_ENABLE_F32=0)
  target_include_directories(kt_tflm_runtime SYSTEM PUBLIC
    "${KT_CMSIS_NN_DIR}" "${KT_CMSIS_NN_DIR}/Include" "${KT_CMSIS_DIR}/Core/Include"
    "${KT_TFLM_THIRD_PARTY}")
endif()
