// SPDX-License-Identifier: Apache-2.0
// redis_model: the model Redis behind a pipe, so that the cases for a real Redis can be put to it.
// Commands come as RESP arrays on standard input, replies leave on standard output; the clock is the
// system's. A script is called by its name: `append ns ...`. Besides the model's commands it knows
// CONFIG SET maxmemory <0|n> and CONFIG SET min-replicas-to-write <0|n>.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/simulation/model.h"

#define MOST 100000

static bool read_length(char mark, size_t *length) {
  char line[32];
  if (!fgets(line, sizeof line, stdin)) return false;
  *length = strtoul(line + 1, NULL, 10);
  BX_BUG_ON(line[0] != mark || *length > (1u << 28));
  return true;
}

static void write_reply(const struct er_reply *r) {
  switch (r->type) {
  case ER_REPLY_NIL: printf("$-1\r\n"); break;
  case ER_REPLY_INT: printf(":%" PRId64 "\r\n", r->number); break;
  case ER_REPLY_ERROR: printf("-%.*s\r\n", (int)r->text.len, r->text.at); break;
  case ER_REPLY_TEXT:
    printf("$%zu\r\n", r->text.len);
    fwrite(r->text.at, 1, r->text.len, stdout);
    printf("\r\n");
    break;
  case ER_REPLY_ARRAY:
    printf("*%zu\r\n", r->count);
    for (size_t i = 0; i < r->count; i++) write_reply(&r->items[i]);
    break;
  }
}

static bool configure(struct sim_redis *r, const struct bx_slice *argv, size_t argc) {
  if (argc != 4 || !bx_slice_equal(argv[0], BX_LIT("CONFIG"))) return false;
  bool on = !bx_slice_equal(argv[3], BX_LIT("0"));
  if (bx_slice_equal(argv[2], BX_LIT("maxmemory")))
    r->full = on;
  else
    r->refusing = on ? "NOREPLICAS Not enough good replicas to write." : NULL;
  printf("+OK\r\n");
  return true;
}

int main(void) {
  struct sim_redis *r = sim_redis_create(1, "model");
  size_t argc;
  while (read_length('*', &argc)) {
    BX_BUG_ON(argc == 0 || argc > MOST);
    struct bx_slice *argv = bx_alloc(argc * sizeof *argv);
    for (size_t i = 0; i < argc; i++) {
      size_t len = 0;
      BX_BUG_ON(!read_length('$', &len));
      char *at = bx_alloc(len + 3);
      BX_BUG_ON(fread(at, 1, len + 2, stdin) != len + 2);
      at[len] = 0;
      argv[i] = (struct bx_slice){at, len};
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    r->clock = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    if (!configure(r, argv, argc)) {
      struct er_reply *reply = sim_redis_call(r, argv[0].at, argv + 1, argc - 1);
      write_reply(reply);
      sim_reply_destroy(reply);
    }
    fflush(stdout);
    for (size_t i = 0; i < argc; i++) bx_free((char *)argv[i].at);
    bx_free(argv);
  }
  sim_redis_destroy(r);
  return 0;
}
