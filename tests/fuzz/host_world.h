// SPDX-License-Identifier: Apache-2.0
// A whole broker in the process of a fuzzer, or of a component test: loop, transports,
// server, memory engine, and clients on loopback sockets that are driven by the same thread. Made anew
// for every input, with random numbers that are the same every time, so that an input does the same
// every time.
//
// A live session that has subscribed to /** waits in it: "CLIENTID" in what is sent stands for its id.
//
// Whatever a client sends: the broker closes when its clients have closed, and at the end nothing is
// left. What it answers is checked, see host_answers.h.
#pragma once

#include "bayeux/buffer.h"

#define MUST(condition) BX_BUG_ON(!(condition))

struct bk_transport;

enum host_listener { HOST_CLIENTS, HOST_ADMIN };

// Options for all worlds from now on, and one more ("broker.ping=100ms"; NULL: none). In a fuzzer it has
// been called.
void host_world_configure(const char *setting);

// Its clients' listener trusts every peer as a proxy: X-Forwarded-For counts. `proxy_protocol`: and each
// connection begins with a PROXY header.
void host_world_open(bool proxy_protocol);
// Every client must be closed.
void host_world_close(void);

// A connected socket.
int host_dial(enum host_listener);
// Bytes to the broker, then turns of its loop until it has read them or does not want them. False: it
// has closed the connection.
bool host_send(int fd, struct bx_slice bytes);
// The same with "CLIENTID" replaced, and in pieces of `piece` bytes; 0: in one.
bool host_send_text(int fd, struct bx_slice text, size_t piece);
void host_turns(unsigned count);
// Appends what has come. False: the end of the stream was reached.
bool host_receive(int fd, struct bx_buffer *out);
// With a reset; the broker notices.
void host_hang_up(int fd);

struct bx_slice host_client_id(void);
struct bk_transport *host_transport(void);
