// SPDX-License-Identifier: Apache-2.0
// An answer as it goes over the wire.
#include <stdio.h>
#include <time.h>

#include "broker/host/internal.h"

const char *bk_status_text(int status) {
  switch (status) {
  case 200: return "OK";
  case 201: return "Created";
  case 202: return "Accepted";
  case 204: return "No Content";
  case 301: return "Moved Permanently";
  case 302: return "Found";
  case 303: return "See Other";
  case 304: return "Not Modified";
  case 307: return "Temporary Redirect";
  case 308: return "Permanent Redirect";
  case 400: return "Bad Request";
  case 401: return "Unauthorized";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 406: return "Not Acceptable";
  case 408: return "Request Timeout";
  case 409: return "Conflict";
  case 410: return "Gone";
  case 411: return "Length Required";
  case 413: return "Payload Too Large";
  case 414: return "URI Too Long";
  case 415: return "Unsupported Media Type";
  case 416: return "Range Not Satisfiable";
  case 422: return "Unprocessable Entity";
  case 426: return "Upgrade Required";
  case 429: return "Too Many Requests";
  case 431: return "Request Header Fields Too Large";
  case 500: return "Internal Server Error";
  case 501: return "Not Implemented";
  case 502: return "Bad Gateway";
  case 503: return "Service Unavailable";
  case 504: return "Gateway Timeout";
  case 505: return "HTTP Version Not Supported";
  default: return "Status";
  }
}

// A header ends where its line ends, whatever the value holds.
static void write_value(struct bx_buffer *out, struct bx_slice value) {
  size_t from = out->len;
  bx_buffer_slice(out, value);
  for (char *c = out->at + from; c < out->at + out->len; c++)
    if (*c == '\r' || *c == '\n') *c = ' ';
}

static void write_header(struct bx_buffer *out, const char *name, struct bx_slice value) {
  bx_buffer_slice(out, bx_slice_of(name));
  bx_buffer_lit(out, ": ");
  write_value(out, value);
  bx_buffer_lit(out, "\r\n");
}

static void write_length(struct bx_buffer *out, const struct bk_exchange *x, const struct bk_response *r) {
  if (x->streaming) {
    if (x->chunked_answer) bx_buffer_lit(out, "transfer-encoding: chunked\r\n");
  } else if (r->status >= 200 && r->status != 204 && r->status != 304) {
    bx_buffer_lit(out, "content-length: ");
    bx_buffer_u64(out, r->body.len);
    bx_buffer_lit(out, "\r\n");
  }
}

const char *bk_http_date(uint64_t wall_clock) {
  static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  static time_t made = -1;
  static char text[64];
  time_t now = (time_t)(wall_clock / 1000);
  if (now == made) return text;
  struct tm t;
  made = now;
  gmtime_r(&now, &t);
  snprintf(text, sizeof text, "%s, %02d %s %d %02d:%02d:%02d GMT", days[t.tm_wday], t.tm_mday, months[t.tm_mon],
           t.tm_year + 1900, t.tm_hour, t.tm_min, t.tm_sec);
  return text;
}

void bk_response_write(struct bx_buffer *out, const struct bk_exchange *x, const struct bk_response *r) {
  bx_buffer_lit(out, "HTTP/1.1 ");
  bx_buffer_u64(out, (unsigned)r->status);
  bx_buffer_char(out, ' ');
  bx_buffer_slice(out, bx_slice_of(bk_status_text(r->status)));
  bx_buffer_lit(out, "\r\n");
  write_header(out, "date", bx_slice_of(bk_http_date(bk_wall_clock())));
  if (r->content_type) write_header(out, "content-type", bx_slice_of(r->content_type));
  write_length(out, x, r);
  for (size_t i = 0; i < r->header_count; i++) write_header(out, r->headers[i].name, r->headers[i].value);
  if (x->close_after)
    bx_buffer_lit(out, "connection: close\r\n");
  else if (x->keep_alive_1_0)
    bx_buffer_lit(out, "connection: keep-alive\r\n");
  bx_buffer_lit(out, "\r\n");
  if (x->method != BK_HEAD && !x->streaming) bx_buffer_slice(out, r->body);
}
