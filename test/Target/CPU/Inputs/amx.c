/*===-- amx.c - AMX on processors without it --------------------------------===
 *
 * Part of the rwkvc project, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 *===------------------------------------------------------------------------===
 *
 * Linked to or preloaded, carries out the instructions of AMX-TILE, AMX-BF16
 * and AMX-INT8 that the processor takes for illegal ones, as Intel's manual
 * defines them (Software Developer's Manual, volume 2, "TDPBF16PS" and others).
 * What the manual says faults, and whatever else is illegal, ends the process.
 *
 * Of a processor's state only tiles and their shapes are kept; start rows, 0 in
 * all configurations, are not.
 *
 *===------------------------------------------------------------------------===
 */
#define _GNU_SOURCE
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { kTiles = 8, kRows = 16, kRowBytes = 64 };

typedef struct {
  uint8_t rows;
  uint16_t rowBytes;
  uint8_t data[kRows][kRowBytes];
} Tile;

static __thread Tile tiles[kTiles];

static void stop(const char *why) {
  static const char name[] = "amx.c: ";
  (void)!write(STDERR_FILENO, name, sizeof name - 1);
  (void)!write(STDERR_FILENO, why, strlen(why));
  (void)!write(STDERR_FILENO, "\n", 1);
  _exit(70);
}

/* An instruction with a VEX prefix of three bytes. */
typedef struct {
  const uint8_t *next; /* what follows */
  int opcode, prefix;  /* prefix: 0 none, 1 66, 2 F3, 3 F2 */
  int mod, reg, rm, other;
  const uint8_t *base; /* of the operand in memory */
  int64_t index;       /* times the scale */
} Instruction;

static int64_t readRegister(const ucontext_t *context, int number) {
  static const int places[16] = {
      REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
      REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return context->uc_mcontext.gregs[places[number]];
}

static Instruction decode(const ucontext_t *context) {
  const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
  if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || (at[2] & 0x84) != 0)
    stop("an illegal instruction that is none of AMX");
  int extendsIndex = !(at[1] & 0x40), extendsBase = !(at[1] & 0x20);
  Instruction found = {.opcode = at[3],
                       .prefix = at[2] & 3,
                       .mod = at[4] >> 6,
                       .reg = at[4] >> 3 & 7,
                       .rm = at[4] & 7,
                       .other = ~(at[2] >> 3) & 15};
  at += 5;
  if (found.mod != 3) {
    int base = found.rm;
    if (base == 4) {
      int index = (*at >> 3 & 7) + 8 * extendsIndex;
      if (index != 4)
        found.index = readRegister(context, index) * (1 << (*at >> 6));
      base = *at++ & 7;
    } else if (found.opcode == 0x4b) {
      stop("a tile's address without a stride");
    }
    if (found.mod == 0 && base == 5)
      stop("an address without a base");
    int64_t address = readRegister(context, base + 8 * extendsBase);
    if (found.mod == 1) {
      address += (int8_t)*at++;
    } else if (found.mod == 2) {
      int32_t distance;
      memcpy(&distance, at, 4);
      address += distance;
      at += 4;
    }
    found.base = (const uint8_t *)address;
  }
  found.next = at;
  return found;
}

static void configure(const uint8_t *memory) {
  if (memory[0] != 1)
    stop("ldtilecfg: palette 1 expected");
  for (int i = 0; i < kTiles; ++i) {
    memset(&tiles[i], 0, sizeof tiles[i]);
    memcpy(&tiles[i].rowBytes, memory + 16 + 2 * i, 2);
    tiles[i].rows = memory[48 + i];
    if (tiles[i].rows > kRows || tiles[i].rowBytes > kRowBytes ||
        !tiles[i].rows != !tiles[i].rowBytes)
      stop("ldtilecfg: no such shape");
  }
}

static Tile *getTile(int number) {
  if (number >= kTiles || !tiles[number].rows)
    stop("a tile that is not configured");
  return &tiles[number];
}

static float widen(uint16_t number) {
  uint32_t bits = (uint32_t)number << 16;
  /* Denormals count as zero. */
  if (!(bits & 0x7f800000))
    bits &= 0x80000000;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

static void checkShapes(const Tile *sum, const Tile *a, const Tile *b) {
  if (sum == a || sum == b || a == b || sum->rows != a->rows ||
      sum->rowBytes != b->rowBytes || a->rowBytes != 4 * b->rows ||
      sum->rowBytes % 4 != 0)
    stop("tiles whose shapes do not fit");
}

/* sum[m][n] += sum over k of a[m][k] * b[k][n], of even and odd k apart. */
static void multiplyPairs(Tile *sum, const Tile *a, const Tile *b) {
  checkShapes(sum, a, b);
  for (int m = 0; m < sum->rows; ++m)
    for (int n = 0; n < sum->rowBytes / 4; ++n) {
      float halves[2] = {0, 0}, total;
      for (int k = 0; k < b->rows; ++k) {
        uint16_t left[2], right[2];
        memcpy(left, &a->data[m][4 * k], 4);
        memcpy(right, &b->data[k][4 * n], 4);
        for (int i = 0; i < 2; ++i)
          halves[i] = fmaf(widen(left[i]), widen(right[i]), halves[i]);
      }
      memcpy(&total, &sum->data[m][4 * n], 4);
      total += halves[0] + halves[1];
      memcpy(&sum->data[m][4 * n], &total, 4);
    }
}

/* The same of bytes, which have signs or none. */
static void multiplyBytes(Tile *sum, const Tile *a, const Tile *b,
                          int isSignedA, int isSignedB) {
  checkShapes(sum, a, b);
  for (int m = 0; m < sum->rows; ++m)
    for (int n = 0; n < sum->rowBytes / 4; ++n) {
      uint32_t total;
      memcpy(&total, &sum->data[m][4 * n], 4);
      for (int k = 0; k < a->rowBytes; ++k) {
        uint8_t left = a->data[m][k], right = b->data[k / 4][4 * n + k % 4];
        total += (isSignedA ? (int8_t)left : left) *
                 (isSignedB ? (int8_t)right : right);
      }
      memcpy(&sum->data[m][4 * n], &total, 4);
    }
}

static void carryOut(int signal, siginfo_t *info, void *opaque) {
  (void)signal, (void)info;
  ucontext_t *context = opaque;
  Instruction it = decode(context);
  switch (it.opcode << 4 | it.prefix) {
  case 0x490:
    if (it.mod != 3)
      configure(it.base);
    else if (it.reg == 0 && it.rm == 0)
      memset(tiles, 0, sizeof tiles); /* tilerelease */
    else
      stop("an unknown instruction");
    break;
  case 0x493: { /* tilezero */
    Tile *tile = getTile(it.reg);
    memset(tile->data, 0, sizeof tile->data);
    break;
  }
  case 0x4b1:   /* tileloaddt1 */
  case 0x4b3: { /* tileloadd */
    Tile *tile = getTile(it.reg);
    memset(tile->data, 0, sizeof tile->data);
    for (int row = 0; row < tile->rows; ++row)
      memcpy(tile->data[row], it.base + row * it.index, tile->rowBytes);
    break;
  }
  case 0x4b2: { /* tilestored */
    const Tile *tile = getTile(it.reg);
    for (int row = 0; row < tile->rows; ++row)
      memcpy((uint8_t *)it.base + row * it.index, tile->data[row],
             tile->rowBytes);
    break;
  }
  case 0x5c2: /* tdpbf16ps */
    multiplyPairs(getTile(it.reg), getTile(it.rm), getTile(it.other));
    break;
  case 0x5e0: /* tdpbuud */
  case 0x5e1: /* tdpbusd */
  case 0x5e2: /* tdpbsud */
  case 0x5e3: /* tdpbssd */
    multiplyBytes(getTile(it.reg), getTile(it.rm), getTile(it.other),
                  it.prefix >= 2, it.prefix % 2);
    break;
  default:
    stop("an unknown instruction");
  }
  context->uc_mcontext.gregs[REG_RIP] = (greg_t)it.next;
}

__attribute__((constructor)) static void install(void) {
  struct sigaction action = {.sa_sigaction = carryOut, .sa_flags = SA_SIGINFO};
  sigemptyset(&action.sa_mask);
  sigaction(SIGILL, &action, NULL);
}
