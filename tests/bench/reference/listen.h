// SPDX-License-Identifier: Apache-2.0
// How the servers of this folder begin.
#pragma once

// Listens on 127.0.0.1:port (0: any that is free), prints "listening PORT" and returns the socket, which does not
// block. Ends the program, in its name, if it cannot.
int listen_on(unsigned port, const char *program);
