/*===-- devices.h - model.c's code for devices ------------------------------===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * OPENCL adds the SPIR-V of kernels.ll, CUDA and HIP code for the chips that
 * they name, which the drivers of fake-driver.cpp run. Tokens are int64 there,
 * logits float32. BAD_… make mistakes.
 *
 *===------------------------------------------------------------------------===
 */
#ifdef OPENCL
#include "spirv.inc" /* spirv */
#ifdef BAD_SPIRV
#define spirv "no SPIR-V"
#endif
#endif

#ifndef BAD_KERNEL
#define BAD_KERNEL HEAD
#endif
#ifndef BAD_GROUPS
#define BAD_GROUPS 4
#endif
#ifndef BAD_KIND
#define BAD_KIND RWKVRT_ARG_WEIGHTS
#endif
#ifndef BAD_INDEX
#define BAD_INDEX 1
#endif
#ifndef BAD_OFFSET
#define BAD_OFFSET 64
#endif
#ifndef BAD_FLAGS
#define BAD_FLAGS RWKVRT_LAUNCH_FOR_LOGITS
#endif
#ifndef BAD_NAME
#define BAD_NAME "head"
#endif
#ifndef BAD_COUNT
#define BAD_COUNT 3
#endif
#ifndef IMAGE
#define IMAGE "// PTX"
#endif
#ifndef GROUP_SIZE
#define GROUP_SIZE 64
#endif
#ifndef DEVICE_WEIGHTS_OFFSET
#define DEVICE_WEIGHTS_OFFSET 0
#endif
#ifndef DEVICE_WEIGHTS_SIZE
#define DEVICE_WEIGHTS_SIZE WEIGHTS_SIZE
#endif
#ifndef DEVICE_WORKSPACE
#define DEVICE_WORKSPACE (64 + width * sizeof(float) * BATCH * BLOCK)
#endif

enum { ADVANCE, ADVANCE_BLOCK, HEAD, COUNT, COPY };
static const rwkvrt_kernel_info kernels[] = {
    [ADVANCE] = {"advance", 7, GROUP_SIZE, 0, 0},
    [ADVANCE_BLOCK] = {"advance_block", 7, 64, 0, 0},
    [HEAD] = {BAD_NAME, BAD_COUNT, 64, 0, 0},
    [COUNT] = {"count", 2, 1, 0, 0},
    [COPY] = {"copy", 2, 64, 0, 0}};

#define WEIGHTS {BAD_KIND, 0, 0}
#define SCRATCH {RWKVRT_ARG_WORKSPACE, 0, BAD_OFFSET}
#define INPUT(I) {RWKVRT_ARG_INPUT, I, 0}
#define OUTPUT(I) {RWKVRT_ARG_OUTPUT, I, 0}
#define NUMBER(N) {RWKVRT_ARG_NUMBER, 0, N}

/* Of the graph and of step, which have their tensors in the same order. */
static const rwkvrt_argument advance_arguments[] =
    {INPUT(0),  WEIGHTS, OUTPUT(BAD_INDEX), OUTPUT(2), NUMBER(1),
     NUMBER(1), SCRATCH},
                             head_arguments[] = {WEIGHTS, OUTPUT(1), OUTPUT(0)},
                             count_arguments[] = {INPUT(0), OUTPUT(3)};
static const rwkvrt_launch graph_launches[] = {
    {ADVANCE, 1, 0, 0, advance_arguments},
    {BAD_KERNEL, BAD_GROUPS, BAD_FLAGS, 0, head_arguments},
    {COUNT, 1, 0, 0, count_arguments}};
#ifdef FORMS
static const rwkvrt_launch step_launches[] = {
    {ADVANCE, BATCH, 0, 0, advance_arguments},
    {HEAD, 4 * BATCH, RWKVRT_LAUNCH_FOR_LOGITS, 0, head_arguments}};
static const rwkvrt_argument block_arguments[] = {
    INPUT(0), WEIGHTS, OUTPUT(1), OUTPUT(2), NUMBER(BLOCK), INPUT(1), SCRATCH};
#ifdef ALL_LOGITS
static const rwkvrt_argument all_arguments[] = {WEIGHTS, SCRATCH, OUTPUT(0)};
#endif
static const rwkvrt_launch prefill_launches[] = {
    {ADVANCE_BLOCK, BATCH, 0, 0, block_arguments},
#ifdef ALL_LOGITS
    {HEAD, 4 * BATCH * BLOCK, RWKVRT_LAUNCH_FOR_LOGITS, 0, all_arguments}
#else
    {HEAD, 4 * BATCH, RWKVRT_LAUNCH_FOR_LOGITS, 0, head_arguments}
#endif
};
#endif
#ifdef CONVERSIONS
static const rwkvrt_argument copy_arguments[][2] = {{INPUT(0), OUTPUT(0)},
                                                    {INPUT(1), OUTPUT(1)}};
static const rwkvrt_launch copy_launches[] = {
    {COPY, 1, 0, 0, copy_arguments[0]}, {COPY, 1, 0, 0, copy_arguments[1]}};
#endif

#define FUNCTION(LAUNCHES)                                                     \
  {sizeof LAUNCHES / sizeof LAUNCHES[0], 0, DEVICE_WORKSPACE, LAUNCHES}
static const rwkvrt_device_function device_functions[] = {
#ifndef NO_GRAPH
    FUNCTION(graph_launches),
#endif
#ifdef FORMS
#ifndef NO_STEP
    FUNCTION(step_launches),
#endif
#ifndef NO_PREFILL
    FUNCTION(prefill_launches),
#endif
#endif
#ifdef CONVERSIONS
    FUNCTION(copy_launches),    FUNCTION(copy_launches),
#endif
};

#define DEVICE(NAME, CHIP, KIND, IMAGE, SIZE)                                  \
  {                                                                            \
    NAME, CHIP, KIND, sizeof kernels / sizeof kernels[0], kernels,             \
        device_functions, IMAGE, SIZE, {                                       \
      DEVICE_WEIGHTS_OFFSET, DEVICE_WEIGHTS_SIZE                               \
    }                                                                          \
  }
static const rwkvrt_device_info devices[] = {
#ifdef HIP
    DEVICE("amdgcn:" HIP, HIP, RWKVRT_HIP, "code object", 12),
#endif
#ifdef CUDA
    /* Without the null character at its end. */
    DEVICE("nvptx:" CUDA, CUDA, RWKVRT_CUDA, IMAGE, sizeof IMAGE - 1),
#endif
#ifdef OPENCL
    DEVICE("spirv", "", RWKVRT_OPENCL, spirv, sizeof spirv),
#endif
};
