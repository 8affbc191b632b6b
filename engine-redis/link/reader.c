// SPDX-License-Identifier: Apache-2.0
// The four functions by which hiredis builds a reply. Each returns the new item, or NULL to refuse,
// which hiredis takes for a lack of memory and closes the connection.
#include <hiredis/async.h>

#include "engine-redis/link/reader.h"

enum { CHUNK = 16 * 1024 };

struct er_chunk {
  struct er_chunk *next;
  size_t size, used;
  max_align_t bytes[];
};

static void *take(struct er_reader *r, size_t size) {
  if (size > r->limit - r->taken) {
    r->wrong = "a reply is larger than the limit";
    return NULL;
  }
  r->taken += size;
  size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
  struct er_chunk *c = r->chunks;
  if (!c || size > c->size - c->used) {
    size_t room = size > CHUNK ? size : CHUNK;
    c = bx_alloc(sizeof *c + room);
    c->size = room;
    c->next = r->chunks;
    r->chunks = c;
  }
  char *at = (char *)c->bytes + c->used;
  c->used += size;
  return at;
}

static struct er_reply *take_items(struct er_reader *r, size_t count) {
  size_t size = count * sizeof(struct er_reply);
  void *items = take(r, size);
  return items ? memset(items, 0, size) : NULL;
}

// The place of the item being read: in its array, or a new root.
static struct er_reply *place(const redisReadTask *task, enum er_reply_type type) {
  struct er_reader *r = task->privdata;
  struct er_reply *item;
  if (task->parent) {
    struct er_reply *array = task->parent->obj;
    item = &array->items[task->idx];
  } else if (!r->redis->replies.head) {
    r->wrong = "a reply that nothing was sent for";
    return NULL;
  } else {
    item = take_items(r, 1);
  }
  if (item) item->type = type;
  return item;
}

static void *create_string(const redisReadTask *task, char *bytes, size_t len) {
  struct er_reply *item = place(task, task->type == REDIS_REPLY_ERROR ? ER_REPLY_ERROR : ER_REPLY_TEXT);
  char *copy = item ? take(task->privdata, len) : NULL;
  if (!copy) return NULL;
  memcpy(copy, bytes, len);
  item->text = (struct bx_slice){copy, len};
  return item;
}

static void *create_array(const redisReadTask *task, int count) {
  struct er_reply *item = place(task, ER_REPLY_ARRAY);
  if (!item || !(item->items = take_items(task->privdata, (size_t)count))) return NULL;
  item->count = (size_t)count;
  return item;
}

static void *create_integer(const redisReadTask *task, long long number) {
  struct er_reply *item = place(task, ER_REPLY_INT);
  if (item) item->number = number;
  return item;
}

static void *create_nil(const redisReadTask *task) { return place(task, ER_REPLY_NIL); }

// The whole tree goes at once, in er_reader_clear().
static void free_object(void *item) { (void)item; }

static redisReplyObjectFunctions functions = {create_string, create_array, create_integer, create_nil, free_object};

void er_reader_init(struct er_reader *r, struct redisAsyncContext *redis, size_t limit) {
  *r = (struct er_reader){.redis = redis, .limit = limit};
  redis->c.reader->fn = &functions;
  redis->c.reader->privdata = r;
}

// One chunk of the common size is kept for the next reply.
void er_reader_clear(struct er_reader *r) {
  struct er_chunk *kept = NULL;
  for (struct er_chunk *c = r->chunks, *next; c; c = next) {
    next = c->next;
    if (c->size == CHUNK && !kept) {
      kept = c;
    } else {
      bx_free(c);
    }
  }
  if (kept) {
    kept->next = NULL;
    kept->used = 0;
  }
  r->chunks = kept;
  r->taken = 0;
}

void er_reader_fini(struct er_reader *r) {
  er_reader_clear(r);
  bx_free(r->chunks);
  r->chunks = NULL;
}
